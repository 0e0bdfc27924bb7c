"""Former runs and open_clip models as teachers, or as weights to start from.

Flow: ``core.training.assembly`` asks for the networks of ``teacher.checkpoint``, and for the file that ``towers.pretrained``
means. A model is named by a run folder (its best checkpoint), ``RUN@STEP`` (also ``@best``, ``@last`` or a checkpoint's
name), or ``open_clip:NAME,PRETRAINED``.
"""

from __future__ import annotations

from pathlib import Path

import torch

from core.checkpoint import files as checkpoint
from core.model.network import Network
from core.model.towers.towers import build_towers, load_pretrained, resolve_architecture
from core.objectives.build import trained_network
from core.spec.config import split_run
from core.spec.errors import UserError
from core.spec.run.folder import RunDir
from core.spec.run.model_names import OPEN_CLIP


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
    name = checkpoint.resolve(run, which)
    return str(run.checkpoints / name / f"{_chosen(run, which, weights)}.safetensors")


def carry_over(network: Network, weights: str) -> list[str]:
    """Fill fusion and heads of ``network`` from the former run whose weights file is ``weights``, where they fit.

    What has another name or shape there, or tells other classes apart, keeps its random start. Returns what was taken;
    nothing for a file that is no run's.
    """
    path = Path(weights)
    if not (path.parent / "checkpoint.json").is_file() or path.suffix != ".safetensors":
        return []
    run = RunDir(path.parent.parent.parent)
    info = checkpoint.read_info(run, path.parent.name)
    former = checkpoint.load_weights(run, path.parent.name, path.stem, torch.device("cpu"))
    own = network.state_dict()
    other_classes = tuple(info.classes) != tuple(network.classes)
    taken = {
        name: value
        for name, value in former.items()
        if not name.startswith("towers.clip.")
        and name in own
        and own[name].shape == value.shape
        and not (other_classes and name.startswith("heads.classification."))
    }
    network.load_state_dict(taken, strict=False)
    return sorted(taken)


def open_teachers(names: str, weights: str, device: torch.device) -> list[Network]:
    """The networks that ``names``, parted by semicolons, mean. UserError names the one that cannot be opened."""
    return [_open(name.strip(), weights).to(device) for name in names.split(";") if name.strip()]


def _open(name: str, weights: str) -> Network:
    if name.startswith(OPEN_CLIP):
        architecture, _, pretrained = name.removeprefix(OPEN_CLIP).partition(",")
        with torch.random.fork_rng(devices=[]):
            towers = build_towers(resolve_architecture(architecture.strip()))
        if not pretrained.strip():
            raise UserError(f"the teacher {name} has no weights; write {OPEN_CLIP}{architecture},PRETRAINED.")
        load_pretrained(towers, architecture.strip(), pretrained.strip())
        return Network(towers)
    found = _trained(name)
    if found is None:
        raise UserError(
            f"there is no teacher {name!r}; give in teacher.checkpoint a run folder, RUN@STEP, or "
            f"{OPEN_CLIP}NAME,PRETRAINED."
        )
    run = RunDir(found[0])
    step = checkpoint.resolve(run, found[1])
    chosen = _chosen(run, found[1], weights)
    with torch.random.fork_rng(devices=[]):  # weights that are drawn and replaced must not move the student's
        return trained_network(run, step, chosen, torch.device("cpu"))


def _chosen(run: RunDir, which: str, weights: str) -> str:
    if weights == "auto":
        return checkpoint.default_network(run, which)
    if weights not in checkpoint.weights_in(run, checkpoint.resolve(run, which)):
        raise UserError(f"{run.path} was trained without a {weights}; choose the student's weights.")
    return weights
