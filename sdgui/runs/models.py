"""The available models and their abilities, without torch: architectures, pretrained tags, checkpoints of runs.

Flow: model picker -> **names** -> files: open_clip's model configurations and list of weights are read as text; a
run's ``checkpoint.json`` states its networks and whether it can caption.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.spec import reading
from core.spec.errors import UserError
from core.spec.machines.record import RecordError, is_remote, read_checkpoints
from core.spec.resources import resource_folder
from core.spec.run.folder import RunDir

OPEN_CLIP = "open_clip:"
_ARCHITECTURES = resource_folder("architectures")
_INCLUDED = resource_folder("models")
_CAPTIONS = "multimodal_cfg"  # section of a model configuration that only a CoCa has
_STEP = "step-"
_MAX_JSON_BYTES = 64 * reading.MEGABYTE
# Python 3.11 counts the depth of syntax trees over all threads, and fails if two are parsed at the same time.
_READING = threading.Lock()


def _package() -> Path | None:
    spec = importlib.util.find_spec("open_clip")  # finds the folder, loads nothing
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return Path(folders[0]) if folders else None


@functools.cache
def architectures() -> Mapping[str, bool]:
    """Whether each architecture can caption, by name; sdgui's first, then open_clip's."""
    package = _package()
    folders = [_ARCHITECTURES, *([package / "model_configs"] if package else [])]
    can_caption: dict[str, bool] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.json"), key=lambda path: path.stem.lower()):
            can_caption.setdefault(path.stem, _CAPTIONS in read_json(path))
    return can_caption


def pretrained_weights() -> Mapping[str, Mapping[str, str]]:
    """Architecture -> name of its pretrained weights -> their repository on the hub, ``owner/name/[file]``.

    Empty if open_clip's list cannot be read.
    """
    with _READING:
        return _read_tags()


@functools.cache
def _read_tags() -> Mapping[str, Mapping[str, str]]:
    package = _package()
    try:
        tree = ast.parse((package / "pretrained.py").read_text(encoding="utf-8")) if package else ast.Module([], [])
    except (OSError, SyntaxError, ValueError):
        return {}
    tables: dict[str, dict[str, ast.expr]] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            tables[statement.targets[0].id] = _entries(statement.value)
    tags: dict[str, dict[str, str]] = {}
    for name, value in tables.get("_PRETRAINED", {}).items():
        entries = tables.get(value.id, {}) if isinstance(value, ast.Name) else _entries(value)
        tags[name] = {tag: _hub(entry) for tag, entry in entries.items()}
        quickgelu_tags = {tag: tags[name][tag] for tag, entry in entries.items() if _has_quickgelu(entry)}
        if quickgelu_tags:  # open_clip also lists these weights under this name
            tags.setdefault(f"{name}-quickgelu", quickgelu_tags)
    return tags


def _hub(entry: ast.expr) -> str:
    """The repository in the call's argument ``hf_hub``; "" without one."""
    for keyword in entry.keywords if isinstance(entry, ast.Call) else []:
        if keyword.arg == "hf_hub" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return ""


def _entries(value: ast.expr) -> dict[str, ast.expr]:
    """``dict(a=...)`` or ``{"a": ...}`` as name -> expression."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "dict":
        return {keyword.arg: keyword.value for keyword in value.keywords if keyword.arg}
    if isinstance(value, ast.Dict):
        pairs = zip(value.keys, value.values, strict=True)
        return {str(key.value): entry for key, entry in pairs if isinstance(key, ast.Constant)}
    return {}


def _has_quickgelu(entry: ast.expr) -> bool:
    return any(
        keyword.arg == "quick_gelu" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True
        for keyword in (entry.keywords if isinstance(entry, ast.Call) else [])
    )


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``; {} if it cannot be read."""
    try:
        raw = reading.read_json(path, _MAX_JSON_BYTES)
    except (OSError, UserError):
        return {}
    return raw if isinstance(raw, dict) else {}


# Runs and folders
@dataclass(frozen=True)
class RunFacts:
    """The models of a run's folder. ``steps``: complete checkpoints, newest first."""

    steps: tuple[int, ...]
    best: int | None  # what "best" and "last" currently denote
    last: int | None
    networks: tuple[str, ...]  # "teacher" before "student"
    can_caption: bool


