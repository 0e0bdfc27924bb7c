"""Opens a model by its name, for evaluation, search, captions, distillation and fine-tuning.

Flow: a command, a panel or a config -> ``core.spec.run.model_names.locate`` -> ``open_network`` -> ``open_model`` for
inference, ``open_teachers`` and ``core.checkpoint.starting`` for training.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import torch

from core.checkpoint import files as checkpoint
from core.checkpoint.files import CheckpointInfo
from core.checkpoint.interpolating import ENDPOINTS, interpolate
from core.checkpoint.scalars import to_saved
from core.checkpoint.starting import load_towers
from core.checkpoint.tensor_files import check_matches_weights
from core.custom.loading import CustomCode
from core.data.images import Resizing
from core.data.preprocessing import PublishedData
from core.model.errors import ModelError
from core.model.network import Network
from core.model.runtime import Runtime, RuntimeUnavailable, set_up
from core.model.towers.architectures import is_published, resolve_architecture
from core.model.towers.downloading import fetch_architecture, is_downloaded
from core.model.towers.pretrained import find_weights, known_problem, published_tag, read_weights, weights_folder
from core.model.towers.towers import build_towers
from core.objectives.build import build_network
from core.spec.config import DataConfig, RunConfig, RuntimeConfig, ValidationConfig, expand_user
from core.spec.errors import UserError
from core.spec.paths import is_file, is_folder
from core.spec.reading import excerpt
from core.spec.reporter import Progress
from core.spec.run.model_names import (
    OPEN_CLIP,
    InterpolatedModel,
    OpenClipModel,
    RunNetwork,
    locate,
    locate_run,
)

T = TypeVar("T")
SEED = 0  # seed for the weights of a model without pretrained weights


@dataclass(frozen=True)
class Model:
    """An opened network, its runtime, its name in reports, and the preprocessing of its images."""

    network: Network
    runtime: Runtime
    subject: Subject  # its ``dataset`` is set by the evaluation
    data: DataConfig = field(default_factory=DataConfig)  # how to read images; for a run, also its data sets
    batch: int = ValidationConfig().batch_size
    notes: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """A digest (16 hex digits) of the weights and the compute precision."""
        digest = hashlib.sha256(self.runtime.precision.encode())
        for name, value in sorted(to_saved(self.network.state_dict()).items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model and the data that it is evaluated on. ``weights``: student or teacher, if a run has both."""

    model: str
    dataset: str
    pretrained: str = ""
    weights: str = ""
    precision: str = "fp32"

    @property
    def title(self) -> str:
        """The title for headings, such as "first (teacher)"."""
        details = ", ".join(detail for detail in (self.pretrained, self.weights) if detail)
        return f"{self.model} ({details})" if details else self.model


def open_model(name: str | os.PathLike[str], weights: str = "", progress: Progress | None = None) -> Model:
    """Open the model that ``name`` and ``weights`` denote (see ``locate``), in eval mode.

    The model computes in fp32, also for a run trained in bfloat16, which would change recalls by up to one percentage
    point. A run's network is put on the run's device if this machine has it, and reads images like the run's
    validation. Other models use their published preprocessing, which reproduces published numbers. ``progress`` counts
    the megabytes of a download, and may raise to cancel.

    Raises UserError if the model, checkpoint or network does not exist or is damaged.
    """
    source = locate(os.fspath(name), weights)
    if isinstance(source, InterpolatedModel) and source.initial_is_from_config:
        check_downloaded(source.name)  # the config of a run, which may be another person's, must not start a download
    if isinstance(source, OpenClipModel):
        runtime = set_up(RuntimeConfig(precision="fp32"))
        network = open_network(source, runtime.device, progress).eval()
        # A model folder contains both: its path is shown once.
        pretrained = "" if source.pretrained == source.architecture else source.pretrained
        subject = Subject(model=source.architecture, dataset="", pretrained=pretrained)
        return Model(network, runtime, subject, PublishedData(resizing=_resizing(source)), notes=_notes(source))
    tuned = source.tuned if isinstance(source, InterpolatedModel) else source
    config, _ = _config(tuned)
    runtime = _runtime(config)
    network = open_network(source, runtime.device, progress).eval()
    title = f"{tuned.name}, alpha {source.alpha:g}" if isinstance(source, InterpolatedModel) else source.name
    subject = Subject(model=title, dataset="", weights=tuned.network)
    return Model(network, runtime, subject, config.data, config.validation.batch_size)


