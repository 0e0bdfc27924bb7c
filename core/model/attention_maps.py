"""Attention maps of a pass and the score's gradient in them, of towers that compute neither.

Flow: ``core.inference.relevance`` runs a tower within ``watching``, and asks for ``maps`` of the score.

Blocks attend by fused kernels that keep no map, and the last one computes a single row. Nothing of that is changed:
hooks hold what a block read and what its heads mixed; its map is the softmax of the same queries and keys once more,
and with z = A v the score's gradient in it is (ds/dz) v^T. Hooks are gone afterwards, and parameters get no gradient.

Legend: B batch, H heads, Q queries (1 where only the pooled token is computed), L tokens, W width, d width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.model.errors import ModelError
from core.model.towers.transformer import AttentionMask, ResidualBlock


@dataclass(frozen=True)
class AttentionMap:
    """One block's attention, and the gradient of the score in it."""

    weights: Tensor  # (B, H, Q, L), rows sum to 1
    gradient: Tensor  # (B, H, Q, L)


class _Pooled(NamedTuple):
    """One pass of an attention pool."""

    pool: nn.MultiheadAttention
    read: Tensor  # (B, L, W)
    weights: Tensor  # (B, H, Q, L)
    out: Tensor  # (B, Q, width of the pool)


@dataclass
class Watched:
    """What the hooks held of one pass, block by block."""

    _read: list[tuple[ResidualBlock, Tensor, AttentionMask, Tensor | int | None]] = field(default_factory=list)
    _mixed: list[Tensor] = field(default_factory=list)  # (B, Q, W) or (B, W)
    _pools: list[_Pooled] = field(default_factory=list)

    def maps(self, score: Tensor) -> list[AttentionMap]:
        """Every block's map in the order of the pass, an attention pool's last; ``score`` is a scalar of that pass."""
        outputs = [held.out for held in self._pools]
        gradients = torch.autograd.grad(score, [*self._mixed, *outputs], retain_graph=True)
        read = zip(self._read, gradients[: len(self._mixed)], strict=True)
        pools = zip(self._pools, gradients[len(self._mixed) :], strict=True)
        return [*(_map(*held, gradient) for held, gradient in read), *(_of_pool(held, g) for held, g in pools)]


@contextmanager
def watching(blocks: Sequence[nn.Module], pool: nn.MultiheadAttention | None = None) -> Iterator[Watched]:
    """Hold what ``maps`` needs of a pass through ``blocks`` (and a ``pool`` over their tokens).

    Gradients begin at the first block, so that frozen weights are no obstacle. Raises ModelError where a block is not
    open_clip's usual one.
    """
    if not blocks or not all(isinstance(block, ResidualBlock) for block in blocks):
        raise ModelError("only open_clip's own ViTs and text transformers show what they attend to; choose such a one.")
    watched = Watched()
    handles = []
    for block in blocks:
        attention: Any = block.attn
        handles.append(block.register_forward_pre_hook(_hold_read(watched, first=block is blocks[0]), with_kwargs=True))
        handles.append(attention.out_proj.register_forward_pre_hook(lambda _, given: watched._mixed.append(given[0])))
    if pool is not None:
        asked = {"need_weights": True, "average_attn_weights": False}
        handles.append(pool.register_forward_pre_hook(lambda _, args, kw: (args, {**kw, **asked}), with_kwargs=True))
        handles.append(pool.register_forward_hook(_hold_pool(watched)))
    try:
        with torch.enable_grad():
            yield watched
    finally:
        for handle in handles:
            handle.remove()


def _hold_read(watched: Watched, first: bool) -> Any:
    def hold(block: ResidualBlock, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        x, *others = given
        if first:
            x = x.detach().requires_grad_()
        watched._read.append((block, x.detach(), named["reach"], named.get("at")))
        return (x, *others), named

    return hold


def _hold_pool(watched: Watched) -> Any:
    def hold(pool: nn.MultiheadAttention, given: tuple[Tensor, ...], made: tuple[Tensor, Tensor]) -> None:
        out, weights = made  # (B, Q, W) and (B, H, Q, L)
        watched._pools.append(_Pooled(pool, given[2].detach(), weights.detach(), out))

    return hold


@torch.no_grad()
def _of_pool(held: _Pooled, gradient: Tensor) -> AttentionMap:
    """The map of an attention pool; ``gradient`` (B, Q, W) is the score's in its output."""
    pool = held.pool
    packed = pool.in_proj_weight
    weight = pool.v_proj_weight if packed is None else packed[-pool.embed_dim :]
    bias = None if pool.in_proj_bias is None else pool.in_proj_bias[-pool.embed_dim :]
    heads = (pool.num_heads, pool.head_dim)
    value = F.linear(held.read, weight, bias).unflatten(-1, heads).transpose(1, 2)  # (B, H, L, d)
    mixed = (gradient @ pool.out_proj.weight).unflatten(-1, heads).transpose(1, 2)  # (B, H, Q, d)
    return AttentionMap(held.weights, torch.matmul(mixed, value.transpose(-2, -1)))


@torch.no_grad()
def _map(
    block: ResidualBlock, x: Tensor, reach: AttentionMask, at: Tensor | int | None, gradient: Tensor
) -> AttentionMap:
    """The map of ``block`` over ``x`` (B, L, W); ``gradient`` is the score's in its heads' mixture."""
    attention: Any = block.attn
    batch, length, _ = x.shape
    packed = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)  # (B, L, 3 W)
    shape = (batch, length, attention.num_heads, attention.head_dim)
    query, key, value = (part.view(shape).transpose(1, 2) for part in packed.chunk(3, dim=-1))  # (B, H, L, d)
    allowed = reach.allowed
    if allowed is None and reach.causal:
        allowed = torch.ones(1, length, length, dtype=torch.bool, device=x.device).tril()
    scores = torch.matmul(query * attention.head_dim**-0.5, key.transpose(-2, -1))  # (B, H, L, L)
    if allowed is not None:
        scores = scores.masked_fill(~allowed[:, None], float("-inf"))
    weights = scores.softmax(dim=-1)
    if at is not None:
        rows = torch.arange(batch, device=x.device)
        weights = weights[rows, :, at][:, :, None]  # (B, H, 1, L)
        gradient = gradient[:, None]
    mixed = gradient.unflatten(-1, shape[2:]).transpose(1, 2)  # (B, H, Q, d)
    return AttentionMap(weights, torch.matmul(mixed, value.transpose(-2, -1)))
