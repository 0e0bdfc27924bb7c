"""Merged self-attention: patches and words as one sequence.

Legend: B batch, P patches, L sequence of the text tower, F fused width.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from core.model.fusion.base import Fused, Fusion, row_of, word_mask
from core.model.fusion.blocks import FeedForward, SelfAttention
from core.model.towers.text import TextFeatures

Outputs = Literal["all", "words", "pooled"]


class MergedBlock(nn.Module):
    """Self-attention over both modalities, then a feed-forward: one for both modalities, or one for each."""

    def __init__(self, width: int, heads: int, per_modality: bool = False) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.feed_forward = FeedForward(width)  # for words; also for patches if it is shared
        self.feed_forward_image = FeedForward(width) if per_modality else None

    def forward(
        self, patches: Tensor, words: Tensor, mask: Tensor, position: Tensor, outputs: Outputs = "all"
    ) -> tuple[Tensor, Tensor]:
        """Patches (B, P, F) and words (B, L, F) after the block.

        ``mask`` (B, P + L, P + L). ``outputs``: "words" computes no patches; "pooled" computes only the word at
        ``position`` (B,), as (B, 1, F).
        """
        count = patches.shape[1]
        sequence = torch.cat([patches, words], dim=1)  # (B, P + L, F)
        if outputs == "all":
            mixed = self.attention(sequence, sequence, mask)
            patches, words = mixed[:, :count], mixed[:, count:]
            feed_forward_image = self.feed_forward if self.feed_forward_image is None else self.feed_forward_image
            return feed_forward_image(patches), self.feed_forward(words)
        rows = words if outputs == "words" else row_of(words, position)
        allowed = mask[:, count:] if outputs == "words" else row_of(mask, count + position)
        return patches, self.feed_forward(self.attention(sequence, rows, allowed))


def merged_mask(patches: Tensor, padding: Tensor, causal: bool) -> Tensor:
    """Which tokens each token may attend to, (B, P + L, P + L) bool: all tokens but padding.

    If causal, words attend only to patches and the words up to themselves, and patches attend to no words.
    """
    batch, count, _ = patches.shape
    length = padding.shape[1]
    mask = patches.new_ones(batch, count + length, count + length, dtype=torch.bool)
    mask[:, count:, count:] = word_mask(padding, causal)
    mask[:, :count, count:] = False if causal else ~padding[:, None, :]
    return mask


class MergedFusion(Fusion):
    """Patches and words attend to each other as one sequence (UNITER, Chen et al. 2020).

    With one feed-forward per modality, layers are the multiway blocks of VLMo (Bao et al. 2022) and BEiT-3 (Wang et al.
    2023); in the last ``joint`` layers both modalities share one feed-forward, like VLMo's vision-language experts. The
    pooled word represents the pair.
    """

    def __init__(
        self, text_width: int, image_width: int, width: int, heads: int, layers: int, per_modality: bool = False,
        joint: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(text_width, image_width, width)
        self.image_type = nn.Parameter(torch.empty(width).normal_(std=0.02))  # modality embedding
        self.text_type = nn.Parameter(torch.empty(width).normal_(std=0.02))
        self.blocks = nn.ModuleList(
            MergedBlock(width, heads, per_modality and layer < layers - joint) for layer in range(layers)
        )

    def forward(self, patches: Tensor, text: TextFeatures, every_word: bool = False, causal: bool = False) -> Fused:
        """See ``Fusion``."""
        patches, words = self._project_both(patches, text)
        patches, words = patches + self.image_type, words + self.text_type
        mask = merged_mask(patches, text.padding, causal)
        for block in self.blocks[:-1]:
            patches, words = block(patches, words, mask, text.pooled_position)
        _, words = self.blocks[-1](patches, words, mask, text.pooled_position, "words" if every_word else "pooled")
        return self._to_fused(words, text, every_word)