def open_teachers(names: str, weights: str, device: torch.device) -> list[Network]:
    """Open the networks ``names``, separated by semicolons. ``weights``: auto, student or teacher, for names of runs.

    Raises UserError with the name that cannot be used.
    """
    return [_open_teacher(name.strip(), weights, device) for name in names.split(";") if name.strip()]


def _open_teacher(name: str, weights: str, device: torch.device) -> Network:
    try:
        source = locate(name)
        if isinstance(source, RunNetwork):
            source = locate(name, weights)
    except UserError as error:
        raise UserError(f"teacher.checkpoint: {error}") from error
    if isinstance(source, OpenClipModel) and not source.pretrained:
        raise UserError(f"the teacher {name} has no weights; use {OPEN_CLIP}{source.architecture},PRETRAINED.")
    return open_network(source, device)


def open_network(
    source: RunNetwork | OpenClipModel | InterpolatedModel, device: torch.device, progress: Progress | None = None
) -> Network:
    """Open the network of ``source`` on ``device``, without advancing torch's random generator.

    Raises CheckpointError or ModelError if the weights are missing, damaged, or saved by an incompatible version;
    UserError if two models cannot be interpolated.
    """
    if isinstance(source, InterpolatedModel):
        ends = source.tuned, source.initial

        def load() -> tuple[Network, Network]:
            tuned, initial = (open_network(end, device, progress) for end in ends)
            return tuned, initial

        tuned, initial = ENDPOINTS.get_or_load((device, *map(_source_key, ends)), load)
        return interpolate(tuned, initial, source.alpha)
    with torch.random.fork_rng(devices=[]):
        if isinstance(source, RunNetwork):
            return _from_run(source, device)
        return _from_open_clip(source, progress).to(device)


def _from_open_clip(source: OpenClipModel, progress: Progress | None) -> Network:
    model_cfg = fetch_architecture(source.architecture, source.pretrained)
    if source.pretrained and not is_published(source.architecture):
        # The architecture is a local file, which is not trusted: compare it with the weights before building it.
        run_network = locate_run(source.pretrained, "auto")
        path = find_weights(source.architecture, str(run_network.path) if run_network else source.pretrained, progress)
        shapes = {name: tuple(value.shape) for name, value in read_weights(path).items()}
        origin = f"the model {source.architecture}"
        check_matches_weights(lambda: Network(build_towers(model_cfg)), model_cfg, shapes, origin)
    torch.manual_seed(SEED)
    towers = build_towers(model_cfg)
    if source.pretrained:
        load_towers(towers, source.architecture, source.pretrained, progress=progress)
    return Network(towers)


def check_downloaded(name: str) -> None:
    """Raise ModelError if opening ``name`` would download weights; for names that the user did not type."""
    source = locate(name)
    if isinstance(source, InterpolatedModel):
        source = source.initial
    if not isinstance(source, OpenClipModel) or not is_published(source.architecture):
        return
    architecture, pretrained = source.architecture, source.pretrained
    if not pretrained or expand_user(pretrained).exists() or weights_folder(architecture, pretrained).is_dir():
        return
    if not is_downloaded(published_tag(architecture, pretrained), resolve_architecture(architecture)):
        name = f"{OPEN_CLIP}{architecture},{pretrained}"
        raise ModelError(
            f"{excerpt(name)} is not on this machine; to download it, choose the model yourself by this name."
        )


