"""Converts tensors that may be split over ranks: to full tensors, local parts and state dicts of full tensors.

Flow: optimiser, teacher and checkpoints handle parameters that ``core.ranks.sharding`` may have split. A tensor that is
not split is returned unchanged. Checkpoints contain full tensors, so that they do not depend on the number of ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, cast

from torch import Tensor, nn
from torch.utils._pytree import register_pytree_node


def is_split(value: Tensor) -> bool:
    """Whether ``value`` is a DTensor; does not import torch.distributed.tensor."""
    return hasattr(value, "to_local")


def full_tensor(value: Tensor) -> Tensor:
    """The full tensor of ``value``. If ``value`` is split over ranks, all ranks must call this function."""
    if not is_split(value):
        return value
    distributed: Any = value
    mesh = distributed.device_mesh
    if all(mesh.size(dim) == 1 or placement.is_replicate() for dim, placement in enumerate(distributed.placements)):
        return local(value)  # every rank has the full tensor
    full: Tensor = distributed.full_tensor()
    return full


def local(value: Tensor) -> Tensor:
    """This rank's part of ``value``; it shares memory with ``value``."""
    part: Tensor = cast(Any, value).to_local() if is_split(value) else value
    return part


def sharded_like(value: Tensor, reference: Tensor) -> Tensor:
    """Split the full tensor ``value``, which every rank has, in the same way as ``reference``."""
    if not is_split(reference) or is_split(value):
        return value
    from torch.distributed.tensor import distribute_tensor  # noqa: PLC0415  (not needed in one process)

    layout = cast(Any, reference)
    return distribute_tensor(value.to(reference.device), layout.device_mesh, layout.placements, src_data_rank=None)


def on_host(tensors: Mapping[str, Tensor], keep: bool, copy: bool = False) -> dict[str, Tensor]:
    """Full tensors in host memory on ranks that pass ``keep``, {} on other ranks. All ranks must call this function.

    Tensors are gathered one after another, so that a device holds only one full tensor at a time. ``copy``: copy also
    tensors that are in host memory already.
    """
    host_tensors = {}
    for name, value in tensors.items():
        full = full_tensor(value.detach())
        if keep:
            host_tensors[name] = full.to("cpu", copy=copy)
        del full
    return host_tensors


def register_as_trees(value: Any) -> Any:
    """``value``, with its dataclasses registered as pytree nodes.

    FSDP gathers a module's weights again when a gradient reaches one of its outputs. Before torch 2.13, it finds those
    outputs only in pytrees.
    """
    if is_dataclass(value) and not isinstance(value, type):
        names = tuple(field.name for field in fields(value) if field.init)
        _register(type(value), names)
        for name in names:
            register_as_trees(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            register_as_trees(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            register_as_trees(item)
    return value


@cache
def _register(kind: Any, names: tuple[str, ...]) -> None:
    register_pytree_node(
        kind,
        lambda value: ([getattr(value, name) for name in names], None),
        lambda items, _: kind(**dict(zip(names, items, strict=True))),
    )


def load_full_state(module: nn.Module, tensors: Mapping[str, Tensor], strict: bool = True) -> Any:
    """``load_state_dict`` of full tensors into a module that may be split."""
    current = module.state_dict()
    return module.load_state_dict(
        {name: sharded_like(value, current[name]) if name in current else value for name, value in tensors.items()},
        strict=strict,
    )
