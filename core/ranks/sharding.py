"""A module over ranks: FSDP2 on a (replicate, shard) mesh.

Flow: ``core.training.loop`` shards the student, and a moving teacher where weights are split. What of it is whole, and
what each rank has, is in ``core.ranks.tensors``.

On a (W, 1) mesh every rank keeps all weights, and only gradients are exchanged, as DDP does (Li et al. 2020); on
(W / s, s) s ranks split weights, gradients and moments (ZeRO 3, Rajbhandari et al. 2020; FSDP, Zhao et al. 2023).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor


def mesh_of(size: int, shard: int, device: torch.device) -> DeviceMesh:
    """``size`` ranks, of which ``shard`` that follow each other split the weights."""
    return init_device_mesh(device.type, (size // shard, shard), mesh_dim_names=("replicate", "shard"))


def shard_module(root: nn.Module, blocks: Iterable[nn.Module], mesh: DeviceMesh) -> None:
    """Put ``root`` on ``mesh``, each of its ``blocks`` a unit that is gathered and reduced by itself."""
    # It warns of views among outputs, which must not be written to in place; nobody writes to an output here.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
    split = mesh["shard"].size() > 1
    for block in blocks:
        fully_shard(block, mesh=mesh, reshard_after_forward=split)
    fully_shard(root, mesh=mesh, reshard_after_forward=False)


@contextmanager
def unsharded(*modules: nn.Module | None) -> Iterator[None]:
    """While entered, every parameter in ``modules`` is whole, for what does not go through the root's ``forward``."""
    units = [
        unit for module in modules if module is not None for unit in module.modules() if isinstance(unit, FSDPModule)
    ]
    for unit in units:
        unit.set_reshard_after_forward(False, recurse=False)
        unit.unshard()
    try:
        yield
    finally:
        for unit in units:
            unit.reshard()
        for module in modules:
            _reshard_again(module)


def _reshard_again(root: nn.Module | None) -> None:
    """Blocks give up their whole weights after use again, where weights are split."""
    if root is None:
        return
    for unit in root.modules():
        if isinstance(unit, FSDPModule) and unit is not root:
            split = any(
                isinstance(one.data, DTensor) and one.data.device_mesh["shard"].size() > 1 for one in unit.parameters()
            )
            unit.set_reshard_after_forward(split, recurse=False)
