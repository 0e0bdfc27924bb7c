"""Scalar parameters in checkpoints: shape () there, as in open_clip, and (1,) in memory, since FSDP cannot shard ().

Flow: ``core.checkpoint.files`` writes tensors through ``saved`` and reads them through ``current``.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

_SCALARS = ("logit_scale", "logit_bias", "log_scale")


def saved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` of a network, or of an optimiser's state, as a checkpoint stores them."""
    return {
        name: value.reshape(()) if value.shape == (1,) and _is_scalar(name) else value
        for name, value in tensors.items()
    }


def current(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of ``saved``."""
    return {
        name: value.reshape(1) if value.ndim == 0 and _is_scalar(name) else value for name, value in tensors.items()
    }


def current_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in memory of a tensor that has ``shape`` in a checkpoint."""
    return (1,) if not shape and _is_scalar(name) else shape


def _is_scalar(name: str) -> bool:
    """Whether it is a scalar parameter or one of its moments (not the optimiser's count of steps)."""
    if name.startswith("optimizer."):
        name, _, moment = name.rpartition(".")
        if moment == "step":
            return False
    return name.endswith(_SCALARS)
