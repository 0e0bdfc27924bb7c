"""Cross-attention: words attend to patches.

Legend: B batch, P patches, L sequence of the text tower, F fused width.
"""

from __future__ import annotations

from torch import Tensor, nn

from core.model.fusion.base import Fused, Fusion
from core.model.fusion.blocks import CrossAttention, FeedForward
from core.model.towers.text import TextFeatures


class CrossAttentionBlock(nn.Module):
    """Pre-norm cross-attention and feed-forward (4x), each with a residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.cross = CrossAttention(width, heads)
        self.feed_forward = FeedForward(width)

    def forward(self, words: Tensor, patches: Tensor) -> Tensor:
        """``words`` (B, L, F) attend to ``patches`` (B, P, F). (B, L, F)"""
        out: Tensor = self.feed_forward(self.cross(words, patches))
        return out


class CrossAttentionFusion(Fusion):
    """Text tokens attend to image tokens; the state of the pooled text token represents the pair.

    Text tokens attend to each other in the text tower only. No other token affects the pooled token, so only its query
    is computed unless each word is requested, and padding has no effect.
    """

    needs_words = False

    def __init__(self, text_width: int, image_width: int, width: int, heads: int, layers: int) -> None:
        super().__init__(text_width, image_width, width)
        self.blocks = nn.ModuleList(CrossAttentionBlock(width, heads) for _ in range(layers))

    def forward(self, patches: Tensor, text: TextFeatures, every_word: bool = False, causal: bool = False) -> Fused:
        """See ``Fusion``. In this fusion, words do not attend to other words."""
        if every_word:
            patches, words = self._project_both(patches, text)
        else:
            patches, words = self._project_patches(patches), self.project_text(text.before_projection)[:, None]
        for block in self.blocks:
            words = block(words, patches)
        return self._to_fused(words, text, every_word)
