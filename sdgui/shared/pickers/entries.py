"""The selectable models: recent ones, the store's runs, open_clip's, folders; with reasons for disabled ones.

Flow: store, settings and files -> ``ModelEntry`` lists -> ``ModelChip``; a choice goes to a panel as ``ModelChoice``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QSettings

from core.spec.run.folder import RunDir
from core.spec.run.model_names import run_and_checkpoint, tuned_name
from sdgui.runs.models import (
    OPEN_CLIP,
    architectures,
    folder_can_caption,
    included_models,
    is_saved_model,
    run_architecture,
    run_facts,
)
from sdgui.shared.pickers.pretrained import Pretrained, pretrained_models, size_text
from sdgui.shared.run_texts import when
from sdgui.shared.stored_json import parse_stored
from sdgui.store.records import BestPoint, Run, StoreError
from sdgui.store.store import Store
from sdgui.widgets.dropped_files import existing_path
from sdgui.widgets.formats import percent

Needs = Literal["search", "caption"]
Kind = Literal["run", "open_clip", "folder"]

_RECENT = "models/recent"
_REMEMBERED = 8
_NO_CAPTIONS = "This model cannot caption: its architecture is not CoCa."
_NO_CHECKPOINT = "This run has not saved a checkpoint yet."
_NO_CHECKPOINTS_LEFT = "The checkpoints of this run were deleted."
_GONE = "This model no longer exists."
_FOLDER_MISSING = "The folder of this run no longer exists."
_RANDOM = "no weights"
_SEARCHES, _CAPTIONS = "search, classify", "search, classify, caption"


@dataclass(frozen=True)
class ModelChoice:
    """A model for a worker: the arguments ``model`` and ``weights`` of ``core.checkpoint.opening.open_model``."""

    model: str
    network: str  # "student", "teacher", or "" if there is only one network
    title: str
    run_id: int | None = None


@dataclass(frozen=True)
class ModelEntry:
    """A line of the list. ``reason``: why it cannot be used in this panel; "" if it can."""

    kind: Kind
    name: str  # a run's folder; open_clip's name with its weights, "ViT-B-32,openai"; a folder
    title: str
    reason: str = ""
    run_id: int | None = None
    recent: ModelChoice | None = None
    metric: str = ""  # best metric of a run
    about: str = ""  # date or size, and abilities


def run_entries(store: Store, needs: Needs) -> list[ModelEntry]:
    """Entries of the runs, newest first; [] if the store cannot be read.

    Slow with many runs, since every run folder is read: not for the window's thread.
    """
    try:
        runs, experiments = store.runs(), {experiment.id: experiment.name for experiment in store.experiments()}
    except StoreError:
        return []
    ordinals: dict[int, int] = {}  # experiment id -> number of its last run so far
    entries = []
    for run in runs:  # oldest first
        ordinal = ordinals[run.experiment_id] = ordinals.get(run.experiment_id, 0) + 1
        if run.experiment_id in experiments:
            entries.append(_run_entry(run, experiments[run.experiment_id], ordinal, needs))
    return entries[::-1]


def run_entry(store: Store, run: Run | None, needs: Needs) -> ModelEntry:
    """The entry of a run. Raises StoreError, also if there is no run, or if it or its experiment is in the bin."""
    experiment = store.experiment(run.experiment_id) if run is not None and run.deleted is None else None
    if run is None or experiment is None or experiment.deleted is not None:
        raise StoreError("This run was deleted.")
    return _run_entry(run, experiment.name, store.run_count(run.experiment_id, run.id), needs)


def listed_entry(store: Store, entry: ModelEntry, needs: Needs) -> ModelEntry | None:
    """The store's run in the folder of ``entry``; None if there is none."""
    if entry.kind != "run":
        return None
    try:
        return run_entry(store, store.run_in(Path(entry.name)), needs)
    except StoreError:
        return None


def _run_entry(run: Run, experiment: str, ordinal: int, needs: Needs) -> ModelEntry:
    title = f"{experiment} · run {ordinal}"
    facts = run_facts(run.dir)
    reason = _FOLDER_MISSING if run.folder_missing else _reason(bool(facts.steps), facts.can_caption, needs)
    about = f"{when(run.finished or run.started or run.created)} · {_CAPTIONS if facts.can_caption else _SEARCHES}"
    return ModelEntry("run", str(run.folder), title, reason, run.id, None, _metric(run.best), about)


def _metric(best: BestPoint | None) -> str:
    return f"mean recall {percent(best.value)}" if best is not None else ""


def _reason(trained: bool, captions: bool, needs: Needs) -> str:
    if needs == "caption" and not captions:
        return _NO_CAPTIONS
    return "" if trained else _NO_CHECKPOINT


def missing_reason(folder: Path) -> str:
    """Why a run in ``folder`` that had checkpoints has none any more."""
    return _NO_CHECKPOINTS_LEFT if folder.exists() else _FOLDER_MISSING


def pretrained_entries(needs: Needs) -> list[ModelEntry]:
    """Entries of open_clip's pretrained weights: suitable and downloaded ones first. Reads the disk."""
    return sorted(
        (_pretrained_entry(weights, needs) for weights in pretrained_models()), key=lambda entry: bool(entry.reason)
    )


