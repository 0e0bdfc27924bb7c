"""RunHistory: everything a run has reported, as arrays for the plots and lists for the panels. No Qt.

Flow: the follower's thread applies events as they arrive; the window's thread takes snapshots at any time. No lock is
needed: a returned snapshot never changes, and each series is published by one assignment.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.spec.config import ObjectivesConfig
from core.spec.run.events import (
    CheckpointSaved,
    Evaluated,
    Event,
    Log,
    Metrics,
    RunFailed,
    RunFinished,
    RunStarted,
    Sample,
)
from sdgui.store.summary import MAX_METRICS

_FIRST_CAPACITY = 256
TOTAL = "train/loss"
_TERMS = frozenset(f"train/{name}" for name in ObjectivesConfig.model_fields)
_MAX_SHORTER_REPORTS = 1000  # consecutive reports with fewer terms until the total of the fewer terms is drawn


@dataclass(frozen=True)
class Curve:
    """The points of a metric in order. A snapshot: it never changes; a later call returns a longer curve."""

    steps: NDArray[np.float64]  # (N,)
    values: NDArray[np.float64]  # (N,), may contain nan and inf
    seconds: NDArray[np.float64]  # (N,) training time since the first start, without pauses


@dataclass(frozen=True)
class EvaluatedRow:
    """One validation: values by metric name at ``step``."""

    step: int
    time: float  # seconds since the epoch
    values: Mapping[str, float]


class _Series:
    """The points of one metric. The buffer has the rows step, value and seconds, and doubles when it is full."""

    def __init__(self) -> None:
        self._published: tuple[NDArray[np.float64], int] = (np.empty((3, _FIRST_CAPACITY)), 0)

    def __len__(self) -> int:
        return self._published[1]

    def points(self) -> NDArray[np.float64]:
        """The points so far, (3, N), read-only; later points do not change the array."""
        buffer, count = self._published
        view = buffer[:, :count]
        view.flags.writeable = False
        return view

    def extend(self, points: list[tuple[float, float, float]]) -> None:
        buffer, count = self._published
        total = count + len(points)
        if total > buffer.shape[1]:
            grown = np.empty((3, max(total, 2 * buffer.shape[1])))
            grown[:, :count] = buffer[:, :count]
            buffer = grown
        buffer[:, count:total] = np.asarray(points).T
        if (np.diff(buffer[0, max(0, count - 1) : total]) < 0).any():  # a script may log steps in any order
            buffer = buffer.copy()
            buffer[:, :total] = buffer[:, buffer[0, :total].argsort(kind="stable")]
        self._published = (buffer, total)

    def cut(self, step: int) -> bool:
        """Drop points after ``step``, in a new buffer, since the old one may be on screen; False if there are none."""
        points = self.points()
        remaining = points[:, points[0] <= step]
        if remaining.shape[1] == points.shape[1]:
            return False
        buffer = np.empty((3, max(_FIRST_CAPACITY, points.shape[1])))
        buffer[:, : remaining.shape[1]] = remaining
        self._published = (buffer, remaining.shape[1])
        return True


class CompleteTotals:
    """Selects the reports whose total loss has all terms; in steps without the teacher it has fewer.

    Totals with fewer terms would draw a sawtooth; the terms themselves have separate curves.
    """

    def __init__(self) -> None:
        self._terms: frozenset[str] = frozenset()  # terms of the last complete total
        self._shorter_reports = 0  # number of later reports with fewer terms

    def restart(self) -> None:
        """Begin a new segment of the run, which may have other terms."""
        self._terms, self._shorter_reports = frozenset(), 0

    def is_complete(self, values: Mapping[str, float]) -> bool:
        """Whether the total loss of a report has the same terms as before, or more. Call this once per report."""
        terms = _TERMS & values.keys()
        if terms < self._terms and self._shorter_reports < _MAX_SHORTER_REPORTS:
            self._shorter_reports += 1
            return False
        self._terms, self._shorter_reports = terms, 0
        return True


class RunHistory:
    """The curves and events of one run. Filled by one thread with ``apply``; other threads may read it at any time."""

    def __init__(self) -> None:
        self._series: dict[str, _Series] = {}
        self._pending: dict[str, list[tuple[float, float, float]]] = {}
        self._logs: list[Log] = []
        self._samples: list[Sample] = []
        self._checkpoints: list[CheckpointSaved] = []
        self._evaluated: list[EvaluatedRow] = []
        self._starts: list[RunStarted] = []
        self._terminal: RunFinished | RunFailed | None = None
        self._totals = CompleteTotals()
        self._curve_seconds_before = 0.0  # training time of earlier segments without steps that were repeated later
        self._segment_start: float | None = None  # start time of this segment
        self._last_event_time: float | None = None

    def apply(self, events: Iterable[Event]) -> frozenset[str]:
        """Add events in the order written.

        Returns the changed parts: metric names, and "log", "samples", "checkpoints", "evaluated", "lifecycle".
        """
        changed: set[str] = set()
        for event in events:
            match event:
                case Metrics() | Evaluated():
                    self._add(event, changed)
                case RunStarted():
                    self._start(event, changed)
                case RunFinished() | RunFailed():
                    self._terminal = event
                    changed.add("lifecycle")
                case Log():
                    self._logs.append(event)
                    changed.add("log")
                case Sample() if event.what == "retrieval" and not _is_retrieval(event.content):
                    self._last_event_time = event.time  # the time of the warning
                    changed |= self.warn(f"The sample of step {event.step} has another shape and is not shown.")
                case Sample():
                    self._samples.append(event)
                    changed.add("samples")
                case CheckpointSaved():
                    self._checkpoints.append(event)
                    changed.add("checkpoints")
            self._last_event_time = event.time
        self._publish()
        return frozenset(changed)

    def warn(self, message: str) -> frozenset[str]:
        """Add ``message`` to the log, at the time of the last event. Returns the changed parts."""
        moment = time.time() if self._last_event_time is None else self._last_event_time
        self._logs.append(Log(level="warning", message=message, time=moment))
        return frozenset({"log"})

    def _add(self, event: Metrics | Evaluated, changed: set[str]) -> None:
        if self._segment_start is None:
            self._segment_start = event.time
        seconds = self._curve_seconds_before + max(0.0, event.time - self._segment_start)
        for name, value in event.values.items():
            if name == TOTAL and not self._totals.is_complete(event.values):
                continue
            points = self._pending.get(name)
            if points is None:
                if name not in self._series and len(self._series.keys() | self._pending.keys()) >= MAX_METRICS:
                    continue
                points = self._pending[name] = []
            points.append((event.step, value, seconds))
        changed.update(event.values)
        if isinstance(event, Evaluated):
            self._evaluated.append(EvaluatedRow(event.step, event.time, dict(event.values)))
            changed.add("evaluated")

    def _start(self, event: RunStarted, changed: set[str]) -> None:
        self._publish()
        changed.update(name for name, series in list(self._series.items()) if series.cut(event.step))
        # new lists, so that another thread sees either the old or the new list
        self._evaluated = [row for row in self._evaluated if row.step <= event.step]
        self._samples = [sample for sample in self._samples if sample.step <= event.step]
        self._checkpoints = [saved for saved in self._checkpoints if saved.step <= event.step]
        changed.update(("lifecycle", "evaluated", "samples", "checkpoints"))
        self._curve_seconds_before = max(
            (series.points()[2, -1] for series in self._series.values() if len(series)), default=0.0
        )
        self._segment_start = self._last_event_time = event.time
        self._starts.append(event)
        self._totals.restart()
        self._terminal = None

    def _publish(self) -> None:
        for name, points in self._pending.items():
            if name not in self._series:
                self._series[name] = _Series()
            self._series[name].extend(points)
        self._pending.clear()

    @property
    def names(self) -> tuple[str, ...]:
        """Every metric with points, in the order first seen."""
        return tuple(name for name, series in tuple(self._series.items()) if len(series))

    def curve(self, name: str) -> Curve:
        """The curve of ``name``; empty if there are no points."""
        series = self._series.get(name)
        points = np.empty((3, 0)) if series is None else series.points()
        return Curve(points[0], points[1], points[2])

    @property
    def logs(self) -> tuple[Log, ...]:
        """Log messages for the user, from all segments."""
        return tuple(self._logs)

    @property
    def samples(self) -> tuple[Sample, ...]:
        return tuple(self._samples)

    @property
    def checkpoints(self) -> tuple[CheckpointSaved, ...]:
        """Checkpoints saved so far, oldest first; older ones may have been deleted since."""
        return tuple(self._checkpoints)

    @property
    def evaluated(self) -> tuple[EvaluatedRow, ...]:
        return tuple(self._evaluated)

    @property
    def starts(self) -> tuple[RunStarted, ...]:
        """Each start and resume; the last has device, precision, pairs and parameters."""
        return tuple(self._starts)

    @property
    def terminal(self) -> RunFinished | RunFailed | None:
        """The terminal event; None if there is none, or if the run was resumed after it."""
        return self._terminal


def _is_retrieval(content: Mapping[str, Any]) -> bool:
    """Whether a sample has the structure made by `core.training.validation.retrieval_sample`, on which panels rely."""
    return all(isinstance(entries, list) and all(map(_is_entry, entries)) for entries in content.values())


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(hits := entry.get("hits", []), list):
        return False
    return all(isinstance(hit, dict) and isinstance(hit.get("image"), str) and _is_score(hit) for hit in hits)


def _is_score(hit: Mapping[str, Any]) -> bool:
    score = hit.get("score")
    return score is None or (isinstance(score, (int, float)) and not isinstance(score, bool))
