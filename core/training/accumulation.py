"""Large batches in little memory: the towers work on a few pairs at a time, the losses see the whole batch.

Flow: the loop opens ``in_chunks`` around a step's forward passes; ``backward`` afterwards is the usual one.

GradCache (Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited setup"): features of the
whole batch are computed chunk by chunk without keeping what lies within the towers; the losses and all that follows
the towers are computed once, on the whole batch; on the way back each chunk is computed again, and its gradient is that
of the large batch, since no tower looks from one pair to another. This is checkpointing of each chunk, so it is
torch's, which replays random draws (dropout, patch dropout) and autocast. It costs one more forward pass.

A tower with batch norm is the exception: its statistics are those of each chunk, as on several GPUs that do not
synchronise them. The running statistics move once a chunk. ``departs`` says so, and the loop warns.

Legend: B rows of a call (pairs, or views times pairs), C rows of a chunk.
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

TOWER_CALLS = ("encode_image", "encode_text", "decode")  # what treats each row for itself


@contextmanager
def in_chunks(network: Network, rows: int) -> Iterator[None]:
    """While entered, ``network``'s towers and fusion take ``rows`` rows at a time; 0 leaves them as they are.

    What they give is the same, and so is every gradient, up to the rounding of sums. Without gradients (a teacher)
    nothing is computed twice.
    """
    with ExitStack() as restored:
        if rows > 0:
            for name in TOWER_CALLS:
                if hasattr(network.towers, name):
                    restored.enter_context(_replaced(network.towers, name, rows))
            if network.fusion is not None:
                restored.enter_context(_replaced(network.fusion, "forward", rows))
        yield


def departs(network: Network, rows: int, batch: int) -> str:
    """How a step of ``batch`` pairs, ``rows`` at a time, is not that of the whole batch; nothing when it is."""
    modules = [network.towers] if network.fusion is None else [network.towers, network.fusion]
    if not 0 < rows < batch or not any(norm.training for module in modules for norm in _norms(module)):
        return ""
    return (
        f"the towers have batch norm, whose statistics are those of {rows} pairs (optim.micro_batch) and not of the "
        f"batch's {batch}; set optim.micro_batch to 0 for those, or choose an architecture without batch norm"
    )


@contextmanager
def _replaced(module: nn.Module, name: str, rows: int) -> Iterator[None]:
    """The method ``name`` of this one ``module`` in chunks; its class and its state dict stay untouched."""
    own = vars(module).get(name)
    setattr(module, name, _chunked(getattr(module, name), _norms(module), rows))
    try:
        yield
    finally:
        delattr(module, name)
        if own is not None:
            setattr(module, name, own)


def _chunked(call: Callable[..., Any], norms: Sequence[nn.Module], rows: int) -> Callable[..., Any]:
    """``call``, which treats rows alike and apart, on ``rows`` of them at a time."""

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_kept(norms)

    def chunked(*arguments: Any, **options: Any) -> Any:
        everything = (arguments, options)
        B = _rows(everything)
        if rows >= B:
            starts: Sequence[int] = (0,)
        else:
            starts = range(0, B, rows)
        parts = []
        for start in starts:
            part, named = _map(_cut(start, rows, B), everything)
            if torch.is_grad_enabled():
                parts.append(checkpoint(call, *part, use_reentrant=False, context_fn=contexts, **named))
            else:
                parts.append(call(*part, **named))
        return parts[0] if len(parts) == 1 else _joined(parts)

    return chunked


def _cut(start: int, rows: int, B: int) -> Callable[[Tensor], Tensor]:
    """Takes the chunk from ``start`` of what has a row for each of the call's B; a scalar or a mask has not."""
    return lambda x: x[start : start + rows] if x.ndim > 0 and len(x) == B else x


def _rows(value: Any) -> int:
    """B: the rows of the first tensor in ``value``."""
    found: list[int] = []

    def note(x: Tensor) -> Tensor:
        if x.ndim > 0:
            found.append(len(x))
        return x

    _map(note, value)
    return found[0] if found else 0


def _map(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """``value`` with every tensor in it changed: through tuples, lists, dicts and data classes."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_map(change, item) for item in value)
    if isinstance(value, dict):
        return {key: _map(change, item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _map(change, getattr(value, f.name)) for f in fields(value) if f.init})
    return value


def _joined(parts: Sequence[Any]) -> Any:
    """The results of all chunks as one; what is no tensor is that of the first."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(list(parts)) if first.ndim else first
    if isinstance(first, (tuple, list)):
        return type(first)(_joined(items) for items in zip(*parts, strict=True))
    if isinstance(first, dict):
        return {key: _joined([part[key] for part in parts]) for key in first}
    if is_dataclass(first) and not isinstance(first, type):
        joined = {f.name: _joined([getattr(part, f.name) for part in parts]) for f in fields(first) if f.init}
        return replace(first, **joined)
    return first


def _norms(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, _NormBase)]


@contextmanager
def _statistics_kept(norms: Sequence[nn.Module]) -> Iterator[None]:
    """Computing again must not move the running statistics a second time."""
    before = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)
