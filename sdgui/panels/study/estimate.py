"""Estimates time and memory of a study before it starts, from earlier runs with the same settings. No Qt.

Flow: the study and the store's finished runs -> ``estimate`` (reads files; call it in a thread) -> ``text``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.spec.config import ConfigError, RunConfig, read_config
from core.spec.run.events import EventError, EventReader, Metrics, RunStarted
from core.spec.study import Study
from sdgui.store.records import Run
from sdgui.widgets.formats import count, duration

MAX_RUNS = 40  # newest finished runs that are read
_MAX_BYTES = 1 << 18  # end of a run's events that is searched for its time per step and memory
_MEMORY = "runtime/memory_gib"
# Settings that determine time and memory of a step.
_COST_SETTINGS: dict[str, Any] = {
    **dict.fromkeys(("views", "towers", "fusion", "teacher", "objectives"), True),
    "optim": {"batch_size", "micro_batch"},
    "runtime": {"device", "precision", "tf32", "threads", "shard", "compile", "recompute"},
}


@dataclass(frozen=True)
class Estimate:
    """``seconds``: total training time; ``memory_gib``: memory of the largest run; None if unknown."""

    runs: int
    seconds: float | None
    memory_gib: float | None
    unknown: tuple[str, ...] = ()  # arms without an earlier run with the same settings

    def text(self) -> str:
        """The estimate as text, such as ``Estimate: 6 runs, 12 min of training in total, up to 0.9 GiB each.``"""
        runs = "1 run" if self.runs == 1 else f"{count(self.runs)} runs"
        if self.seconds is None:
            arms = ", ".join(self.unknown[:3]) + (", …" if len(self.unknown) > 3 else "")
            return f"{runs}. Time and memory are unknown: no finished run has the same settings as {arms}."
        memory = f", up to {self.memory_gib:.1f} GiB each" if self.memory_gib else ""
        return f"Estimate: {runs}, {duration(self.seconds)} of training in total{memory}."


def estimate(study: Study, finished: Sequence[Run]) -> Estimate:
    """Estimate ``study`` from ``finished`` runs on this computer, newest first."""
    runs = len(study.arms_to_train) * len(study.seeds)
    costs = _known_costs(finished)
    seconds, memory, unknown = 0.0, 0.0, []
    for arm in study.arms_to_train:
        try:
            step_seconds, gib = costs.get(_recipe(study.recipe(arm)), (None, 0.0))
        except ConfigError:
            step_seconds, gib = None, 0.0
        memory = max(memory, gib)
        if arm.budget:
            seconds += arm.budget * len(study.seeds)
        elif step_seconds is not None:
            seconds += step_seconds * study.steps * len(study.seeds)
        else:
            unknown.append(arm.name)
    return Estimate(runs, None if unknown else seconds, memory or None, tuple(unknown))


def _recipe(config: RunConfig) -> str:
    """What determines the cost of a step, as text to compare."""
    return config.model_dump_json(include=_COST_SETTINGS)


def _known_costs(finished: Sequence[Run]) -> dict[str, tuple[float, float]]:
    """Recipe -> seconds per step and GiB of its newest run."""
    costs: dict[str, tuple[float, float]] = {}
    for run in finished[:MAX_RUNS]:
        if not run.is_local or run.started is None or run.finished is None or not run.step:
            continue
        try:
            recipe = _recipe(read_config(run.dir.config))
        except ConfigError:
            continue
        if recipe not in costs:
            reports = _last_reports(run)
            memory = max((report.values.get(_MEMORY, 0.0) for report in reports), default=0.0)
            if len(reports) > 1 and reports[-1].step > reports[0].step:  # since the last start: without pauses
                seconds = (reports[-1].time - reports[0].time) / (reports[-1].step - reports[0].step)
            else:
                seconds = (run.finished - run.started) / run.step
            costs[recipe] = seconds, memory
    return costs


def _last_reports(run: Run) -> list[Metrics]:
    """The metrics at the end of the run's events, after its last start."""
    try:
        start = max(0, run.dir.events.stat().st_size - _MAX_BYTES)
        events = EventReader(run.dir.events, start).read()
    except (EventError, OSError):
        return []
    last_start = max((index for index, event in enumerate(events) if isinstance(event, RunStarted)), default=0)
    return [event for event in events[last_start:] if isinstance(event, Metrics)]
