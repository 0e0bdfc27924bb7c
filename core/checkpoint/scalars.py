"""Converts scalar parameters: shape () in checkpoints, as in open_clip, and (1,) in memory, as FSDP requires.

Flow: ``core.checkpoint.files`` calls ``to_saved`` before it writes tensors, and ``from_saved`` after it reads them.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

_SCALAR_NAMES = ("logit_scale", "logit_bias", "log_scale")


def to_saved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` of a network or an optimiser's state, with the shapes that a checkpoint stores."""
    return {
        name: value.reshape(()) if value.shape == (1,) and _is_scalar(name) else value
        for name, value in tensors.items()
    }


def from_saved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` of a checkpoint, with the shapes in memory; the inverse of ``to_saved``."""
    return {
        name: value.reshape(1) if value.ndim == 0 and _is_scalar(name) else value for name, value in tensors.items()
    }


def shape_in_memory(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in memory of the tensor ``name`` that has ``shape`` in a checkpoint."""
    return (1,) if not shape and _is_scalar(name) else shape


def _is_scalar(name: str) -> bool:
    """Whether ``name`` is a scalar parameter or one of its moments (not the optimiser's step count)."""
    if name.startswith("optimizer."):
        name, _, moment = name.rpartition(".")
        if moment == "step":
            return False
    return name.endswith(_SCALAR_NAMES)
