"""How transformer blocks are run: computed again on the way back, or compiled.

Flow: ``core.training.assembly`` changes the blocks of the networks of a run, checkpointing first and compilation around
it; whatever shards the blocks comes last. Parameters and their names stay as they are, and so does what is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

Recompute = Literal["none", "selective", "blocks"]

# What "selective" keeps: the products, which are dear to compute and no larger than what lies between them.
_KEPT = frozenset(
    getattr(torch.ops.aten, name).default
    for name in (
        "mm", "addmm", "bmm", "_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_cudnn_attention", "_scaled_dot_product_flash_attention_for_cpu",
    )
    if hasattr(torch.ops.aten, name)
)  # fmt: skip


def recompute(blocks: Iterable[nn.Module], what: Recompute) -> None:
    """Let ``blocks`` compute on the way back ``what`` they did not keep (Chen et al. 2016)."""
    if what != "none":
        for block in blocks:
            kind: Any = type(block)
            block.__class__ = _recomputing(kind, what == "selective")


def compile_blocks(blocks: Iterable[nn.Module], backend: str = "inductor", fullgraph: bool = False) -> None:
    """Compile each of ``blocks`` by itself; blocks of one class share their graphs, up to ``GRAPHS_OF_A_CLASS``."""
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, GRAPHS_OF_A_CLASS)
    for block in blocks:
        block.compile(backend=backend, fullgraph=fullgraph)


# Of one class of blocks: each tower, student and teacher, with and without gradient, all tokens or the pooled one, a
# fixed and a varying length. The presets come to 18; torch's own limit of 8 would leave the rest uncompiled.
GRAPHS_OF_A_CLASS = 64


@cache
def _recomputing(kind: Any, selective: bool) -> Any:
    """``kind`` whose pass is checkpointed where a gradient is asked for."""

    def forward(block: nn.Module, *given: Any, **options: Any) -> Any:
        whole: Callable[..., Any] = partial(kind.forward, block)
        if not torch.is_grad_enabled():
            return whole(*given, **options)
        if selective:
            return checkpoint(whole, *given, use_reentrant=False, context_fn=_contexts, **options)
        return checkpoint(whole, *given, use_reentrant=False, **options)

    return type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})


def _contexts() -> Any:
    return create_selective_checkpoint_contexts(_policy)


def _policy(context: Any, operation: Any, *given: Any, **options: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operation in _KEPT else CheckpointPolicy.PREFER_RECOMPUTE
