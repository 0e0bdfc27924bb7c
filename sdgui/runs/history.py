"""RunHistory: all that a run has reported so far, as arrays for the plots and lists for the panels. No Qt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.events import CheckpointSaved, Event, Log, RunFailed, RunFinished, RunStarted, Sample
from core.rundir import RunState, RunStatus
from sdgui.store.records import BestPoint, MetricSummary


@dataclass(frozen=True)
class Curve:
    """A metric's points in order. Snapshots: they never change, a later call gives a longer one."""

    steps: NDArray[np.float64]  # (N,)
    values: NDArray[np.float64]  # (N,), may hold nan and inf
    seconds: NDArray[np.float64]  # (N,) of training since the run first started; pauses do not count


@dataclass(frozen=True)
class EvaluatedRow:
    """One validation: values by metric name at ``step``."""

    step: int
    time: float
    values: Mapping[str, float]


class RunHistory:
    """Filled by one thread with ``apply``; may be read by others at any time."""

    def apply(self, events: Iterable[Event]) -> frozenset[str]:
        """Take in events in the order written; returns what changed: metric names, and "log", "samples",
        "checkpoints", "evaluated", "lifecycle"."""
        raise NotImplementedError

    @property
    def names(self) -> tuple[str, ...]:
        """Every metric that has points, in the order first seen."""
        raise NotImplementedError

    def curve(self, name: str) -> Curve:
        """The points of ``name``; empty when there are none."""
        raise NotImplementedError

    def summary(self, name: str) -> MetricSummary | None: ...
    @property
    def best(self) -> BestPoint | None: ...
    @property
    def step(self) -> int: ...
    @property
    def total_steps(self) -> int: ...
    @property
    def logs(self) -> tuple[Log, ...]: ...
    @property
    def samples(self) -> tuple[Sample, ...]: ...
    @property
    def checkpoints(self) -> tuple[CheckpointSaved, ...]: ...
    @property
    def evaluated(self) -> tuple[EvaluatedRow, ...]: ...
    @property
    def starts(self) -> tuple[RunStarted, ...]:
        """Each start and resume; the last tells device, precision, pairs, parameters."""
        raise NotImplementedError

    @property
    def terminal(self) -> RunFinished | RunFailed | None:
        """How it ended, None while it has not, or has gone on since."""
        raise NotImplementedError

    def state(self, status: RunStatus | None) -> RunState: ...
