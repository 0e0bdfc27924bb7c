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
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor


def mesh_of(size: int, shard: int, device: torch.device) -> DeviceMesh:
    """``size`` ranks, of which ``shard`` that follow each other split the weights."""
    return init_device_mesh(device.type, (size // shard, shard), mesh_dim_names=("replicate", "shard"))


def shard_module(root: nn.Module, blocks: Iterable[nn.Module], mesh: DeviceMesh, precision: str = "fp32") -> None:
    """Put ``root`` on ``mesh``, each of its ``blocks`` a unit that is gathered and reduced by itself.

    With ``precision`` bf16, blocks whose weights are split are gathered, and compute, in bfloat16, which halves what is
    sent and held; gradients are summed in float32. What lies outside of blocks (logit scale, heads) autocast treats.
    """
    # It warns of views among outputs, which must not be written to in place; nobody writes to an output here.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
    split = mesh["shard"].size() > 1
    half = torch.bfloat16 if split and precision == "bf16" else None
    policy = MixedPrecisionPolicy(half, torch.float32 if half else None)
    for block in blocks:
        fully_shard(block, mesh=mesh, reshard_after_forward=split, mp_policy=policy)
    state: Any = fully_shard(root, mesh=mesh, reshard_after_forward=False)._get_fsdp_state()
    state._lazy_init()  # else the unit that is called first is taken for the root: a block, in a validation


@contextmanager
def unsharded(*modules: nn.Module | None, called: Iterable[nn.Module] = ()) -> Iterator[None]:
    """While entered, the parameters in ``modules`` are whole, for what does not go through the root's ``forward``.

    Blocks that are only ever ``called`` stay split, and are gathered one at a time as they are called.
    """
    apart = {id(block) for block in called}
    units = [
        unit
        for module in modules
        if module is not None
        for unit in module.modules()
        if isinstance(unit, FSDPModule) and id(unit) not in apart
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
