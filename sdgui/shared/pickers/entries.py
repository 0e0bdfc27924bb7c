"""The models that can be picked: recent ones, the store's runs, open_clip's, folders; and why one cannot be.

Flow: store, settings and files -> ``ModelEntry`` lists -> ``ModelPicker``; a choice goes to a panel as ``ModelChoice``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QSettings

from core.spec.run.folder import RunDir
from sdgui.runs.models import OPEN_CLIP, architectures, folder_captions, is_saved_model, pretrained_tags, run_facts
from sdgui.shared.run_texts import run_title
from sdgui.store.records import Run, StoreError
from sdgui.store.store import Store
from sdgui.widgets.dropped_files import existing_path

Needs = Literal["search", "caption"]
Kind = Literal["run", "open_clip", "folder"]

_RECENT = "models/recent"
_REMEMBERED = 8
_NO_CAPTIONS = "It cannot caption: its architecture is not CoCa."
_NO_CHECKPOINT = "It has not saved a checkpoint yet."
_GONE = "It no longer exists."


@dataclass(frozen=True)
class ModelChoice:
    """A model for a worker: ``model`` and ``weights`` as ``core.checkpoint.opening.open_model`` takes them."""

    model: str
    weights: str  # "student", "teacher", or "" where there is one network
    title: str
    run_id: int | None = None


@dataclass(frozen=True)
class ModelEntry:
    """A line of the list. ``reason`` is why it cannot be picked here; "" when it can."""

    kind: Kind
    name: str  # a run's folder, open_clip's name, a folder
    title: str
    reason: str = ""
    run_id: int | None = None
    recent: ModelChoice | None = None


def run_entries(store: Store, needs: Needs) -> list[ModelEntry]:
    """The runs, newest first; [] when the store cannot be read.

    Every run's folder is read: with many runs that takes longer than the window may wait.
    """
    try:
        runs, experiments = store.runs(), {one.id: one.name for one in store.experiments()}
    except StoreError:
        return []
    ordinals: dict[int, int] = {}  # experiment id -> of its last run so far
    entries = []
    for run in runs:  # oldest first
        ordinal = ordinals[run.experiment_id] = ordinals.get(run.experiment_id, 0) + 1
        if run.experiment_id in experiments:
            entries.append(_run_entry(run, experiments[run.experiment_id], ordinal, needs))
    return entries[::-1]


def run_entry(store: Store, run: Run | None, needs: Needs) -> ModelEntry | None:
    """One run; None when it or its experiment is in the bin. Raises StoreError."""
    if run is None or run.deleted is not None:
        return None
    experiment = store.experiment(run.experiment_id)
    if experiment.deleted is not None:
        return None
    return _run_entry(run, experiment.name, store.run_count(run.experiment_id, run.id), needs)


def _run_entry(run: Run, experiment: str, ordinal: int, needs: Needs) -> ModelEntry:
    title = f"{experiment} · {run_title(run, ordinal).lower()}"  # as the tree calls it
    return ModelEntry("run", str(run.folder), title, run_reason(run.dir, needs), run.id)


def run_reason(run: RunDir, needs: Needs) -> str:
    """Why the run cannot be used here."""
    facts = run_facts(run)
    if needs == "caption" and not facts.captions:
        return _NO_CAPTIONS
    return "" if facts.steps else _NO_CHECKPOINT


def open_clip_entries(needs: Needs) -> list[ModelEntry]:
    """open_clip's and our architectures; those that fit and have trained weights come first."""
    tags = pretrained_tags()
    entries = [
        ModelEntry("open_clip", name, name, _NO_CAPTIONS if needs == "caption" and not captions else "")
        for name, captions in architectures().items()
    ]
    return sorted(entries, key=lambda entry: (bool(entry.reason), entry.name not in tags))


def folder_entry(folder: Path, needs: Needs) -> ModelEntry | None:
    """A folder that holds a model: a run's, or one as open_clip saves it; None when it holds none to be read."""
    try:
        if is_saved_model(folder):
            reason = _NO_CAPTIONS if needs == "caption" and not folder_captions(folder) else ""
            return ModelEntry("folder", str(folder), folder.name, reason)
        if RunDir(folder).config.is_file() and RunDir(folder).checkpoints.is_dir():
            return ModelEntry("run", str(folder), folder.name, run_reason(RunDir(folder), needs))
    except OSError:
        return None
    return None


def choice_entry(choice: ModelChoice, needs: Needs) -> ModelEntry:
    """The line that a choice is picked from."""
    name = choice.model
    if name.startswith(OPEN_CLIP):
        architecture = name.removeprefix(OPEN_CLIP).partition(",")[0]
        reason = _NO_CAPTIONS if needs == "caption" and not architectures().get(architecture, False) else ""
        return ModelEntry("open_clip", architecture, choice.title, reason, recent=choice)
    whole = existing_path(name)
    folder = Path(name if whole is not None and whole.is_dir() else name.rpartition("@")[0])
    entry = folder_entry(folder, needs)
    if entry is None:
        return ModelEntry("folder", str(folder), choice.title, _GONE, choice.run_id, choice)
    return ModelEntry(entry.kind, entry.name, choice.title, entry.reason, choice.run_id, choice)


# Recent ones
def recent_choices(settings: QSettings) -> list[ModelChoice]:
    """The models used last, newest first; whatever else stands in the settings is passed over."""
    try:
        raw = json.loads(str(settings.value(_RECENT) or "[]"))
    except ValueError:
        return []
    found = [_read(one) for one in raw] if isinstance(raw, list) else []
    return [choice for choice in found if choice is not None]


def _read(raw: object) -> ModelChoice | None:
    if not isinstance(raw, Mapping):
        return None
    texts = [raw.get(name) for name in ("model", "weights", "title")]
    run_id = raw.get("run_id")
    if not all(isinstance(text, str) for text in texts) or not texts[0]:
        return None
    model, weights, title = map(str, texts)
    return ModelChoice(model, weights, title, run_id if isinstance(run_id, int) else None)


def remember(settings: QSettings, choice: ModelChoice) -> None:
    """Put ``choice`` first among the recent ones."""
    others = [one for one in recent_choices(settings) if (one.model, one.weights) != (choice.model, choice.weights)]
    settings.setValue(_RECENT, json.dumps([asdict(one) for one in [choice, *others][:_REMEMBERED]]))
