"""Layers in which words attend to patches, with merged layers in between (mPLUG) or without (ALBEF).

Legend: B batch, P patches, L sequence of the text tower, Q words that a block computes (L or 1), F fused width.
"""

from __future__ import annotations

from torch import Tensor, nn

from core.model.fusion.base import Fused, Fusion, row_of, word_mask
from core.model.fusion.blocks import CrossAttention, FeedForward, SelfAttention
from core.model.fusion.merged import MergedBlock, merged_mask
from core.model.towers.text import TextFeatures


class AsymmetricBlock(nn.Module):
    """Words attend to each other, then to patches; patches are unchanged."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.cross = CrossAttention(width, heads)
        self.feed_forward = FeedForward(width)

    def forward(self, words: Tensor, rows: Tensor, patches: Tensor, allowed: Tensor) -> Tensor:
        """``rows`` (B, Q, F), a subset of ``words`` (B, L, F), after the block.

        ``patches`` (B, P, F). ``allowed`` (B, Q, L) bool: the words that each row may attend to.
        """
        out: Tensor = self.feed_forward(self.cross(self.attention(words, rows, allowed), patches))
        return out


class SkipFusion(Fusion):
    """Asymmetric layers, which patches skip; every n-th layer is merged, with n = ``merge_every`` (mPLUG, Li et al.
    2022).

    If ``merge_every`` is 0, no layer is merged: the multimodal encoder of ALBEF (Li et al. 2021) and BLIP (Li et al.
    2022). The pooled word represents the pair.
    """

    def __init__(
        self, text_width: int, image_width: int, width: int, heads: int, layers: int, merge_every: int = 3
    ) -> None:
        super().__init__(text_width, image_width, width)
        self.blocks = nn.ModuleList(
            MergedBlock(width, heads)
            if merge_every and (layer + 1) % merge_every == 0
            else AsymmetricBlock(width, heads)
            for layer in range(layers)
        )

    def forward(self, patches: Tensor, text: TextFeatures, every_word: bool = False, causal: bool = False) -> Fused:
        """See ``Fusion``."""
        patches, words = self._project_both(patches, text)
        mask = merged_mask(patches, text.padding, causal)
        text_mask = word_mask(text.padding, causal)
        final = len(self.blocks) - 1
        for layer, block in enumerate(self.blocks):
            only_pooled = layer == final and not every_word
            if isinstance(block, MergedBlock):
                outputs = "pooled" if only_pooled else "words" if layer == final else "all"
                patches, words = block(patches, words, mask, text.pooled_position, outputs)
                continue
            rows = row_of(words, text.pooled_position) if only_pooled else words
            allowed = row_of(text_mask, text.pooled_position) if only_pooled else text_mask
            words = block(words, rows, patches, allowed)
        return self._to_fused(words, text, every_word)
