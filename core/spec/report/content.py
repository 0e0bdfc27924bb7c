"""Reads the content of a report from run folders.

Flow: the window (an experiment or a study) or ``runs report`` -> `collect` -> ``core.spec.report.render``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.spec.chain import run_label
from core.spec.errors import UserError
from core.spec.reading import MEGABYTE, excerpt, read_text
from core.spec.report.logged import MAX_LOGGED, MAX_TOTAL_BYTES, LoggedSample, parse_samples, with_images
from core.spec.run.events import Evaluated, Event, EventReader, Metrics, RunFailed, RunFinished, RunStarted, Sample
from core.spec.run.folder import RunDir
from core.spec.run.lineage import parent_text
from core.spec.run.logged import differing_values, read_any_config, settings_of
from core.spec.run.metric_names import ranks_runs
from core.spec.run.status import RunStatus, derive_state
from core.spec.study import StudyDir

MAX_PLOTS = 8
MAX_SAMPLES = 8
_MAX_POINTS = 400  # points per curve, approximately

Curve = Sequence[tuple[int, float]]  # step, value


@dataclass
class ReportedRun:
    """A run in a report: the state, and the metrics as curves."""

    name: str
    folder: Path
    status: RunStatus | None = None
    state: str = ""
    step: int = 0
    total_steps: int = 0
    started: float | None = None  # first start, in seconds since the epoch
    ending: RunFinished | RunFailed | None = None  # the last event, if it ended the run
    parent: str = ""
    curves: dict[str, dict[int, float]] = field(default_factory=dict)
    samples: tuple[tuple[str, str], ...] = ()  # (caption or image name, the student's answer)
    logged: dict[str, LoggedSample] = field(default_factory=dict)  # name -> its latest sample, oldest first

    def best(self) -> tuple[str, float, int] | None:
        """The metric, value and step of the best mean recall on the validation data."""
        points = [
            (name, value, step)
            for name, curve in self.curves.items()
            if ranks_runs(name)
            for step, value in curve.items()
            if math.isfinite(value)
        ]
        return max(points, key=lambda point: point[1], default=None)

    def add(self, event: Event) -> None:
        if isinstance(event, (Metrics, Evaluated)):
            self.step = max(self.step, event.step)
            for name, value in event.values.items():
                self.curves.setdefault(name, {})[event.step] = value
        elif isinstance(event, RunStarted):
            self.step, self.total_steps, self.ending = event.step, event.total_steps, None
            self.started = self.started or event.time
            self.parent = parent_text(event.parent) or self.parent
            for curve in self.curves.values():  # a resumed run repeats these steps
                for step in [step for step in curve if step > event.step]:
                    del curve[step]
            self.logged = {name: sample for name, sample in self.logged.items() if sample.step <= event.step}
        elif isinstance(event, (RunFinished, RunFailed)):
            self.step, self.ending = max(self.step, event.step), event
        elif isinstance(event, Sample) and event.what == "logged":
            for sample in parse_samples(event):
                self.logged.pop(sample.name, None)
                self.logged[sample.name] = sample
            for name in list(self.logged)[:-MAX_LOGGED]:
                del self.logged[name]
        elif isinstance(event, Sample):
            self.samples = _samples(event) or self.samples


@dataclass(frozen=True)
class Report:
    """The content of a report. ``note`` and ``results`` are untrusted Markdown; ``settings``: differing settings."""

    title: str
    note: str
    results: str
    runs: Sequence[ReportedRun]
    settings: Mapping[str, Sequence[Any]]

    def plots(self) -> dict[str, dict[str, Curve]]:
        """Metric -> run -> curve: first the loss, then the metrics that rank runs, then other validation metrics."""
        names = {name for run in self.runs for name in run.curves}
        shown = sorted((name for name in names if name.startswith(("val/", "test/"))), key=_rank)
        chosen = [*(["train/loss"] if "train/loss" in names else []), *shown][:MAX_PLOTS]
        return {name: {run.name: thin(run.curves.get(name, {})) for run in self.runs} for name in chosen}


def collect(title: str, runs: Iterable[RunDir], note: str = "", study: StudyDir | None = None) -> Report:
    """Collect a report on ``runs``, skipping unreadable parts. ``study``: include its table of results."""
    reported, settings, budget = list[ReportedRun](), list[dict[str, Any]](), MAX_TOTAL_BYTES
    for run in runs:
        try:
            reported.append(read_curves(run))
        except UserError:
            reported.append(ReportedRun(run_label(run.path), run.path))
        logged, budget = with_images(reported[-1].logged.values(), run.path, budget)
        reported[-1].logged = {sample.name: sample for sample in logged}
        with suppress(UserError, OSError):
            settings.append(settings_of(read_any_config(run.config)))
    counts = Counter[str]()
    for reported_run in reported:  # runs of two studies may have the same name
        counts[reported_run.name] += 1
        if (number := counts[reported_run.name]) > 1:
            reported_run.name += f" ({number})"
    differing = differing_values(settings) if len(settings) == len(reported) else {}
    differing.pop("name", None)
    results = ""
    if study is not None:
        with suppress(UserError, OSError):
            results = read_text(study.table, MEGABYTE, root=study.table.parent, error=UserError)
    return Report(title, note, results, reported, differing)


def read_curves(run: RunDir, containing: Iterable[str] = ()) -> ReportedRun:
    """The content of the events of ``run``. Raises UserError if they cannot be read.

    ``containing``: see `EventReader`.
    """
    reported = ReportedRun(run_label(run.path), run.path, run.read_status())
    for event in EventReader(run.events, containing=containing):
        reported.add(event)
    reported.state = derive_state(reported.status, reported.ending).value
    return reported


def _rank(metric: str) -> tuple[bool, str]:
    return not ranks_runs(metric), metric


def thin(curve: Mapping[int, float], max_points: int = _MAX_POINTS) -> Curve:
    """The finite points in order, thinned to about ``max_points``: every k-th point, and the last."""
    points = sorted((step, value) for step, value in curve.items() if math.isfinite(value))
    stride = max(1, math.ceil(len(points) / max_points))
    return [*points[:-1:stride], *points[-1:]]


def _samples(event: Sample) -> tuple[tuple[str, str], ...]:
    """Captions with the names of the images that the student retrieved, or image names with generated captions."""
    rows = event.content.get("student")
    samples = list[tuple[str, str]]()
    for row in rows[:MAX_SAMPLES] if isinstance(rows, list) else []:
        if not isinstance(row, dict):
            continue
        hits = row.get("hits")
        if isinstance(hits, list):
            images = [Path(str(hit.get("image", ""))).name for hit in hits[:3] if isinstance(hit, dict)]
            samples.append((excerpt(str(row.get("caption") or row.get("query") or "")), excerpt(", ".join(images))))
        elif "caption" in row:
            samples.append((excerpt(Path(str(row.get("image", ""))).name), excerpt(str(row["caption"]))))
    return tuple(samples)
