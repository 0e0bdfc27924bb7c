"""Large batches in little memory: towers run on micro-batches, losses on the full batch.

Flow: the loop opens ``in_chunks`` around a step's forward passes, then calls ``backward`` as usual.

GradCache (Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited setup"): features of the
full batch are computed chunk by chunk without storing activations within the towers; the losses are computed once, on
the full batch; in the backward pass each chunk is recomputed. Gradients equal the full batch's gradients, since towers
treat pairs independently. Recomputation uses torch's checkpointing, which replays random draws (dropout, patch dropout)
and autocast, and costs one more forward pass.

The exception is batch norm: its statistics are computed per chunk, as on several GPUs without synchronisation, and the
running statistics are updated once per chunk. The loop logs the warning of ``micro_batch_warning``.

Legend: B rows of a call (pairs, or views times pairs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

from core.model.network import Network

TOWER_CALLS = ("encode_image", "encode_text", "decode")  # methods that treat rows independently


@contextmanager
def in_chunks(network: Network, rows: int) -> Iterator[None]:
    """Within this context, ``network``'s towers and fusion process ``rows`` rows at a time; 0 changes nothing.

    Outputs and gradients are the same up to rounding. Without gradients (a teacher) nothing is recomputed.
    """
    with ExitStack() as patches:
        if rows > 0:
            for name in TOWER_CALLS:
                if hasattr(network.towers, name):
                    patches.enter_context(_chunked_method(network.towers, name, rows))
            if network.fusion is not None:
                patches.enter_context(_chunked_method(network.fusion, "forward", rows))
        yield


def micro_batch_warning(network: Network, rows: int, batch: int) -> str:
    """A warning if a step of ``batch`` pairs in chunks of ``rows`` differs from a full batch; "" otherwise."""
    modules = [network.towers] if network.fusion is None else [network.towers, network.fusion]
    if not 0 < rows < batch or not any(norm.training for module in modules for norm in _batch_norms(module)):
        return ""
    return (
        f"batch norm in the towers uses statistics of {rows} pairs (optim.micro_batch) instead of all {batch}; set "
        "optim.micro_batch to 0, or choose an architecture without batch norm"
    )


@contextmanager
def _chunked_method(module: nn.Module, name: str, rows: int) -> Iterator[None]:
    """Replace ``module``'s method ``name`` with a chunked version; class and state dict do not change."""
    instance_method = vars(module).get(name)
    setattr(module, name, _chunked_call(getattr(module, name), _batch_norms(module), rows))
    try:
        yield
    finally:
        delattr(module, name)
        if instance_method is not None:
            setattr(module, name, instance_method)


def _chunked_call(call: Callable[..., Any], norms: Sequence[nn.Module], rows: int) -> Callable[..., Any]:
    """``call``, which treats rows independently, applied to ``rows`` rows at a time."""

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _frozen_statistics(norms)  # of the forward pass, of its recomputation

    def chunked(*arguments: Any, **options: Any) -> Any:
        everything = (arguments, options)
        B = _batch_rows(everything)
        parts = []
        for start in range(0, max(B, 1), rows):  # an empty batch is one chunk
            part, named_tensors = _map_tensors(_slice_rows(start, rows, B), everything)
            if torch.is_grad_enabled():
                parts.append(checkpoint(call, *part, use_reentrant=False, context_fn=contexts, **named_tensors))
            else:
                parts.append(call(*part, **named_tensors))
        return parts[0] if len(parts) == 1 else _concatenate(parts)

    return chunked


def _slice_rows(start: int, rows: int, B: int) -> Callable[[Tensor], Tensor]:
    """A function that slices the chunk at ``start`` from tensors with B rows, and returns other tensors unchanged."""
    return lambda x: x[start : start + rows] if x.ndim > 0 and len(x) == B else x


def _batch_rows(value: Any) -> int:
    """The number of rows of the first tensor in ``value``."""
    counts: list[int] = []

    def count(x: Tensor) -> Tensor:
        if x.ndim > 0:
            counts.append(len(x))
        return x

    _map_tensors(count, value)
    return counts[0] if counts else 0


def _map_tensors(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Apply ``change`` to every tensor in tuples, lists, dicts and dataclasses."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_map_tensors(change, item) for item in value)
    if isinstance(value, dict):
        return {key: _map_tensors(change, item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _map_tensors(change, getattr(value, f.name)) for f in fields(value) if f.init})
    return value


def _concatenate(parts: Sequence[Any]) -> Any:
    """The concatenated results of all chunks; values that are not tensors come from the first chunk."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(list(parts)) if first.ndim else first
    if isinstance(first, (tuple, list)):
        return type(first)(_concatenate(items) for items in zip(*parts, strict=True))
    if isinstance(first, dict):
        return {key: _concatenate([part[key] for part in parts]) for key in first}
    if is_dataclass(first) and not isinstance(first, type):
        fields_by_name = {
            f.name: _concatenate([getattr(part, f.name) for part in parts]) for f in fields(first) if f.init
        }
        return replace(first, **fields_by_name)
    return first


def _batch_norms(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, _NormBase)]


@contextmanager
def _frozen_statistics(norms: Sequence[nn.Module]) -> Iterator[None]:
    """Prevent recomputation from updating running statistics again."""
    before = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)
