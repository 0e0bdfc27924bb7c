"""What a checkpoint holds besides weights: the optimiser's moments and the random generators' states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from core.ranks.tensors import sharded_like
from core.spec.run.model_names import (
    CheckpointError,  # these are found here too
)


def optimizer_tensors(optimizer: torch.optim.Optimizer, network: nn.Module) -> dict[str, Tensor]:
    """The optimiser's moments as named tensors: ``optimizer.<parameter>.<moment>``, parameters as in ``network``."""
    names = [name for name, _ in _in_order(optimizer, network)]
    return {
        f"optimizer.{names[index]}.{key}": value
        for index, moments in optimizer.state_dict()["state"].items()
        for key, value in moments.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of ``optimizer_tensors``; also of checkpoints from before parameters were named, but numbered.

    CheckpointError when the moments are those of other parameters.
    """
    parameters = _in_order(optimizer, network)
    names = [name for name, _ in parameters]
    for numbered in (names, _previous_order(names)):
        state = _moments(parameters, numbered, tensors)
        if state is not None:
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
            return
    raise CheckpointError(
        "the optimiser state in the checkpoint does not match the parameters of this config; it was written "
        "by another version of this program: resume with that one, or start anew."
    )


def _in_order(optimizer: torch.optim.Optimizer, network: nn.Module) -> list[tuple[str, Tensor]]:
    """Every parameter with its name in ``network``, in the optimiser's order."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    every = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return [(names[id(parameter)], parameter) for parameter in every]


def _previous_order(names: list[str]) -> list[str]:
    """``names`` as they were numbered when a fusion's final norm came after its blocks."""
    norms = [name for name in names if name.startswith("fusion.norm.")]
    others = [name for name in names if name not in norms]
    blocks = [position for position, name in enumerate(others) if name.startswith("fusion.blocks.")]
    after = blocks[-1] + 1 if blocks else len(others)
    return [*others[:after], *norms, *others[after:]]


def _moments(
    parameters: Sequence[tuple[str, Tensor]], numbered: Sequence[str], tensors: Mapping[str, Tensor]
) -> dict[int, dict[str, Tensor]] | None:
    """Position of a parameter -> its moments; None when one of them has no parameter, or one of another shape."""
    positions = {name: position for position, (name, _) in enumerate(parameters)}
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        owner, _, rest = key.partition(".")
        if owner != "optimizer":
            continue
        name, _, moment = rest.rpartition(".")
        if name.isdecimal() and int(name) < len(numbered):
            name = numbered[int(name)]
        position = positions.get(name)
        if position is None or (value.ndim > 0 and value.shape != parameters[position][1].shape):
            return None
        if value.ndim == 0 and moment != "step":  # of a parameter that had no dimension
            value = value.reshape(parameters[position][1].shape)
        state.setdefault(position, {})[moment] = (
            value if moment == "step" else sharded_like(value, parameters[position][1])
        )
    return state


def rng_tensors() -> dict[str, Tensor]:
    """States of torch's generators: dropout and the like go on where they were."""
    states = {"rng.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["rng.cuda"] = torch.cuda.get_rng_state()
    return states


def restore_rng(tensors: Mapping[str, Tensor]) -> None:
    """Restore the generators to where ``rng_tensors`` was taken; CheckpointError when they are no such states."""
    try:
        torch.set_rng_state(tensors["rng.cpu"])
        if torch.cuda.is_available() and "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"])
    except (KeyError, RuntimeError, TypeError) as error:
        raise CheckpointError(
            "the state of the random number generators in the checkpoint is damaged, or of another PyTorch; "
            "remove that checkpoint and "
            "resume from the one before, or start anew."
        ) from error
