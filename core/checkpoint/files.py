"""Writes and reads checkpoints. A new checkpoint is renamed when complete, so a kill leaves the previous one intact.

A checkpoint is a folder ``checkpoints/step-00000400`` with ``student.safetensors``, ``teacher.safetensors`` (if the run
has a teacher), ``state.safetensors`` (optimiser moments, objectives' buffers, RNG states) and ``checkpoint.json`` with
config and architecture, so that the weights can be loaded without the run. The loader's position follows from the step.
Nothing is unpickled.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from core.checkpoint.scalars import from_saved, shape_in_memory, to_saved
from core.checkpoint.tensor_files import read_info_file, read_tensors, save_tensors, tensor_shapes
from core.spec.config import RunConfig
from core.spec.errors import is_full
from core.spec.files import write_whole
from core.spec.reading import excerpt, first_problem, validate_as
from core.spec.run.folder import RunDir
from core.spec.run.model_names import (
    CHECKPOINT,
    CheckpointError,  # re-exported
    checkpoint_names,
    networks_in,
    pointer,
)

CHECKPOINT_VERSION = 1
STATE_FILE = "state.safetensors"  # needed to resume; checkpoints retained by ``keep_every`` have none


@dataclass(frozen=True)
class CheckpointInfo:
    """The content of ``checkpoint.json``, which is needed to load the weights."""

    step: int
    total_steps: int
    config: Mapping[str, Any]
    model: Mapping[str, Any]  # the open_clip model configuration
    score: float | None = None  # selects the best checkpoint: the higher mean recall of student and teacher
    network: str = ""  # the network with this score, "student" or "teacher"; "" if unknown
    best_score: float | None = None  # the highest score of the run so far
    classes: Sequence[str] = ()  # classes of the classification head, in the order of its outputs
    data: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # train, val, test -> counts and digests
    version: int = CHECKPOINT_VERSION


_INFO = TypeAdapter(CheckpointInfo)


@dataclass(frozen=True)
class CheckpointState:
    """The tensors of a checkpoint; ``teacher`` is empty if the run has no teacher."""

    student: dict[str, Tensor]
    teacher: dict[str, Tensor]
    state: dict[str, Tensor]

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The entries of ``state`` whose names start with ``prefix``, under their names without the prefix."""
        return {name.removeprefix(prefix): value for name, value in self.state.items() if name.startswith(prefix)}


def save(
    run: RunDir, info: CheckpointInfo, tensors: CheckpointState, keep: int, keep_every: int = 0
) -> tuple[str, bool]:
    """Write a checkpoint, then delete all checkpoints but the newest ``keep`` and the best.

    Checkpoints at multiples of ``keep_every`` steps retain their networks, but not the state for resuming.

    Returns the name of the checkpoint, and whether it is the best so far. Raises CheckpointError if writing fails;
    existing checkpoints are then unchanged.
    """
    name = CHECKPOINT.format(info.step)
    final, temporary = run.checkpoints / name, run.checkpoints / f".{name}.{os.getpid()}.tmp"
    try:
        _write_folder(temporary, info, tensors)
        if final.exists():  # a resumed run repeats the step; the old folder is renamed now and removed by _remove_old
            final.replace(run.checkpoints / f".{name}.{os.getpid()}.previous.tmp")
        temporary.replace(final)
        write_whole(run.checkpoints / "last", name.encode())
        best = _is_best(run, info, name)
        if best:
            write_whole(run.checkpoints / "best", name.encode())
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(_write_failure(run.checkpoints, error)) from error
    _remove_old(run, keep, keep_every)
    return name, best


def _is_best(run: RunDir, info: CheckpointInfo, name: str) -> bool:
    """Whether ``name`` is the best checkpoint so far; with equal scores, the earlier checkpoint stays the best."""
    if info.score is None or info.score != info.best_score:
        return False
    best_so_far = pointer(run, "best")
    if best_so_far == name or best_so_far not in checkpoint_names(run):
        return True
    try:
        score = read_info(run, best_so_far).score
    except CheckpointError:  # a damaged checkpoint cannot be the best
        return True
    return score is None or score < info.score


def _write_folder(folder: Path, info: CheckpointInfo, tensors: CheckpointState) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    parts = {"student": tensors.student, "teacher": tensors.teacher, "state": tensors.state}
    for part, values in parts.items():
        if values:
            path = folder / f"{part}.safetensors"
            save_tensors({key: value.detach().cpu() for key, value in to_saved(values).items()}, path)
            _flush(path)
    path = folder / "checkpoint.json"
    path.write_text(json.dumps(asdict(info), indent=2), encoding="utf-8")
    _flush(path)


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _write_failure(folder: Path, error: Exception) -> str:
    if isinstance(error, OSError) and is_full(error):
        free = shutil.disk_usage(folder).free / 2**20
        return (
            f"the checkpoint in {folder} could not be written: the disk is full ({free:.0f} MiB free). The previous "
            "checkpoint is intact. Free some space and resume the run."
        )
    return (
        f"the checkpoint in {folder} could not be written: {error}. The previous checkpoint is intact. Fix the problem "
        "and resume the run."
    )


