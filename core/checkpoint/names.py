"""What tensors are called in checkpoints of every version, and the shape that they have there.

Flow: ``core.checkpoint.files`` passes all that it writes through ``saved`` and all that it reads through ``current``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from core.model.heads import PROTOTYPES

# What parameters are called here, and in checkpoints.
_SAVED_AS = (
    (f"heads.{PROTOTYPES}.", "head."),
    ("heads.masked_words.mask_token", "heads.masked_words.stand_in"),
)
_OPTIMIZER = "optimizer."
# Parameters of shape (1,), since one without a dimension cannot be sharded; checkpoints keep them without.
_SCALARS = ("logit_scale", "logit_bias", "log_scale")


def saved_name(name: str) -> str:
    """The name in a checkpoint of the parameter ``name``, or of a moment ``optimizer.<parameter>.<moment>`` of it."""
    return _renamed(name, _SAVED_AS)


def current_name(saved: str) -> str:
    """The inverse of ``saved_name``."""
    return _renamed(saved, tuple((old, new) for new, old in _SAVED_AS))


def saved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` of a network, or of an optimiser's state, as a checkpoint holds them."""
    return {
        saved_name(name): value.reshape(()) if value.shape == (1,) and _is_scalar(name) else value
        for name, value in tensors.items()
    }


def current(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of ``saved``."""
    return {
        current_name(name): value.reshape(1) if value.ndim == 0 and _is_scalar(name) else value
        for name, value in tensors.items()
    }


def current_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape here of what has ``shape`` in a checkpoint."""
    return (1,) if not shape and _is_scalar(name) else shape


def _is_scalar(name: str) -> bool:
    """Whether it is one of those parameters, or a moment of one (but not the optimiser's count of its steps)."""
    if name.startswith(_OPTIMIZER):
        name, _, moment = name.rpartition(".")
        if moment == "step":
            return False
    return name.endswith(_SCALARS)


def _renamed(name: str, pairs: Sequence[tuple[str, str]]) -> str:
    owner = _OPTIMIZER if name.startswith(_OPTIMIZER) else ""
    rest = name.removeprefix(owner)
    for prefix, other in pairs:
        if rest.startswith(prefix):
            return owner + other + rest.removeprefix(prefix)
    return name