def _pretrained_entry(weights: Pretrained, needs: Needs) -> ModelEntry:
    reason = _reason(True, weights.captions, needs)
    size = size_text(weights.size)
    availability = (
        f"downloaded · {size}" if weights.is_downloaded else f"downloads about {size}" if size else "not downloaded"
    )
    can = _CAPTIONS if weights.captions else _SEARCHES
    if weights.only_captions:
        can = "Captioning model; poor for search"
    return ModelEntry(
        "open_clip",
        weights.name,
        open_clip_title(weights.name),
        reason,
        about=f"{availability} · {can}",
    )


def included_entries(needs: Needs) -> list[ModelEntry]:
    """Entries of the included models: small, but usable immediately."""
    entries = (folder_entry(folder, needs) for folder in included_models())
    abilities = {True: _CAPTIONS, False: _SEARCHES}
    return [
        replace(entry, about=f"included · {abilities[folder_can_caption(Path(entry.name))]}")
        for entry in entries
        if entry is not None
    ]


def untrained_entries(needs: Needs) -> list[ModelEntry]:
    """Entries of all architectures with random weights, for comparison."""
    return [
        ModelEntry(
            "open_clip",
            name,
            open_clip_title(name),
            _reason(True, captions, needs),
            about="random weights",
        )
        for name, captions in architectures().items()
    ]


def open_clip_title(name: str) -> str:
    """A title such as ``ViT-B-32 · openai`` for an open_clip name with its weights."""
    architecture, _, tag = name.partition(",")
    return f"{architecture.strip()} · {tag.strip() or _RANDOM}"


def folder_entry(folder: Path, needs: Needs) -> ModelEntry | None:
    """The entry of a folder with a model: a run, or saved by open_clip; None if there is no readable model."""
    try:
        if is_saved_model(folder):
            reason = _reason(True, folder_can_caption(folder), needs)
            return ModelEntry("folder", str(folder), folder.name, reason, about=str(folder))
        if RunDir(folder).config.is_file() and RunDir(folder).checkpoints.is_dir():
            facts = run_facts(RunDir(folder))
            reason = _reason(bool(facts.steps), facts.can_caption, needs)
            return ModelEntry("run", str(folder), folder.name, reason, about=str(folder))
    except OSError:
        pass
    return None


def choice_entry(choice: ModelChoice, needs: Needs) -> ModelEntry:
    """The entry of a choice."""
    name = tuned_name(choice.model)
    if name.startswith(OPEN_CLIP):
        name = name.removeprefix(OPEN_CLIP)
        reason = _reason(True, architectures().get(name.partition(",")[0], False), needs)
        return ModelEntry("open_clip", name, open_clip_title(name), reason, recent=choice)
    model_path = existing_path(name)
    folder = Path(name if model_path is not None and model_path.is_dir() else run_and_checkpoint(name)[0])
    entry = folder_entry(folder, needs)
    if entry is None:
        return ModelEntry("folder", str(folder), choice.title, _GONE, choice.run_id, choice)
    return ModelEntry(entry.kind, entry.name, choice.title, entry.reason, choice.run_id, choice)


def interpolation_problem(run: ModelEntry, other: ModelEntry) -> str:
    """Why the weights of ``run`` and ``other`` cannot be interpolated, according to their architectures' names."""
    ours, theirs = _architecture(run), _architecture(other)
    if not ours or not theirs or ours == theirs:
        return ""
    return (
        f"{other.title} cannot be interpolated with {run.title}: its architecture is {theirs}, not {ours}. Choose a "
        "model of the same architecture."
    )


def _architecture(entry: ModelEntry) -> str:
    """The name of the architecture; "" for a user's architecture, which only its file describes."""
    if entry.kind == "run":
        name = run_architecture(RunDir(entry.name))
    else:
        name = entry.name.partition(",")[0] if entry.kind == "open_clip" else ""
    return name if name in architectures() else ""


# Recent ones
def recent_choices(settings: QSettings) -> list[ModelChoice]:
    """The most recently used models, newest first; invalid settings are skipped."""
    choices = [choice_of(raw_choice) for raw_choice in parse_stored(settings.value(_RECENT), list)]
    return [choice for choice in choices if choice is not None]


def choice_of(raw: object) -> ModelChoice | None:
    """Parse a choice from the result of ``asdict`` or its JSON; None for anything else."""
    if isinstance(raw, str):
        raw = parse_stored(raw, dict)
    if not isinstance(raw, Mapping):
        return None
    texts = [raw.get(name) for name in ("model", "network", "title")]
    run_id = raw.get("run_id")
    if not all(isinstance(text, str) for text in texts) or not texts[0]:
        return None
    model, network, title = map(str, texts)
    return ModelChoice(model, network, title, run_id if isinstance(run_id, int) else None)


def remember(settings: QSettings, choice: ModelChoice) -> None:
    """Put ``choice`` first in the list of recent models."""
    other_choices = [
        recent
        for recent in recent_choices(settings)
        if (recent.model, recent.network) != (choice.model, choice.network)
    ]
    settings.setValue(_RECENT, json.dumps([asdict(recent) for recent in [choice, *other_choices][:_REMEMBERED]]))
