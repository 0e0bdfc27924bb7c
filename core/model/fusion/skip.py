"""Asymmetric layers, in which words attend to patches, with merged layers between them (mPLUG); without, ALBEF's.

Legend: B batch, P patches, L sequence of the text tower, F fused width.
"""

from __future__ import annotations

from torch import Tensor, nn

from core.model.fusion.base import Fused, Fusion, row_of, word_mask
from core.model.fusion.blocks import CrossAttention, FeedForward, SelfAttention
from core.model.fusion.merged import MergedBlock, merged_mask
from core.model.towers.text import TextFeatures


class AsymmetricBlock(nn.Module):
    """Words attend to each other, then to patches; the patches stay as they are."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.cross = CrossAttention(width, heads)
        self.feed_forward = FeedForward(width)

    def forward(self, words: Tensor, rows: Tensor, patches: Tensor, allowed: Tensor) -> Tensor:
        """``rows`` (B, Q, F), which are among ``words`` (B, L, F), after the block; ``allowed`` (B, Q, L)."""
        out: Tensor = self.feed_forward(self.cross(self.attention(words, rows, allowed), patches))
        return out


class SkipFusion(Fusion):
    """Asymmetric layers, in which patches skip ahead, and every ``every`` th layer merged (mPLUG, Li et al. 2022).

    With ``every`` 0 no layer is merged: the multimodal encoder of ALBEF (Li et al. 2021) and BLIP (Li et al. 2022).
    The pooled word is the pair.
    """

    def __init__(self, text_width: int, image_width: int, width: int, heads: int, layers: int, every: int = 3) -> None:
        super().__init__(text_width, image_width, width)
        self.blocks = nn.ModuleList(
            MergedBlock(width, heads) if every and (layer + 1) % every == 0 else AsymmetricBlock(width, heads)
            for layer in range(layers)
        )

    def forward(self, patches: Tensor, text: TextFeatures, every_word: bool = False, causal: bool = False) -> Fused:
        """As ``Fusion`` says."""
        patches, words = self._read(patches, text)
        whole = merged_mask(patches, text.padding, causal)
        among_words = word_mask(text.padding, causal)
        final = len(self.blocks) - 1
        for layer, block in enumerate(self.blocks):
            pooled = layer == final and not every_word
            if isinstance(block, MergedBlock):
                want = "pooled" if pooled else "words" if layer == final else "all"
                patches, words = block(patches, words, whole, text.last, want)
                continue
            rows = row_of(words, text.last) if pooled else words
            allowed = row_of(among_words, text.last) if pooled else among_words
            words = block(words, rows, patches, allowed)
        return self._fused(words, text, every_word)
