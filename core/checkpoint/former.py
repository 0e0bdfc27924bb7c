"""Former runs and open_clip models as teachers, or as weights to start from.

Flow: ``core.training.assembly`` asks for the networks of ``teacher.checkpoint``, and for the file that
``towers.pretrained`` means. A model is named by a run folder (its best checkpoint), ``RUN@STEP`` (also ``@best``,
``@last`` or a checkpoint's name), or ``open_clip:NAME,PRETRAINED``.
"""

from __future__ import annotations

from pathlib import Path

import torch

from core.checkpoint import files as checkpoint
from core.checkpoint.loading import _chosen, _trained, start_weights, trained_network
from core.model.network import Network
from core.model.towers.towers import build_towers, load_pretrained, resolve_architecture
from core.spec.errors import UserError
from core.spec.run.folder import RunDir
from core.spec.run.model_names import OPEN_CLIP, resolve


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
        load_pretrained(towers, architecture.strip(), start_weights(pretrained.strip(), "auto"))
        return Network(towers)
    found = _trained(name)
    if found is None:
        raise UserError(
            f"there is no teacher {name!r}; give in teacher.checkpoint a run folder, RUN@STEP, or "
            f"{OPEN_CLIP}NAME,PRETRAINED."
        )
    run = RunDir(found[0])
    step = resolve(run, found[1])
    chosen = _chosen(run, found[1], weights)
    with torch.random.fork_rng(devices=[]):  # weights that are drawn and replaced must not move the student's
        return trained_network(run, step, chosen, torch.device("cpu"))
