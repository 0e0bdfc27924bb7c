"""Tensors that may be split over ranks: all of one, this rank's part of it, and states of whole tensors.

Flow: optimiser, teacher and checkpoints see parameters that ``core.ranks.sharding`` may have split; in one process, and
wherever nothing is split, the functions here give back what they are given. Checkpoints hold whole tensors, so that
they are the same at any number of ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, cast

from torch import Tensor, nn
from torch.utils._pytree import register_pytree_node


def is_split(value: Tensor) -> bool:
    """Whether ``value`` is one of torch's distributed tensors; told without loading what those are made of."""
    return hasattr(value, "to_local")


def full_tensor(value: Tensor) -> Tensor:
    """All of ``value``, which may be split over ranks; then every rank has to ask."""
    if not is_split(value):
        return value
    parts: Any = value
    mesh = parts.device_mesh
    if all(mesh.size(dim) == 1 or place.is_replicate() for dim, place in enumerate(parts.placements)):
        return local(value)
    every: Tensor = parts.full_tensor()
    return every


def local(value: Tensor) -> Tensor:
    """This rank's part of ``value``; writing to it writes to ``value``."""
    own: Tensor = cast(Any, value).to_local() if is_split(value) else value
    return own


def sharded_like(value: Tensor, like: Tensor) -> Tensor:
    """``value``, which every rank has whole, split as ``like`` is."""
    if not is_split(like) or is_split(value):
        return value
    from torch.distributed.tensor import distribute_tensor  # noqa: PLC0415  (needless in one process)

    layout = cast(Any, like)
    return distribute_tensor(value.to(like.device), layout.device_mesh, layout.placements, src_data_rank=None)


def on_host(tensors: Mapping[str, Tensor], keep: bool, copy: bool = False) -> dict[str, Tensor]:
    """Every tensor whole in the host's memory of each rank that is to ``keep`` them, {} on others; all have to ask.

    They are gathered one after another, so that a device holds one whole tensor at a time besides its parts. ``copy``:
    also of what is in the host's memory already.
    """
    gathered = {}
    for name, value in tensors.items():
        full = full_tensor(value.detach())
        if keep:
            gathered[name] = full.to("cpu", copy=copy)
        del full
    return gathered


def as_trees(value: Any) -> Any:
    """``value``, with every data class in it known to torch's pytree as the tensors of its fields.

    FSDP gathers weights again when a gradient reaches an output, which it finds in pytrees alone before torch 2.13.
    """
    if is_dataclass(value) and not isinstance(value, type):
        names = tuple(one.name for one in fields(value) if one.init)
        _register(type(value), names)
        for name in names:
            as_trees(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            as_trees(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            as_trees(item)
    return value


@cache
def _register(kind: Any, names: tuple[str, ...]) -> None:
    register_pytree_node(
        kind,
        lambda value: ([getattr(value, name) for name in names], None),
        lambda items, _: kind(**dict(zip(names, items, strict=True))),
    )


def load_whole(module: nn.Module, tensors: Mapping[str, Tensor]) -> Any:
    """``load_state_dict`` of whole tensors, into a module that may be split."""
    own = module.state_dict()
    return module.load_state_dict(
        {name: sharded_like(value, own[name]) if name in own else value for name, value in tensors.items()}
    )