def _from_run(source: RunNetwork, device: torch.device) -> Network:
    config, info = _config(source)
    code = CustomCode(source.run)
    if config.towers.build:
        code.load(config.towers.build)  # loaded first, so that its errors are not reported as a damaged checkpoint
    training_only = ("lora.", *(f"heads.{key.rpartition(':')[2]}." for key in config.objectives.custom))
    config = _remove_custom_objectives(config)

    def used(values: Mapping[str, T]) -> dict[str, T]:
        """``values`` without what only training needs: LoRA's factors, and the heads of custom objectives."""
        return {name: value for name, value in values.items() if not name.startswith(training_only)}

    def build() -> Network:
        return build_network(config, dict(info.model), info.classes, code)

    shapes = used(checkpoint.shapes(source.run, source.checkpoint, source.network))
    check_matches_weights(build, info.model, shapes, _origin(source))
    network = build().to(device)
    tensors = checkpoint.load_weights(source.run, source.checkpoint, source.network, device)
    checkpoint.load_state(network.load_state_dict, used(tensors), _origin(source))
    return network


def _remove_custom_objectives(config: RunConfig) -> RunConfig:
    objectives = config.objectives.model_copy(update={"custom": {}})
    return config.model_copy(update={"objectives": objectives})


def _config(source: RunNetwork) -> tuple[RunConfig, CheckpointInfo]:
    info = checkpoint.read_info(source.run, source.checkpoint)
    return checkpoint.run_config(info, _origin(source)), info


def _origin(source: RunNetwork) -> str:
    return f"the checkpoint {source.run.checkpoints / source.checkpoint}"


def _resizing(source: OpenClipModel) -> Resizing:
    """The model's published resizing, completed by open_clip's defaults."""
    preprocessing = resolve_architecture(source.architecture, source.pretrained).get("preprocess_cfg", {})
    return Resizing(
        preprocessing.get("resize_mode") or "shortest",
        "bilinear" if preprocessing.get("interpolation") == "bilinear" else "bicubic",
        preprocessing.get("fill_color") or 0,
    )


def _runtime(config: RunConfig) -> Runtime:
    exact = config.runtime.model_copy(update={"precision": "fp32", "tf32": False})
    try:
        return set_up(exact)
    except RuntimeUnavailable:
        return set_up(exact.model_copy(update={"device": "auto"}))


def _notes(source: OpenClipModel) -> tuple[str, ...]:
    if source.pretrained:
        return tuple(filter(None, (known_problem(source.architecture, source.pretrained),)))
    return (
        f"{source.architecture} has random weights (seed {SEED}), since no pretrained weights were specified; "
        f"use {OPEN_CLIP}{source.architecture},PRETRAINED to evaluate trained weights.",
    )


def model_key(name: str, weights: str = "") -> tuple[str, ...]:
    """The key in a cache of models for the model that ``name`` denotes (see ``locate``).

    It changes with a new best checkpoint and with rewritten files. Raises the errors of ``locate``.
    """
    return _source_key(locate(name, weights))


def _source_key(source: RunNetwork | OpenClipModel | InterpolatedModel) -> tuple[str, ...]:
    if isinstance(source, InterpolatedModel):
        return (*_source_key(source.tuned), *_source_key(source.initial), str(source.alpha))
    if isinstance(source, RunNetwork):
        return str(source.path.resolve()), str(source.path.stat().st_mtime_ns if source.path.exists() else "")
    return source.architecture, *_files_key(source.pretrained)


def _files_key(name: str) -> tuple[str, ...]:
    """``name`` and, if it is a file or a folder, the modification times of the files."""
    path = expand_user(name)
    files = sorted(path.iterdir()) if is_folder(path) else [path]
    stamps = [f"{file.name} {file.stat().st_mtime_ns}" for file in files if is_file(file)]
    return (str(path.resolve()), *stamps) if stamps else (name,)
