"""Faster passes over the parameters of open_clip's transformers; the modules and their names stay open_clip's.

Flow: ``core.model.towers.towers`` embeds patches or words, runs the blocks here, and projects what is pooled.

Two things are saved, neither changes a result. Attention works batch first on one packed projection, without the
copies that ``nn.MultiheadAttention`` makes. And where a single token is pooled, the last block computes only that
token's query, output and feed-forward: nothing else of that block reaches the output.

Legend: B batch, L sequence, W width, H heads, d width of a head.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.model.attention import attend


@dataclass(frozen=True)
class AttentionMask:
    """Which tokens a token may attend to: all, those before it, or those in ``allowed``."""

    causal: bool = False
    allowed: Tensor | None = None  # (B, L or 1, L) bool, queries by keys; includes causality

    def of_row(self, index: Tensor, length: int) -> Tensor | None:
        """Keys that query ``index`` (B,) may attend to: (B, L) bool, None for all."""
        if self.allowed is not None:
            return self.allowed[torch.arange(len(index), device=index.device), index]
        if self.causal:
            return torch.arange(length, device=index.device) <= index[:, None]
        return None

    def additive(self, length: int, like: Tensor, heads: int) -> Tensor | None:
        """The same as open_clip's blocks take it: 0 or -inf, (L, L) or (B * H, L, L)."""
        allowed = self.allowed
        if allowed is None and self.causal:
            allowed = torch.ones(length, length, dtype=torch.bool, device=like.device).tril()
        if allowed is None:
            return None
        mask = like.new_zeros(allowed.shape).masked_fill(~allowed, float("-inf"))
        return mask if mask.ndim == 2 else mask.repeat_interleave(heads, 0)


def is_plain(block: nn.Module) -> bool:
    """Whether ``block`` is open_clip's usual pre-norm block, whose parameters the functions here know."""
    attention = getattr(block, "attn", None)
    return (
        isinstance(attention, nn.MultiheadAttention)
        and attention.in_proj_weight is not None
        and attention.bias_k is None
        and attention.dropout == 0.0
        and not hasattr(block, "ln_1_kv")
    )


def _attention(attention: nn.MultiheadAttention, x: Tensor, mask: AttentionMask) -> Tensor:
    """Self-attention of every token. (B, L, W) to (B, L, W)."""
    batch, length, _ = x.shape
    packed = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)  # (B, L, 3 W)
    shape = (batch, length, attention.num_heads, attention.head_dim)
    query, key, value = (part.view(shape).transpose(1, 2) for part in packed.chunk(3, dim=-1))  # (B, H, L, d)
    allowed = None if mask.allowed is None else mask.allowed[:, None]  # (B, 1, L, L)
    mixed = attend(query, key, value, allowed, causal=allowed is None and mask.causal)
    out: Tensor = attention.out_proj(mixed.transpose(1, 2).flatten(2))
    return out


def _attention_of_row(attention: nn.MultiheadAttention, x: Tensor, row: Tensor, keys: Tensor | None) -> Tensor:
    """Self-attention of one token per sequence, ``row`` (B, W), over ``x`` (B, L, W). (B, W)."""
    batch, length, width = x.shape
    heads, head_dim = attention.num_heads, attention.head_dim
    weight_q, weight_kv = torch.split(attention.in_proj_weight, [width, 2 * width])
    bias_q, bias_kv = torch.split(attention.in_proj_bias, [width, 2 * width])
    query = F.linear(row, weight_q, bias_q).view(batch, heads, 1, head_dim)
    shape = (batch, length, heads, head_dim)
    key, value = (part.view(shape).transpose(1, 2) for part in F.linear(x, weight_kv, bias_kv).chunk(2, dim=-1))
    mixed = attend(query, key, value, None if keys is None else keys[:, None, None])
    out: Tensor = attention.out_proj(mixed.flatten(1))
    return out


def run_blocks(blocks: Iterable[Any], x: Tensor, mask: AttentionMask) -> Tensor:
    """Every token through ``blocks``. (B, L, W) to (B, L, W)."""
    for block in blocks:
        if is_plain(block):
            x = x + block.ls_1(_attention(block.attn, block.ln_1(x), mask))
            x = x + block.ls_2(block.mlp(block.ln_2(x)))
        else:
            x = block(x, attn_mask=mask.additive(x.shape[1], x, block.attn.num_heads))
    return x


def run_last_block(block: Any, x: Tensor, index: Tensor | int, mask: AttentionMask) -> tuple[Tensor, Tensor]:
    """The last block for the token at ``index`` ((B,) or one for all) alone.

    Returns its state (B, W), and the tokens (B, L, W) as its attention read them (the block's first norm).
    """
    normed = block.ln_1(x)
    if isinstance(index, int):
        state, row, keys = x[:, index], normed[:, index], None
    else:
        rows = torch.arange(len(x), device=x.device)
        state, row, keys = x[rows, index], normed[rows, index], mask.of_row(index, x.shape[1])
    state = state + block.ls_1(_attention_of_row(block.attn, normed, row, keys))
    state = state + block.ls_2(block.mlp(block.ln_2(state)))
    return state, normed
