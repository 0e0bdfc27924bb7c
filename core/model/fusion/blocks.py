"""Attention and feed-forward of the fusions: pre-norm, with a residual around each.

Legend: B batch, Q queries, L keys, F fused width, H heads, d width of a head.
"""

from __future__ import annotations

from torch import Tensor, nn

from core.model.attention import attend


class Attention(nn.Module):
    """Multi-head attention from a sequence of states to another sequence."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, states: Tensor, memory: Tensor, allowed: Tensor | None = None) -> Tensor:
        """``states`` (B, Q, F) after attending to ``memory`` (B, L, F) where ``allowed`` (B, Q, L) is True."""
        query = self.query(states).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, Q, d)
        key_value = self.key_value(memory).unflatten(-1, (2, self.heads, -1))  # (B, L, 2, H, d)
        key, value = key_value.permute(2, 0, 3, 1, 4)  # (B, H, L, d) each
        mixed = attend(query, key, value, None if allowed is None else allowed[:, None])
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class FeedForward(nn.Module):
    """Layer norm, a hidden layer of 4x the width with GELU, and a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., F) to (..., F)."""
        out: Tensor = x + self.layers(self.norm(x))
        return out


class CrossAttention(nn.Module):
    """States attend to the patches of an image, which must already be normalised."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)

    def forward(self, states: Tensor, patches: Tensor) -> Tensor:
        """``states`` (B, Q, F) after attending to ``patches`` (B, P, F); (B, Q, F)."""
        out: Tensor = states + self.attention(self.norm(states), patches)
        return out


class SelfAttention(nn.Module):
    """States attend to each other; the output may be limited to some ``rows``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)

    def forward(self, states: Tensor, rows: Tensor, allowed: Tensor | None) -> Tensor:
        """``rows`` (B, Q, F), a subset of ``states`` (B, L, F), after attending to all ``states``."""
        out: Tensor = rows + self.attention(self.norm(rows), self.norm(states), allowed)
        return out
