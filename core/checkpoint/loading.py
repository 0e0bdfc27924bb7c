"""From a checkpoint's files to a network: by run and name, ready to encode or to teach."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from core.checkpoint import files as checkpoint
from core.checkpoint.tensor_files import check_claims
from core.model.network import Network
from core.model.runtime import Runtime, RuntimeUnavailable, set_up
from core.objectives.build import build_network
from core.spec.config import RunConfig, split_run
from core.spec.errors import UserError
from core.spec.run.folder import RunDir
from core.spec.run.model_names import default_network, resolve, weights_in


def trained_network(run: RunDir, name: str, weights: str, device: torch.device) -> Network:
    """The network ``weights`` ("student" or "teacher") of the checkpoint ``name``, on ``device``.

    Raises CheckpointError when it is not there, damaged, or of another version of this program.
    """
    origin = f"the checkpoint {run.checkpoints / name}"
    info = checkpoint.read_info(run, name)
    config, shapes = checkpoint.definition(info, origin), checkpoint.shapes(run, name, weights)

    def build() -> Network:
        return build_network(config, dict(info.model), info.classes)

    check_claims(build, info.model, shapes, origin)
    network = build().to(device)
    checkpoint.fill(network.load_state_dict, checkpoint.load_weights(run, name, weights, device), origin)
    return network


@dataclass(frozen=True)
class Loaded:
    """A checkpoint's networks, ready to encode: "student" and, where there is one, "teacher"."""

    run: RunDir
    name: str
    step: int
    config: RunConfig
    runtime: Runtime
    networks: dict[str, Network]


def load_checkpoint(run: RunDir, which: str) -> Loaded:
    """Student and teacher of checkpoint ``which`` ("best", "last", a step or a name) in eval mode.

    They compute in the precision they were trained with, on the run's device or, elsewhere, on what is here.
    Raises CheckpointError when there is none, or it is damaged.
    """
    name = resolve(run, which)
    info = checkpoint.read_info(run, name)
    config = checkpoint.definition(info, f"the checkpoint {run.checkpoints / name}")
    try:
        runtime = set_up(config.runtime)
    except RuntimeUnavailable:
        runtime = set_up(config.runtime.model_copy(update={"device": "auto"}))
    networks = {
        weights: trained_network(run, name, weights, runtime.device).eval() for weights in weights_in(run, name)
    }
    return Loaded(run, name, info.step, config, runtime, networks)


def _trained(name: str) -> tuple[Path, str] | None:
    """The run folder and the checkpoint in it that ``name`` means; None when it means no run."""
    found = split_run(name)
    return (found[0], found[1] or "best") if found and RunDir(found[0]).checkpoints.is_dir() else None


def start_weights(pretrained: str, weights: str) -> str:
    """What ``towers.pretrained`` means: the weights file of a former run, everything else as it is.

    ``weights`` is "student", "teacher" or "auto" (of the best checkpoint whichever was validated better, of others the
    teacher where there is one). UserError when it has no such one.
    """
    found = _trained(pretrained)
    if found is None:
        return pretrained
    folder, which = found
    run = RunDir(folder)
    name = resolve(run, which)
    return str(run.checkpoints / name / f"{_chosen(run, which, weights)}.safetensors")


def _chosen(run: RunDir, which: str, weights: str) -> str:
    if weights == "auto":
        return default_network(run, which)
    if weights not in weights_in(run, resolve(run, which)):
        raise UserError(f"{run.path} was trained without a {weights}; choose the student's weights.")
    return weights
