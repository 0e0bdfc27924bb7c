"""Learned queries that attend to the image and to the words (BLIP-2's Q-Former).

Legend: B batch, L sequence of the text tower, N queries, F fused width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from core.model.fusion.base import Fused, Fusion, word_mask
from core.model.fusion.blocks import CrossAttention, FeedForward, SelfAttention
from core.model.towers.text import TextFeatures


class QueryBlock(nn.Module):
    """Self-attention over queries and words, cross-attention from queries to patches, and a feed-forward for each."""

    def __init__(self, width: int, heads: int, attends: bool) -> None:
        """``attends``: whether the queries attend to the patches in this block."""
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.cross = CrossAttention(width, heads) if attends else None
        self.feed_forward = FeedForward(width)
        self.feed_forward_words = FeedForward(width)

    def forward(
        self, queries: Tensor, words: Tensor, patches: Tensor, mask: Tensor, with_words: bool
    ) -> tuple[Tensor, Tensor]:
        """``queries`` (B, N, F) and ``words`` (B, L, F) after the block; words are unchanged without ``with_words``."""
        count = queries.shape[1]
        sequence = torch.cat([queries, words], dim=1)  # (B, N + L, F)
        rows = sequence if with_words else queries
        mixed = self.attention(sequence, rows, mask[:, : rows.shape[1]])
        queries = mixed[:, :count]
        if self.cross is not None:
            queries = self.cross(queries, patches)
        return self.feed_forward(queries), self.feed_forward_words(mixed[:, count:]) if with_words else words


class QueryFusion(Fusion):
    """``queries`` learned vectors attend to the image in every second layer, and to the words in self-attention
    (BLIP-2, Li et al. 2023, section 3.1). The mean of the queries represents the pair.

    BLIP-2 averages the matching logits of all queries; with a linear head, this equals the logit of the mean query.
    Words see the image only through the queries. If causal, queries see no words, and words see the queries and the
    words up to themselves.
    """

    def __init__(
        self, text_width: int, image_width: int, width: int, heads: int, layers: int, queries: int = 32
    ) -> None:
        super().__init__(text_width, image_width, width)
        self.queries = nn.Parameter(torch.empty(queries, width).normal_(std=0.02))
        self.blocks = nn.ModuleList(QueryBlock(width, heads, attends=layer % 2 == 0) for layer in range(layers))

    def forward(self, patches: Tensor, text: TextFeatures, every_word: bool = False, causal: bool = False) -> Fused:
        """See ``Fusion``."""
        patches, words = self._project_both(patches, text)
        queries = self.queries.expand(len(words), -1, -1)
        mask = self._mask(text.padding, causal)
        final = len(self.blocks) - 1
        for layer, block in enumerate(self.blocks):
            queries, words = block(queries, words, patches, mask, with_words=every_word or layer < final)
        return Fused(self.norm(queries).mean(dim=1), self.norm(words) if every_word else None)

    def _mask(self, padding: Tensor, causal: bool) -> Tensor:
        """Which tokens each token may attend to: (B, N + L, N + L) bool."""
        count, length = len(self.queries), padding.shape[1]
        mask = torch.ones(len(padding), count + length, count + length, dtype=torch.bool, device=padding.device)
        mask[:, count:, count:] = word_mask(padding, causal)
        mask[:, :count, count:] = False if causal else ~padding[:, None, :]
        return mask