def _remove_old(run: RunDir, keep: int, keep_every: int) -> None:
    all_names = checkpoint_names(run)
    resumable = [name for name in all_names if (run.checkpoints / name / STATE_FILE).exists()] or all_names
    retained = {*resumable[-keep:], pointer(run, "best"), pointer(run, "last")}
    for name in all_names:
        if name in retained:
            continue
        if keep_every and int(name.rpartition("-")[2]) % keep_every == 0:
            (run.checkpoints / name / STATE_FILE).unlink(missing_ok=True)
        else:
            shutil.rmtree(run.checkpoints / name, ignore_errors=True)
    for path in run.checkpoints.glob(".*.tmp"):  # leftovers of a killed trainer
        shutil.rmtree(path, ignore_errors=True)


def read_info(run: RunDir, name: str) -> CheckpointInfo:
    """The content of ``checkpoint.json``. Raises CheckpointError if it is damaged or has another version."""
    path = run.checkpoints / name / "checkpoint.json"
    raw = read_info_file(path, run.path)
    version = raw.get("version")
    if version != CHECKPOINT_VERSION:
        raise CheckpointError(f"{path} has version {excerpt(version)}, but this program reads {CHECKPOINT_VERSION}.")
    return validate_as(_INFO, raw, f"{path} is damaged", error=CheckpointError, remedy="Choose another checkpoint.")


def load_weights(run: RunDir, name: str, part: str, device: torch.device) -> dict[str, Tensor]:
    """The tensors of ``part`` ("student", "teacher" or "state"). Raises CheckpointError if missing or damaged."""
    return from_saved(read_tensors(_existing_file(run, name, part), run.path, device))


def shapes(run: RunDir, name: str, part: str) -> dict[str, tuple[int, ...]]:
    """The names and shapes of the tensors of ``part``; raises CheckpointError like `load_weights`."""
    stored = tensor_shapes(_existing_file(run, name, part), run.path)
    return {tensor: shape_in_memory(tensor, shape) for tensor, shape in stored.items()}


def _existing_file(run: RunDir, name: str, part: str) -> Path:
    path = run.checkpoints / name / f"{part}.safetensors"
    if not path.exists():
        raise CheckpointError(f"the checkpoint {path.parent} has no {part}; it was trained without one.")
    return path


def newest_complete(run: RunDir, device: torch.device) -> tuple[CheckpointInfo, CheckpointState] | None:
    """The newest checkpoint that can be resumed, skipping damaged ones; None if the run has no checkpoints.

    Raises CheckpointError if no checkpoint can be resumed.
    """
    problem: CheckpointError | None = None
    all_names = checkpoint_names(run)
    resumable = [name for name in all_names if (run.checkpoints / name / STATE_FILE).exists()]
    if all_names and not resumable:
        raise CheckpointError(
            f"{run.path} cannot be resumed: its checkpoints contain only networks, no {STATE_FILE}. Launch a new run "
            "that starts from one of them (towers.pretrained)."
        )
    for name in reversed(resumable):
        try:
            return read_complete(run, name, device)
        except CheckpointError as error:
            problem = error
    if problem:
        raise problem
    return None


def read_complete(run: RunDir, name: str, device: torch.device) -> tuple[CheckpointInfo, CheckpointState]:
    """A checkpoint with its state. Raises CheckpointError if it is damaged, or was kept without its state."""
    if not (run.checkpoints / name / STATE_FILE).exists():
        raise CheckpointError(
            f"the checkpoint {name} of {run.path} contains only networks, no {STATE_FILE}; set towers.start to weights "
            "to fine-tune it, or choose a newer checkpoint."
        )
    info = read_info(run, name)
    student = load_weights(run, name, "student", device)
    teacher = load_weights(run, name, "teacher", device) if "teacher" in networks_in(run, name) else {}
    return info, CheckpointState(student, teacher, load_weights(run, name, "state", torch.device("cpu")))


def run_config(info: CheckpointInfo, origin: str) -> RunConfig:
    """The config of a checkpoint. Raises CheckpointError if it is invalid; ``origin`` describes the checkpoint."""
    try:
        return RunConfig.model_validate(info.config)
    except ValidationError as error:
        raise CheckpointError(
            f"{origin} has a config that this version of sdgui cannot read ({first_problem(error)}) "
            "Use the version that wrote it, or choose another checkpoint."
        ) from error


def load_state(load: Callable[[Mapping[str, Tensor]], Any], tensors: Mapping[str, Tensor], origin: str) -> None:
    """Call ``load`` with a module's state. Raises CheckpointError if it does not fit; ``origin`` describes the file."""
    try:
        load(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{origin} does not match the network of its config ({reason}). Use the version of sdgui that wrote it, or "
            "choose another checkpoint."
        ) from error
