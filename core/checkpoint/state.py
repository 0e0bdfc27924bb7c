"""Saves and restores the state other than weights: the optimiser's moments and the random generators."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from core.ranks.tensors import sharded_like
from core.spec.run.model_names import CheckpointError

_ADAMW_STATE = {"step", "exp_avg", "exp_avg_sq"}
_MISMATCH = (
    "the optimiser state in the checkpoint does not match the parameters of this config; resume with the version of "
    "sdgui that wrote it, or start a new run."
)


def optimizer_tensors(optimizer: torch.optim.Optimizer, network: nn.Module) -> dict[str, Tensor]:
    """The optimiser's moments as named tensors, ``optimizer.<parameter>.<moment>``, with ``network``'s names."""
    names = [name for name, _ in _ordered_parameters(optimizer, network)]
    return {
        f"optimizer.{names[index]}.{key}": value
        for index, moments in optimizer.state_dict()["state"].items()
        for key, value in moments.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of ``optimizer_tensors``. Raises CheckpointError if the moments belong to other parameters."""
    parameters = _ordered_parameters(optimizer, network)
    positions = {name: position for position, (name, _) in enumerate(parameters)}
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if not key.startswith("optimizer."):
            continue
        name, _, moment = key.removeprefix("optimizer.").rpartition(".")
        position = positions.get(name)
        if position is None or value.shape != (() if moment == "step" else parameters[position][1].shape):
            raise CheckpointError(_MISMATCH)
        split_value = value if moment == "step" else sharded_like(value, parameters[position][1])
        state.setdefault(position, {})[moment] = split_value
    if any(moments.keys() != _ADAMW_STATE for moments in state.values()):
        raise CheckpointError(_MISMATCH)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _ordered_parameters(optimizer: torch.optim.Optimizer, network: nn.Module) -> list[tuple[str, Tensor]]:
    """All parameters with their names in ``network``, in the optimiser's order."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    every = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return [(names[id(parameter)], parameter) for parameter in every]


def rng_tensors() -> dict[str, Tensor]:
    """The states of torch's random generators, so that a resumed run continues with the same dropout."""
    states = {"rng.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["rng.cuda"] = torch.cuda.get_rng_state()
    return states


def restore_rng(tensors: Mapping[str, Tensor]) -> None:
    """The inverse of ``rng_tensors``. Raises CheckpointError if the states are missing or damaged."""
    try:
        torch.set_rng_state(tensors["rng.cpu"])
        if torch.cuda.is_available() and "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"])
    except (KeyError, RuntimeError, TypeError) as error:
        raise CheckpointError(
            "the state of the random number generators in the checkpoint is damaged, or from another PyTorch version; "
            "remove the checkpoint and resume from the previous one, or start a new run."
        ) from error
