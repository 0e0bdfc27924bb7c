"""Faster passes through open_clip's transformer blocks; parameters and their names remain open_clip's.

Flow: ``adopt_blocks`` converts open_clip's standard blocks to ``ResidualBlock``s when towers are built;
``core.model.towers.towers`` embeds patches or words, calls ``run_blocks``, and projects the pooled token. A block is
always called as a module, never through its parts, so that it can be compiled, checkpointed and sharded separately.

Two optimisations do not change results. Attention works batch-first with one packed projection, without the copies
of ``nn.MultiheadAttention``. If a single token is pooled, the last block computes only this token's query, output and
feed-forward.

Legend: B batch, L sequence, W width, H heads, d width of a head.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn
from torch.nn import functional as F

from core.model.attention import attend


@dataclass(frozen=True)
class AttentionMask:
    """Which tokens each token may attend to: all tokens, only earlier tokens, or the tokens in ``allowed``."""

    causal: bool = False
    allowed: Tensor | None = None  # (B, L or 1, L) bool, queries by keys; includes causality

    def of_row(self, index: Tensor, length: int) -> Tensor | None:
        """The keys that query ``index`` (B,) may attend to: (B, L) bool; None for all keys."""
        if self.allowed is not None:
            return self.allowed[torch.arange(len(index), device=index.device), index]
        if self.causal:
            return torch.arange(length, device=index.device) <= index[:, None]
        return None

    def additive(self, states: Tensor, heads: int) -> Tensor | None:
        """The additive mask of open_clip's blocks for ``states`` (B, L, W): 0 or -inf, (L, L) or (B * H, L, L)."""
        allowed, length = self.allowed, states.shape[1]
        if allowed is None and self.causal:
            allowed = torch.ones(length, length, dtype=torch.bool, device=states.device).tril()
        if allowed is None:
            return None
        mask = states.new_zeros(allowed.shape).masked_fill(~allowed, float("-inf"))
        return mask if mask.ndim == 2 else mask.repeat_interleave(heads, 0)


class ResidualBlock(ResidualAttentionBlock):  # type: ignore[misc]  # open_clip has no types
    """open_clip's standard pre-norm block with additional, faster passes."""

    def forward(
        self,
        q_x: Tensor,
        k_x: Tensor | None = None,
        v_x: Tensor | None = None,
        attn_mask: Tensor | None = None,
        *,
        mask: AttentionMask | None = None,
        position: Tensor | int | None = None,
        keep_normed: bool = False,
    ) -> Any:
        """The states (B, L, W) of all tokens (B, L, W) after the block. Without ``mask``, runs open_clip's own pass.

        With ``position`` (one for all rows, or (B,)), computes only the token at this position, and returns its state
        (B, W) and all tokens (B, L, W) after the block's first norm. ``keep_normed`` returns the normed tokens in
        addition to all states.
        """
        if mask is None:
            return super().forward(q_x, k_x, v_x, attn_mask)
        normed = self.ln_1(q_x)
        if position is not None:
            return self._compute_token(q_x, normed, position, mask), normed
        x = q_x + self.ls_1(_attention(self.attn, normed, mask))
        x = x + self.ls_2(self.mlp(self.ln_2(x)))
        return (x, normed) if keep_normed else x

    def _compute_token(self, x: Tensor, normed: Tensor, position: Tensor | int, mask: AttentionMask) -> Tensor:
        if isinstance(position, int):
            state, row, keys = x[:, position], normed[:, position], None
        else:
            rows = torch.arange(len(x), device=x.device)
            state, row, keys = x[rows, position], normed[rows, position], mask.of_row(position, x.shape[1])
        state = state + self.ls_1(_attention_of_row(self.attn, normed, row, keys))
        token: Tensor = state + self.ls_2(self.mlp(self.ln_2(state)))
        return token


def adopt_blocks(transformer: nn.Module) -> None:
    """Convert open_clip's standard blocks in ``transformer`` to ResidualBlocks; other blocks do not change."""
    for block in transformer.modules():
        if type(block) is ResidualAttentionBlock and not hasattr(block, "ln_1_kv"):
            block.__class__ = ResidualBlock


def _attention(attention: nn.MultiheadAttention, x: Tensor, mask: AttentionMask) -> Tensor:
    """Self-attention of all tokens ``x`` (B, L, W); (B, L, W)."""
    batch, length, _ = x.shape
    packed = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)  # (B, L, 3 W)
    shape = (batch, length, attention.num_heads, attention.head_dim)
    query, key, value = (part.view(shape).transpose(1, 2) for part in packed.chunk(3, dim=-1))  # (B, H, L, d)
    allowed = None if mask.allowed is None else mask.allowed[:, None]  # (B, 1, L, L)
    mixed = attend(query, key, value, allowed, causal=allowed is None and mask.causal)
    out: Tensor = attention.out_proj(mixed.transpose(1, 2).flatten(2))
    return out


def _attention_of_row(attention: nn.MultiheadAttention, x: Tensor, row: Tensor, keys: Tensor | None) -> Tensor:
    """Self-attention of one token per sequence, ``row`` (B, W), over ``x`` (B, L, W): (B, W)."""
    batch, length, width = x.shape
    heads, head_dim = attention.num_heads, attention.head_dim
    weight_q, weight_kv = torch.split(attention.in_proj_weight, [width, 2 * width])
    bias_q, bias_kv = torch.split(attention.in_proj_bias, [width, 2 * width])
    query = F.linear(row, weight_q, bias_q).view(batch, heads, 1, head_dim)
    shape = (batch, length, heads, head_dim)
    key, value = (part.view(shape).transpose(1, 2) for part in F.linear(x, weight_kv, bias_kv).chunk(2, dim=-1))
    mixed = attend(query, key, value, None if keys is None else keys[:, None, None])
    projected: Tensor = attention.out_proj(mixed.flatten(1))
    return projected


def run_blocks(blocks: Iterable[Any], x: Tensor, mask: AttentionMask) -> Tensor:
    """The states (B, L, W) of all tokens ``x`` (B, L, W) after ``blocks``."""
    for block in blocks:
        if isinstance(block, ResidualBlock):
            x = block(x, mask=mask)
        else:
            x = block(x, attn_mask=mask.additive(x, block.attn.num_heads))
    return x
