"""Attention maps and the gradient of a score with respect to them, for towers that store neither.

Flow: ``core.inference.relevance`` runs a tower within ``record_attention`` and calls ``maps`` with the score.

Blocks use fused kernels that store no map, and the last block computes a single row. Hooks record the input of each
block and the output of its heads. The map A is recomputed as the softmax of the same queries and keys; with z = A v,
the gradient of the score s with respect to A is (ds/dz) v^T. The hooks are removed afterwards, and parameters get no
gradient.

Legend: B batch, H heads, Q queries (1 if only the pooled token is computed), L tokens, W width, d width of a head.
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
    """The attention weights of one block, and the gradient of the score with respect to them."""

    weights: Tensor  # (B, H, Q, L), rows sum to 1
    gradient: Tensor  # (B, H, Q, L)


class _Pooled(NamedTuple):
    """One pass of an attention pool."""

    pool: nn.MultiheadAttention
    values: Tensor  # (B, L, W)
    weights: Tensor  # (B, H, Q, L)
    out: Tensor  # (B, Q, width of the pool)


@dataclass
class AttentionRecord:
    """The recorded tensors of one pass, block by block."""

    block_inputs: list[tuple[ResidualBlock, Tensor, AttentionMask, Tensor | int | None]] = field(default_factory=list)
    head_outputs: list[Tensor] = field(default_factory=list)  # (B, Q, W) or (B, W)
    pools: list[_Pooled] = field(default_factory=list)

    def maps(self, score: Tensor) -> list[AttentionMap]:
        """The map of each block in order, then the pool's map. ``score`` is a scalar computed in the recorded pass."""
        outputs = [pooled.out for pooled in self.pools]
        gradients = torch.autograd.grad(score, [*self.head_outputs, *outputs], retain_graph=True)
        blocks = zip(self.block_inputs, gradients[: len(self.head_outputs)], strict=True)
        pools = zip(self.pools, gradients[len(self.head_outputs) :], strict=True)
        return [
            *(_map_of_block(*inputs, gradient) for inputs, gradient in blocks),
            *(_map_of_pool(pooled, gradient) for pooled, gradient in pools),
        ]


@contextmanager
def record_attention(
    blocks: Sequence[nn.Module], pool: nn.MultiheadAttention | None = None
) -> Iterator[AttentionRecord]:
    """Record a pass through ``blocks`` (and a ``pool`` over their tokens) for ``AttentionRecord.maps``.

    Gradients start at the first block, so that weights may be frozen. Raises ModelError unless all blocks are
    open_clip's standard blocks.
    """
    if not blocks or not all(isinstance(block, ResidualBlock) for block in blocks):
        raise ModelError("attention maps require open_clip's own ViTs and text transformers; choose such a model.")
    record = AttentionRecord()
    handles = []
    for block in blocks:
        attention: Any = block.attn
        handles.append(block.register_forward_pre_hook(_input_hook(record, first=block is blocks[0]), with_kwargs=True))
        handles.append(
            attention.out_proj.register_forward_pre_hook(lambda _, inputs: record.head_outputs.append(inputs[0]))
        )
    if pool is not None:
        weight_options = {"need_weights": True, "average_attn_weights": False}
        handles.append(
            pool.register_forward_pre_hook(lambda _, args, kw: (args, {**kw, **weight_options}), with_kwargs=True)
        )
        handles.append(pool.register_forward_hook(_pool_hook(record)))
    try:
        with torch.enable_grad():
            yield record
    finally:
        for handle in handles:
            handle.remove()


def _input_hook(record: AttentionRecord, first: bool) -> Any:
    def record_input(block: ResidualBlock, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
        x, *further = inputs
        if first:
            x = x.detach().requires_grad_()
        record.block_inputs.append((block, x.detach(), options["mask"], options.get("position")))
        return (x, *further), options

    return record_input


def _pool_hook(record: AttentionRecord) -> Any:
    def record_pass(pool: nn.MultiheadAttention, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, Tensor]) -> None:
        out, weights = outputs  # (B, Q, W) and (B, H, Q, L)
        record.pools.append(_Pooled(pool, inputs[2].detach(), weights.detach(), out))

    return record_pass


@torch.no_grad()
def _map_of_pool(pooled: _Pooled, gradient: Tensor) -> AttentionMap:
    """The map of an attention pool; ``gradient`` (B, Q, W): the score's gradient with respect to the pool's output."""
    pool = pooled.pool
    packed = pool.in_proj_weight
    weight = pool.v_proj_weight if packed is None else packed[-pool.embed_dim :]
    bias = None if pool.in_proj_bias is None else pool.in_proj_bias[-pool.embed_dim :]
    heads = (pool.num_heads, pool.head_dim)
    value = F.linear(pooled.values, weight, bias).unflatten(-1, heads).transpose(1, 2)  # (B, H, L, d)
    mixed = (gradient @ pool.out_proj.weight).unflatten(-1, heads).transpose(1, 2)  # (B, H, Q, d)
    return AttentionMap(pooled.weights, torch.matmul(mixed, value.transpose(-2, -1)))


@torch.no_grad()
def _map_of_block(
    block: ResidualBlock, x: Tensor, mask: AttentionMask, position: Tensor | int | None, gradient: Tensor
) -> AttentionMap:
    """The map of ``block`` over ``x`` (B, L, W); ``gradient``: the score's gradient w.r.t. the heads' output."""
    attention: Any = block.attn
    batch, length, _ = x.shape
    packed = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)  # (B, L, 3 W)
    shape = (batch, length, attention.num_heads, attention.head_dim)
    query, key, value = (part.view(shape).transpose(1, 2) for part in packed.chunk(3, dim=-1))  # (B, H, L, d)
    allowed = mask.allowed
    if allowed is None and mask.causal:
        allowed = torch.ones(1, length, length, dtype=torch.bool, device=x.device).tril()
    scores = torch.matmul(query * attention.head_dim**-0.5, key.transpose(-2, -1))  # (B, H, L, L)
    if allowed is not None:
        scores = scores.masked_fill(~allowed[:, None], float("-inf"))
    weights = scores.softmax(dim=-1)
    if position is not None:
        rows = torch.arange(batch, device=x.device)
        weights = weights[rows, :, position][:, :, None]  # (B, H, 1, L)
        gradient = gradient[:, None]
    mixed = gradient.unflatten(-1, shape[2:]).transpose(1, 2)  # (B, H, Q, d)
    return AttentionMap(weights, torch.matmul(mixed, value.transpose(-2, -1)))
