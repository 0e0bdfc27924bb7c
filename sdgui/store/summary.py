"""RunSummary: a run's events, summarised incrementally. The result is exact and independent of chunk boundaries.

Flow: the follower adds new events and passes ``progress`` to the store together with the offset. The stored summary is
therefore always a function of the first ``offset`` bytes of ``events.jsonl``, and a window killed between reading and
recording neither loses nor duplicates anything. Reading continues from a stored offset with ``RunSummary.of``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.spec.run.events import Evaluated, Event, EventReader, Metrics, RunFailed, RunFinished, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.lineage import parent_text
from core.spec.run.metric_names import higher_is_better, ranks_runs
from core.spec.run.starting import STARTING  # ``doing`` in the launcher's first status
from core.spec.run.status import RunState, RunStatus, derive_state
from sdgui.store.records import BestPoint, Ending, MetricSummary, Progress, Run

MAX_METRICS = 2000  # a file with more metrics was not written by a trainer
MAX_FAILURE_LENGTH = 4000  # characters of a failure message
# fields that a summary shares with `Run` and `Progress`
_TIME_FIELDS = ("started", "finished", "training_seconds", "last_event")
_SAME_FIELDS = ("step", "total_steps", *_TIME_FIELDS, "ending", "best", "parent")
START_SECONDS = 90.0  # time after a launch without a status until the run counts as interrupted


@dataclass
class RunSummary:
    """The summary of a run's events. ``stale``: a later start voided counted points, so the file must be read again.

    ``problem``: why the first unreadable line could not be read.
    """

    step: int = 0
    total_steps: int = 0
    started: float | None = None
    finished: float | None = None
    training_seconds: float = 0.0
    last_event: float | None = None
    ending: Ending = ""
    failure: str = ""
    metrics: dict[str, MetricSummary] = field(default_factory=dict)
    best: BestPoint | None = None
    parent: str = ""
    stale: bool = False
    problem: str = ""

    @classmethod
    def of(cls, run: Run, metrics: Mapping[str, MetricSummary]) -> RunSummary:
        """The stored summary, to be continued from ``run.offset``."""
        failure = run.failure if run.ending == "failed" else ""
        return cls(failure=failure, metrics=dict(metrics), **{name: getattr(run, name) for name in _SAME_FIELDS})

    def apply(self, events: Iterable[Event], limit: float = math.inf) -> None:
        """Add ``events``; points after step ``limit`` are void and are ignored."""
        for event in events:
            if self.last_event is not None and not isinstance(event, RunStarted):  # before a start, nothing ran
                self.training_seconds += max(0.0, event.time - self.last_event)
            self.last_event = event.time
            if isinstance(event, (Metrics, Evaluated)):
                if event.step <= limit:
                    self._add(event.step, event.values)
            elif isinstance(event, RunStarted):
                self._start(event)
            elif isinstance(event, RunFinished):
                self.finished, self.ending, self.failure = event.time, event.outcome, ""
            elif isinstance(event, RunFailed):
                self.finished, self.ending, self.failure = event.time, "failed", event.message[:MAX_FAILURE_LENGTH]

    def _start(self, event: RunStarted) -> None:
        self.stale = self.stale or any(max(m.last_step, m.best_step) > event.step for m in self.metrics.values())
        self.step, self.total_steps = event.step, event.total_steps
        self.started = event.time if self.started is None else self.started
        self.finished, self.ending, self.failure = None, "", ""
        self.parent = parent_text(event.parent) or self.parent

    def _add(self, step: int, values: Mapping[str, float]) -> None:
        self.step = max(self.step, step)
        for name, value in values.items():
            if name not in self.metrics and len(self.metrics) >= MAX_METRICS:
                continue
            self.metrics[name] = _extended(self.metrics.get(name), name, step, value)
            if ranks_runs(name) and math.isfinite(value) and (self.best is None or value > self.best.value):
                self.best = BestPoint(name, value, step)

    @property
    def terminal(self) -> RunFinished | RunFailed | None:
        """The last lifecycle event if it was a terminal one, otherwise None."""
        if self.ending == "":
            return None
        time = self.finished or 0.0
        if self.ending == "failed":
            return RunFailed(step=self.step, error="", message=self.failure, time=time)
        return RunFinished(step=self.step, outcome=self.ending, time=time)

    @property
    def empty(self) -> bool:
        """Whether no event of the run has been read yet."""
        return self.started is None and not self.ending and not self.metrics

    @property
    def unreadable(self) -> str:
        """Why no event can be read; "" if some can, or if nothing was written."""
        problem = self.problem.removesuffix(".") if self.empty else ""
        return f"None of its events can be read: {problem}." if problem else ""

    def progress(self, offset: int, state: RunState, failure: str = "") -> Progress:
        """The progress record for the store."""
        same = {name: getattr(self, name) for name in _SAME_FIELDS}
        return Progress(state, offset, failure=self.failure or failure, summaries=dict(self.metrics), **same)


def _extended(previous: MetricSummary | None, name: str, step: int, value: float) -> MetricSummary:
    """``previous`` with one more point."""
    best, best_step = (math.nan, 0) if previous is None else (previous.best, previous.best_step)
    if math.isfinite(value) and (math.isnan(best) or (value > best if higher_is_better(name) else value < best)):
        best, best_step = value, step
    return MetricSummary(value, step, best, best_step)


def run_state(
    terminal: RunFinished | RunFailed | None, status: RunStatus | None, launched: float | None, now: float
) -> RunState:
    """Derive the state like ``core.spec.run.status.derive_state``, but also for launches that have not reported yet.

    A launch after the terminal event resumes the run, although its ``run_started`` is not written yet. It is known from
    ``launched`` or, if another program launched the run, from a status whose process started later. If there is no
    status ``START_SECONDS`` after a launch, the run counts as interrupted.
    """
    if status is not None and status.verdict:  # derived by the run's machine, whose clock may differ
        return derive_state(status, terminal, now)
    start_time = max(launched or 0.0, status.started if status is not None else 0.0)
    if terminal is not None and start_time > terminal.time:
        terminal = None
    state = derive_state(status, terminal, now)
    if state is RunState.RUNNING and status is not None and status.doing == STARTING:
        return RunState.STARTING
    if state is RunState.STARTING and (launched is None or now - launched > START_SECONDS):
        return RunState.INTERRUPTED
    return state


def summarise(path: Path) -> tuple[RunSummary, int]:
    """Summarise a complete events file in two passes with little memory; also returns the offset of its end.

    The first pass finds where training was resumed, the second skips the events that were voided by it. Raises
    EventError if the path is not a regular file inside its folder.
    """
    while True:
        limits = void_limits(_starts(path))
        summary, reader, segment = RunSummary(), EventReader(path), 0
        while events := _next_events(reader):
            for part in _split_into_segments(events):
                segment += isinstance(part[0], RunStarted)
                summary.apply(part, limits[min(segment, len(limits) - 1)])
        summary.problem = reader.problem
        if not summary.stale:  # otherwise the run was resumed between the passes
            return summary, reader.offset


def void_limits(starts: Sequence[int]) -> list[float]:
    """The last valid step of each segment: before the first start, then after each; later starts void more."""
    limits = [math.inf]
    for step in reversed(starts):
        limits.append(min(limits[-1], step))
    return limits[::-1]


def _starts(path: Path) -> list[int]:
    reader = EventReader(path, containing=[RunStarted.kind])
    steps: list[int] = []
    while events := _next_events(reader):
        steps.extend(event.step for event in events if isinstance(event, RunStarted))
    return steps


def _next_events(reader: EventReader) -> list[Event]:
    """The next events; empty only at the end of the file, not after a chunk without events."""
    while True:
        start_offset = reader.offset
        events = reader.read()
        if events or reader.offset == start_offset:
            return events


def _split_into_segments(events: list[Event]) -> list[list[Event]]:
    """Split events into segments; each segment except the first begins with a start event."""
    cuts = [index for index, event in enumerate(events) if isinstance(event, RunStarted)]
    edges = sorted({0, *cuts, len(events)})
    return [events[start:end] for start, end in itertools.pairwise(edges)]


def folder_progress(folder: RunDir, launched: float | None, now: float) -> Progress:
    """The progress of the run in a folder. Raises EventError if no event can be read."""
    summary, offset = summarise(folder.events)
    state = run_state(summary.terminal, folder.read_status(), launched, now)
    return summary.progress(offset, state, summary.unreadable if state is RunState.INTERRUPTED else "")
