"""The runs that Home lists, with a sparkline and some images of each. No Qt.

Flow: store -> ``list_runs``; a run's events -> ``RunPreview`` -> the cards. Both read files and are called in a thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.spec.reading import excerpt
from core.spec.run.events import Evaluated, Event, EventError, EventReader, Metrics, RunStarted, Sample
from core.spec.run.metric_names import ranks_runs
from core.spec.run.status import RunState
from sdgui.runs.history import TOTAL, CompleteTotals
from sdgui.store.records import Run, RunLabel
from sdgui.store.store import Store

MAX_LIVE, MAX_PAUSED, MAX_DONE, MAX_FAILED = 6, 4, 9, 4  # runs listed on Home; Runs lists all
MAX_POINTS = 240  # points of a small curve
IMAGES_PER_RUN = 4  # images shown for a finished run
_MIN_VALIDATIONS = 5  # with fewer, the curve shows the loss
_LIVE = tuple(state for state in RunState if state.alive)
_FAILED = (RunState.FAILED, RunState.INTERRUPTED)
_MAX_FIRST_READ = 4 << 20  # bytes of a long run's events that the first read covers
_MAX_CAPTION_LENGTH = 200


@dataclass(frozen=True)
class HomeRuns:
    """The runs that Home lists, newest first, and their names. ``has_runs``: whether any run exists."""

    live: tuple[Run, ...] = ()
    done: tuple[Run, ...] = ()
    failed: tuple[Run, ...] = ()
    paused: tuple[Run, ...] = ()
    labels: Mapping[int, RunLabel] = field(default_factory=dict)  # run id -> name and colour
    queued: int = 0  # number of queued runs
    has_runs: bool = False

    def name(self, run: Run) -> str:
        label = self.labels.get(run.id)
        return label.name if label is not None else f"Run {run.key}"


def list_runs(store: Store, dismissed: Collection[int]) -> HomeRuns:
    """Read the runs to show; failed runs in ``dismissed`` are skipped. Raises StoreError."""
    live = store.latest_runs(MAX_LIVE, _LIVE)
    latest_done = store.latest_runs(MAX_DONE, (RunState.DONE,))
    paused = store.latest_runs(MAX_PAUSED, (RunState.PAUSED,))
    failed = store.latest_runs(MAX_FAILED + len(dismissed), _FAILED)
    failed = [run for run in failed if run.id not in dismissed][:MAX_FAILED]
    labels = store.run_labels([run.id for run in (*live, *paused, *latest_done, *failed)])
    queued = len(store.latest_runs(100, (RunState.QUEUED,)))
    return HomeRuns(
        tuple(live),
        tuple(latest_done),
        tuple(failed),
        tuple(paused),
        labels=labels,
        queued=queued,
        has_runs=store.newest_run() is not None,
    )


@dataclass(frozen=True)
class Image:
    """An image that a model retrieved for ``caption``."""

    path: Path
    caption: str


def spans(previews: Mapping[int, RunPreview]) -> dict[int, tuple[float, float]]:
    """Run id -> the lowest and highest value of its metric over all ``previews``; all recalls share one scale."""
    by_scale: dict[str, list[float]] = {}
    for preview in previews.values():
        by_scale.setdefault(_scale(preview), []).extend(preview.curve)
    ends = {scale: (min(values), max(values)) for scale, values in by_scale.items() if values}
    return {run_id: ends[_scale(preview)] for run_id, preview in previews.items() if preview.curve}


def _scale(preview: RunPreview) -> str:
    return "recall" if ranks_runs(preview.metric) else preview.metric


class RunPreview:
    """A run's curve and images, reduced; ``read`` continues where it stopped.

    The curve shows the metric that ranks runs, or the loss if that metric has only a few points.
    """

    def __init__(self, run: Run, to_local: Callable[[Sample], Sample] = lambda sample: sample) -> None:
        """``to_local`` maps another machine's paths to local paths."""
        self._run, self._to_local = run, to_local
        self._reader: EventReader | None = None
        self._curves: dict[str, list[tuple[int, float]]] = {}  # metric -> (step, value)
        self._every: dict[str, int] = {}  # metric -> every n-th point is stored
        self._seen: dict[str, int] = {}  # metric -> points read so far
        self._totals = CompleteTotals()
        self.images: tuple[Image, ...] = ()

    @property
    def metric(self) -> str:
        """The metric of ``curve``; "" before the first point."""
        ranking = [
            name for name, points in self._curves.items() if ranks_runs(name) and len(points) >= _MIN_VALIDATIONS
        ]
        if ranking:  # the network with the higher last value
            return max(ranking, key=lambda name: self._curves[name][-1][1])
        return TOTAL if len(self._curves.get(TOTAL, ())) > 1 else ""

    @property
    def title(self) -> str:
        """The metric's title; "" before the first point."""
        if not ranks_runs(self.metric):
            return "Total loss" if self.metric else ""
        return f"Mean recall, {'teacher' if '/teacher/' in self.metric else 'student'}"

    @property
    def curve(self) -> tuple[float, ...]:
        """The values of ``metric``, at most ``MAX_POINTS``."""
        return tuple(value for _, value in self._curves.get(self.metric, ()))

    def read(self) -> bool:
        """Read new events; returns whether there were any. An unreadable file is ignored."""
        file = self._run.dir.events
        try:
            if self._reader is None:
                self._reader = EventReader(file, max(0, file.stat().st_size - _MAX_FIRST_READ))
            events = self._reader.read()
        except (EventError, OSError):
            return False
        for event in events:
            self._apply(event)
        return bool(events)

    def _apply(self, event: Event) -> None:
        if isinstance(event, RunStarted):  # a resumed run repeats the steps after its checkpoint
            self._totals.restart()
            for points in self._curves.values():
                points[:] = [point for point in points if point[0] <= event.step]
        elif isinstance(event, (Metrics, Evaluated)):
            for name, value in event.values.items():
                is_shown = ranks_runs(name) or (name == TOTAL and self._totals.is_complete(event.values))
                if is_shown and math.isfinite(value):
                    self._add(name, event.step, value)
        elif isinstance(event, Sample) and event.what == "retrieval":
            self.images = _images(self._to_local(event).content)

    def _add(self, name: str, step: int, value: float) -> None:
        """Store every n-th point; n doubles, and every second stored point is dropped, above ``MAX_POINTS``."""
        points, every = self._curves.setdefault(name, []), self._every.setdefault(name, 1)
        self._seen[name] = self._seen.get(name, 0) + 1
        if self._seen[name] % every:
            return
        points.append((step, value))
        if len(points) > MAX_POINTS:
            del points[::2]
            self._every[name] = 2 * every


def _images(content: Mapping[str, Any]) -> tuple[Image, ...]:
    """The top image for each caption of the sample, ranked by the teacher if there is one."""
    entries = content.get("teacher") or content.get("student")
    images = []
    for entry in entries[:IMAGES_PER_RUN] if isinstance(entries, Sequence) and not isinstance(entries, str) else ():
        hits = entry.get("hits") if isinstance(entry, Mapping) else None
        image = hits[0].get("image") if isinstance(hits, list) and hits and isinstance(hits[0], Mapping) else None
        if isinstance(image, str) and image:
            images.append(Image(Path(image), excerpt(str(entry.get("caption", "")), _MAX_CAPTION_LENGTH)))
    return tuple(images)
