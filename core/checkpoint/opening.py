"""A model by its name, ready to be used: a run's checkpoint, one of open_clip's, or a folder that holds one.

Flow: every verb and panel that uses a trained model -> ``open_model`` -> encoder or generation.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from core.checkpoint.loading import load_checkpoint, start_weights
from core.model.heads import saved_name
from core.model.network import Network
from core.model.runtime import Runtime, set_up
from core.model.towers.pretrained import known_problem
from core.model.towers.towers import build_towers, load_pretrained, resolve_architecture
from core.spec.config import DataConfig, RuntimeConfig, ValidationConfig, expand_user, split_run
from core.spec.errors import UserError
from core.spec.reporter import Progress
from core.spec.run.folder import RunDir
from core.spec.run.model_names import OPEN_CLIP, default_network, resolve

SEED = 0  # of the weights of a model that is used from scratch


@dataclass(frozen=True)
class Model:
    """A network to be used, what reports call it, and how its pictures are read."""

    network: Network
    runtime: Runtime
    subject: Subject  # its dataset is empty yet
    data: DataConfig = field(default_factory=DataConfig)  # ``train`` is the default training data
    batch: int = ValidationConfig().batch_size
    notes: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """Names the network by its weights and the precision it computes in; 16 hex digits."""
        digest = hashlib.sha256(self.runtime.precision.encode())
        saved = {saved_name(name): value for name, value in self.network.state_dict().items()}
        for name, value in sorted(saved.items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()[:16]


def open_model(name: str, weights: str = "", progress: Progress | None = None) -> Model:
    """The model that ``name`` stands for, in eval mode.

    ``name`` is a run folder (its best checkpoint), ``RUN@STEP`` (also ``@best``, ``@last`` or a checkpoint's name),
    ``open_clip:NAME[,PRETRAINED]``, or a folder as open_clip saves one (``open_clip_config.json`` and weights).
    ``weights`` is "student" or "teacher"; by default of a run's best checkpoint the one that was validated better, of
    others the teacher where there is one. ``progress`` hears of a download, in megabytes, and may raise to end it.

    Raises UserError when there is no such model, checkpoint or network.
    """
    path = expand_user(name)
    saved = (path / "open_clip_config.json").is_file()
    if name.startswith(OPEN_CLIP) or saved:
        if weights:
            raise UserError(f"{name} has one network, no student and teacher; leave out --weights {weights}.")
        architecture, _, pretrained = name.removeprefix(OPEN_CLIP).partition(",")
        return (
            _open_clip(str(path), str(path), progress)
            if saved
            else _open_clip(architecture.strip(), pretrained.strip(), progress)
        )
    found = split_run(name)
    if found is None:
        raise UserError(
            f"there is no model {name!r}; give a run folder, RUN@STEP, or {OPEN_CLIP}NAME[,PRETRAINED] "
            f"such as {OPEN_CLIP}ViT-B-32,openai."
        )
    folder, which = found
    return _from_run(folder, which or "best", weights)


def model_key(name: str, weights: str = "") -> tuple[str, ...]:
    """Changes when ``name`` begins to stand for other weights: a run's better checkpoint, a folder filled anew."""
    found = split_run(name)
    if found is None:
        return name, weights
    folder, which = found
    run = RunDir(folder)
    if run.checkpoints.is_dir():
        which = which or "best"
        weights = weights or default_network(run, which)
        return (str(folder.resolve()), resolve(run, which), weights)
    files = sorted(file for file in folder.iterdir() if file.is_file())
    return (str(folder.resolve()), *(f"{file.name} {file.stat().st_mtime_ns}" for file in files), weights)


def _from_run(folder: Path, which: str, weights: str) -> Model:
    run = RunDir(folder)
    chosen = weights or default_network(run, which)
    loaded = load_checkpoint(run, which)
    if chosen not in loaded.networks:
        raise UserError(f"{folder} has no {chosen}; it was trained without one, so measure --weights student.")
    subject = Subject(model=f"{folder}@{loaded.name}", dataset="", weights=chosen)
    batch = loaded.config.validation.batch_size
    return Model(loaded.networks[chosen], loaded.runtime, subject, loaded.config.data, batch)


def _open_clip(architecture: str, pretrained: str, progress: Progress | None) -> Model:
    """In fp32, so that published numbers are met whatever the machine prefers."""
    runtime = set_up(RuntimeConfig(precision="fp32"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        towers = build_towers(resolve_architecture(architecture))
    notes: tuple[str, ...] = ()
    if pretrained:
        load_pretrained(towers, architecture, start_weights(pretrained, "auto"), progress)
        notes = tuple(filter(None, (known_problem(architecture, pretrained),)))
    else:
        notes = (
            f"{architecture} has random weights (seed {SEED}), since no pretrained weights were named; "
            f"write {OPEN_CLIP}{architecture},PRETRAINED to measure trained ones.",
        )
    subject = Subject(model=architecture, dataset="", pretrained="" if pretrained == architecture else pretrained)
    return Model(Network(towers).to(runtime.device).eval(), runtime, subject, notes=notes)


def model_digest(model: Model) -> str:
    """``model.digest``."""
    return model.digest


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What was measured on what. ``weights`` is student or teacher where a run has both."""

    model: str
    dataset: str
    pretrained: str = ""
    weights: str = ""
    language: str = "en"

    @property
    def title(self) -> str:
        """For headings."""
        facts = ", ".join(fact for fact in (self.pretrained, self.weights) if fact)
        return f"{self.model} ({facts})" if facts else self.model
