"""Activation checkpointing and compilation of transformer blocks.

Flow: ``core.training.assembly`` applies checkpointing first, then compilation, then sharding. Parameters, their names
and the results stay the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

ActivationCheckpointing = Literal["none", "selective", "blocks"]

# Outputs that "selective" saves: matrix products, which are expensive to compute and no larger than the rest.
_SAVED_OPERATIONS = frozenset(
    getattr(torch.ops.aten, name).default
    for name in (
        "mm", "addmm", "bmm", "_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_cudnn_attention", "_scaled_dot_product_flash_attention_for_cpu",
    )
    if hasattr(torch.ops.aten, name)
)  # fmt: skip


def checkpoint_activations(blocks: Iterable[nn.Module], mode: ActivationCheckpointing) -> None:
    """Make ``blocks`` recompute activations in the backward pass (Chen et al. 2016).

    ``mode``: recompute all activations, or ("selective") all except matrix products.
    """
    if mode != "none":
        for block in blocks:
            kind: Any = type(block)
            block.__class__ = _checkpointed_class(kind, mode == "selective")


def compile_blocks(blocks: Iterable[nn.Module], backend: str = "inductor", fullgraph: bool = False) -> None:
    """Compile each of ``blocks`` separately; blocks of one class share up to ``MAX_GRAPHS_PER_CLASS`` graphs."""
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MAX_GRAPHS_PER_CLASS)
    for block in blocks:
        block.compile(backend=backend, fullgraph=fullgraph)


# A class of blocks has one graph for each combination of tower, student or teacher, with or without gradient, all
# tokens or the pooled token, fixed or varying length. The presets need 18; with torch's own limit of 8, the remaining
# graphs would not be compiled.
MAX_GRAPHS_PER_CLASS = 64


@cache
def _checkpointed_class(kind: Any, selective: bool) -> Any:
    """A subclass of ``kind`` whose pass is checkpointed when gradients are enabled."""

    def forward(block: nn.Module, *inputs: Any, **options: Any) -> Any:
        run: Callable[..., Any] = partial(kind.forward, block)
        if not torch.is_grad_enabled():
            return run(*inputs, **options)
        if selective:
            return checkpoint(run, *inputs, use_reentrant=False, context_fn=_contexts, **options)
        return checkpoint(run, *inputs, use_reentrant=False, **options)

    return type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})


def _contexts() -> Any:
    return create_selective_checkpoint_contexts(_policy)


def _policy(context: Any, operation: Any, *inputs: Any, **options: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operation in _SAVED_OPERATIONS else CheckpointPolicy.PREFER_RECOMPUTE
