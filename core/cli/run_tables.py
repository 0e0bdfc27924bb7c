"""Runs as tables: how each stands, the last and best of its metrics, and in which fields definitions differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from core.spec.chain import run_label
from core.spec.config import ConfigError, differences, read_config
from core.spec.errors import UserError
from core.spec.machines.record import read_record
from core.spec.run.events import Evaluated, EventReader, Metrics, RunFailed, RunFinished, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.metric_names import higher_is_better, ranks_runs
from core.spec.run.status import RunState, judge


@dataclass
class Metric:
    """One metric of a run."""

    last: float
    last_step: int
    best: float
    best_step: int


@dataclass
class RunRow:
    """A run, as the tables show it; ``machine`` is "" for this computer."""

    name: str
    folder: str
    experiment: str = ""
    machine: str = ""
    state: str = ""
    step: int = 0
    total_steps: int = 0
    started: float | None = None
    note: str = ""
    metrics: dict[str, Metric] = field(default_factory=dict)

    @property
    def best(self) -> tuple[str, Metric] | None:
        """The metric that ranks runs, of student or teacher, whichever is better."""
        found = [(name, one) for name, one in self.metrics.items() if ranks_runs(name) and math.isfinite(one.best)]
        return max(found, key=lambda item: item[1].best, default=None)

    def plain(self) -> dict[str, Any]:
        """For JSON, where what is not finite is null."""
        raw = asdict(self)
        for metric in raw["metrics"].values():
            for key in ("last", "best"):
                metric[key] = metric[key] if math.isfinite(metric[key]) else None
        return raw


def read_row(run: RunDir) -> RunRow:
    """Read a run folder. UserError when it cannot be read."""
    row = RunRow(run_label(run.path), str(run.path))
    try:
        row.experiment = read_config(run.config).name
    except ConfigError as error:
        row.note = str(error)
    record = read_record(run)
    row.machine = record.machine if record else ""
    terminal = _read_events(run, row)
    status = run.read_status()
    if terminal is not None and status is not None and not status.verdict and status.started > terminal.time:
        terminal = None
    state = judge(status, terminal)
    row.state = (RunState.INTERRUPTED if state is RunState.STARTING and status is None else state).value
    if status is not None:
        row.step, row.total_steps = max(row.step, status.step), row.total_steps or status.total_steps
        row.note = row.note or status.note
    if isinstance(terminal, RunFailed):
        row.note = terminal.message
    return row


def _read_events(run: RunDir, row: RunRow) -> RunFinished | RunFailed | None:
    """Fold the events into ``row``; the terminal one, when that was the last of its kind."""
    reader, terminal, before = EventReader(run.events), None, -1
    points: dict[str, dict[int, float]] = {}
    while reader.offset != before:
        before = reader.offset
        for event in reader.read():
            if isinstance(event, (Metrics, Evaluated)):
                row.step = max(row.step, event.step)
                for name, value in event.values.items():
                    points.setdefault(name, {})[event.step] = value
            elif isinstance(event, RunStarted):
                row.started = row.started or event.time
                row.step, row.total_steps, terminal = event.step, event.total_steps, None
                for series in points.values():  # what came after that step is void, and will come again
                    for step in [step for step in series if step > event.step]:
                        del series[step]
            elif isinstance(event, (RunFinished, RunFailed)):
                terminal = event
    row.metrics = {name: _metric(name, series) for name, series in points.items() if series}
    return terminal


def _metric(name: str, series: Mapping[int, float]) -> Metric:
    last = max(series)
    finite = {step: value for step, value in series.items() if math.isfinite(value)}
    sign = -1.0 if higher_is_better(name) else 1.0
    best = min(finite, key=lambda step: (sign * finite[step], step), default=last)
    return Metric(series[last], last, series[best], best)


def changed_fields(runs: Sequence[RunDir]) -> dict[str, list[Any]]:
    """Fields in which the definitions differ: dotted field -> a value a run. UserError when one cannot be read."""
    if len(runs) < 2:
        raise UserError("comparing takes two runs or more; name them.")
    configs = [read_config(run.config) for run in runs]
    names: dict[str, None] = {}
    for other in configs[1:]:
        names.update(dict.fromkeys(differences(configs[0], other)))
    found: dict[str, list[Any]] = {}
    for name in names:
        values = [differences(config, configs[0]).get(name) for config in configs]
        first = next(value[1] for value in values if value is not None)
        found[name] = [first if value is None else value[0] for value in values]
    return found


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns in line; the first row is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)
