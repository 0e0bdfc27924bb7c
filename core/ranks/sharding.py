"""Shards a module over ranks: FSDP2 on a (replicate, shard) mesh.

Flow: ``core.training.loop`` shards the student, and an EMA teacher if weights are split. ``core.ranks.tensors``
converts between full and local tensors.

On a (W, 1) mesh every rank has all weights, and only gradients are exchanged, as in DDP (Li et al. 2020). On (W / s,
s), s ranks split weights, gradients and moments (ZeRO 3, Rajbhandari et al. 2020; FSDP, Zhao et al. 2023).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor


def mesh_of(size: int, shard: int, device: torch.device) -> DeviceMesh:
    """A mesh of ``size`` ranks in which every group of ``shard`` consecutive ranks splits the weights."""
    return init_device_mesh(device.type, (size // shard, shard), mesh_dim_names=("replicate", "shard"))


def shard_module(root: nn.Module, blocks: Iterable[nn.Module], mesh: DeviceMesh, precision: str = "fp32") -> None:
    """Shard ``root`` over ``mesh``; each of its ``blocks`` becomes an FSDP unit.

    With ``precision`` bf16, split blocks are gathered and computed in bfloat16, which halves traffic and memory;
    gradients are reduced in float32. Autocast handles modules outside of blocks (logit scale, heads).
    """
    # FSDP warns that outputs that are views must not be modified in place; this program modifies no outputs.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
    split = mesh["shard"].size() > 1
    compute_dtype = torch.bfloat16 if split and precision == "bf16" else None
    policy = MixedPrecisionPolicy(compute_dtype, torch.float32 if compute_dtype else None)
    for block in blocks:
        fully_shard(block, mesh=mesh, reshard_after_forward=split, mp_policy=policy)
    state: Any = fully_shard(root, mesh=mesh, reshard_after_forward=False)._get_fsdp_state()
    state._lazy_init()  # otherwise the unit called first (a block, in validation) would become the root


@contextmanager
def unsharded(*modules: nn.Module | None, only_called: Iterable[nn.Module] = ()) -> Iterator[None]:
    """Within this context, the parameters in ``modules`` are unsharded, for code that bypasses the root's ``forward``.

    The weights of blocks in ``only_called`` are used only when the blocks are called, so these blocks stay sharded and
    are gathered one at a time.
    """
    called_ids = {id(block) for block in only_called}
    units = [
        unit
        for module in modules
        if module is not None
        for unit in module.modules()
        if isinstance(unit, FSDPModule) and id(unit) not in called_ids
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
            _restore_resharding(module)


def _restore_resharding(root: nn.Module | None) -> None:
    """Restore ``reshard_after_forward`` on blocks whose weights are split."""
    if root is None:
        return
    for unit in root.modules():
        if isinstance(unit, FSDPModule) and unit is not root:
            split = any(
                isinstance(p.data, DTensor) and p.data.device_mesh["shard"].size() > 1 for p in unit.parameters()
            )
            unit.set_reshard_after_forward(split, recurse=False)
