"""LiveRun: one run folder as it is now. No Qt."""

from __future__ import annotations

from dataclasses import dataclass

from core.rundir import RunState
from sdgui.store.records import BestPoint


@dataclass(frozen=True)
class RunProgress:
    """What the list shows of a run while it lives."""

    run_id: int
    state: RunState
    step: int
    total_steps: int
    doing: str  # "starting", "reading data", "training", "validating", "saving", "" when no trainer is alive
    seconds_left: float | None
    best: BestPoint | None
    failure: str