def run_facts(run: RunDir) -> RunFacts:
    """Read the models of a run folder; empty without checkpoints. For a remote run, uses its machine's list."""
    try:
        if is_remote(run.path):
            return _remote_facts(run)
        steps = _steps(path.parent.name for path in run.checkpoints.glob(f"{_STEP}*/checkpoint.json"))
    except (OSError, RecordError):
        steps = []
    if not steps:
        return RunFacts((), None, None, (), _architecture_can_caption(run))
    newest = run.checkpoints / f"{_STEP}{steps[0]:08d}"
    best, last = (_step_of_alias(run, pointer, steps) for pointer in ("best", "last"))
    networks = _networks(path.name for path in newest.glob("*.safetensors"))
    return RunFacts(tuple(steps), best, last, networks, _run_can_caption(run, newest / "checkpoint.json"))


def _networks(files: Iterable[str]) -> tuple[str, ...]:
    """The networks with weights among the files of a checkpoint."""
    names = set(files)
    return tuple(network for network in ("teacher", "student") if f"{network}.safetensors" in names)


def resume_step(run: RunDir) -> int | None:
    """The step of the newest checkpoint from which a run can be resumed; None if it would restart at step 0."""
    return next(iter(_steps(path.parent.name for path in run.checkpoints.glob(f"{_STEP}*/state.safetensors"))), None)


def _steps(names: Iterable[str]) -> list[int]:
    """The steps of checkpoint folders such as "step-00000100", newest first."""
    return sorted((int(step) for name in names if (step := name.removeprefix(_STEP)).isdecimal()), reverse=True)


def _remote_facts(run: RunDir) -> RunFacts:
    checkpoints = {step: checkpoint for checkpoint in read_checkpoints(run) for step in _steps([checkpoint.name])}
    steps, can_caption = sorted(checkpoints, reverse=True), _architecture_can_caption(run)
    if not steps:
        return RunFacts((), None, None, (), can_caption)
    pointers = {pointer: step for step, checkpoint in checkpoints.items() for pointer in checkpoint.pointers}
    best, last = (pointers.get(pointer, steps[0]) for pointer in ("best", "last"))
    networks = _networks(file.name for file in checkpoints[steps[0]].files)
    return RunFacts(tuple(steps), best, last, networks, can_caption)


def _step_of_alias(run: RunDir, pointer: str, steps: list[int]) -> int:
    try:
        text = reading.read_text(run.checkpoints / pointer, reading.KILOBYTE, root=run.path).strip().removeprefix(_STEP)
    except (OSError, UserError):
        return steps[0]
    return int(text) if text.isdecimal() and int(text) in steps else steps[0]


def initial_weights(run: RunDir) -> str:
    """The model whose weights the run started from (``towers.pretrained``), "" if they were random."""
    return _tower_setting(run, "pretrained")


def run_architecture(run: RunDir) -> str:
    """The architecture in the run's config: a name, or a user's file."""
    return _tower_setting(run, "architecture")


def _tower_setting(run: RunDir, name: str) -> str:
    towers = read_json(run.config).get("towers")
    return str(towers.get(name) or "") if isinstance(towers, dict) else ""


def _architecture_can_caption(run: RunDir) -> bool:
    """Whether the run can caption according to its config; used before there is a checkpoint."""
    name = run_architecture(run)
    return architectures().get(name, False) or _CAPTIONS in read_json(Path(name)) or _fusion_can_caption(run)


def _run_can_caption(run: RunDir, checkpoint: Path) -> bool:
    try:
        return _file_can_caption(str(checkpoint), checkpoint.stat().st_mtime_ns) or _fusion_can_caption(run)
    except OSError:
        return False


def _fusion_can_caption(run: RunDir) -> bool:
    """Whether the run trains its fusion as a language model (BLIP), which captions without CoCa's decoder."""
    objectives = read_json(run.config).get("objectives")
    captioning = objectives.get("captioning") if isinstance(objectives, dict) else None
    return isinstance(captioning, dict) and captioning.get("through") == "fusion" and bool(captioning.get("weight"))


@functools.lru_cache(maxsize=512)
def _file_can_caption(path: str, _stamp: int) -> bool:
    """``_stamp``: the file's time of change; a changed file is read again, because the arguments differ."""
    return _describes_captioner(read_json(Path(path)).get("model"))


def _describes_captioner(model: object) -> bool:
    """Whether a model configuration has the section of a captioner."""
    return isinstance(model, dict) and _CAPTIONS in model


def is_saved_model(folder: Path) -> bool:
    """Whether ``folder`` is a model saved by open_clip."""
    return (folder / "open_clip_config.json").is_file()


def included_models() -> list[Path]:
    return [folder for folder in sorted(_INCLUDED.glob("*")) if is_saved_model(folder)]


def folder_can_caption(folder: Path) -> bool:
    """Whether a model saved by open_clip in ``folder`` can caption."""
    raw = read_json(folder / "open_clip_config.json")
    return _describes_captioner(raw.get("model_cfg") or raw)
