"""Tables of runs: state, last and best value of each metric, and differences between configs."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.cli.terminal import one_line, say
from core.spec.chain import run_label
from core.spec.config import ConfigError
from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.machines.record import RECORD_FILE, read_record
from core.spec.report.content import read_curves
from core.spec.run.events import Evaluated, RunFailed, RunFinished, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.logged import differing_values, experiment_name, read_any_config, settings_of
from core.spec.run.metric_names import higher_is_better, ranks_runs
from core.spec.run.provenance import differing, read_provenance
from core.spec.run.status import RunState

_BRIEF_EVENTS = (RunStarted.kind, Evaluated.kind, RunFinished.kind, RunFailed.kind)
_UNFINISHED = (RunState.STARTING, RunState.RUNNING, RunState.LOST_CONTACT, RunState.INTERRUPTED)
_SAVE_EVERY = 500  # rows between two writes of the cache
UNREADABLE = "unreadable"  # state of a run whose folder cannot be read


@dataclass
class Metric:
    """The last and best value of a metric."""

    last: float
    last_step: int
    best: float
    best_step: int


@dataclass
class RunRow:
    """A row of the tables; ``machine`` is "" for the local computer."""

    name: str
    folder: str
    experiment: str = ""
    machine: str = ""
    state: str = ""
    step: int = 0
    total_steps: int = 0
    started: float | None = None
    note: str = ""
    ended: bool = False  # whether the last event ended the run; its cached row is then valid until a file changes
    metrics: dict[str, Metric] = field(default_factory=dict)

    @property
    def best(self) -> tuple[str, Metric] | None:
        """The metric that ranks runs, with its name; the better of student and teacher."""
        candidates = [
            (name, metric) for name, metric in self.metrics.items() if ranks_runs(name) and math.isfinite(metric.best)
        ]
        return max(candidates, key=lambda item: item[1].best, default=None)

    def to_data(self) -> dict[str, Any]:
        """The row as JSON data, with null for non-finite values."""
        raw = asdict(self)
        for metric in raw["metrics"].values():
            for key in ("last", "best"):
                metric[key] = metric[key] if math.isfinite(metric[key]) else None
        return raw


def listed_rows(home: Path, runs: Sequence[RunDir]) -> list[RunRow]:
    """Read a row of each run, without the config's name, and with the best metric only.

    Rows of ended runs are cached in ``home`` until one of their files changes, so that an interrupted listing continues
    where it stopped.
    """
    cache = home / "cache" / "listed-runs.json"
    cached, rows, uncached = _load_rows(cache), [], 0
    stamps = {str(run.path): _stamp(str(run.path)) for run in runs}
    for number, run in enumerate(runs, 1):
        folder = str(run.path)
        entry = cached.get(folder)
        if entry is None or entry[0] != stamps[folder]:
            row = row_or_problem(run, brief=True)
            cached[folder] = entry = [stamps[folder], row.to_data()] if row.ended else [0, row.to_data()]
            uncached += 1
            if uncached % _SAVE_EVERY == 0:
                say(f"read {number} of {len(runs)} run folders")
                _save_rows(cache, cached)
        rows.append(_row_of(entry[1]))
    if uncached or len(cached) > len(runs):
        _save_rows(cache, {folder: entry for folder, entry in cached.items() if folder in stamps and entry[0]})
    return rows


def _stamp(folder: str) -> list[int]:
    """The sizes and modification times of the files from which a row is read."""
    stamp: list[int] = []
    for name in ("events.jsonl", "status.json", RECORD_FILE):
        try:
            file = os.stat(f"{folder}/{name}")  # noqa: PTH116  (for thousands of runs, half of the time would be spent on creating Path objects)
        except OSError:
            stamp += (-1, -1)
        else:
            stamp += (file.st_size, file.st_mtime_ns)
    return stamp


def _load_rows(cache: Path) -> dict[str, list[Any]]:
    """Folder -> stamp and row; {} if there is no cache of the current version."""
    try:
        cached = json.loads(cache.read_bytes())
        for _, row in cached.values():
            _row_of(row)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return {}
    return dict(cached)


def _save_rows(cache: Path, cached: Mapping[str, list[Any]]) -> None:
    with suppress(OSError):  # a read-only home is listed without a cache
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_whole(cache, json.dumps(cached).encode(), durable=False)


def _row_of(plain: Mapping[str, Any]) -> RunRow:
    metrics = {name: Metric(**metric) for name, metric in plain["metrics"].items()}
    return RunRow(**{**plain, "metrics": metrics})


def row_or_problem(run: RunDir, brief: bool = False) -> RunRow:
    """`read_row`; a run that cannot be read is `UNREADABLE`, and its note has the reason."""
    try:
        return read_row(run, brief)
    except UserError as error:
        return RunRow(run_label(run.path), str(run.path), state=UNREADABLE, note=str(error))


def read_row(run: RunDir, brief: bool = False) -> RunRow:
    """Read a run folder; ``brief``: without config, and with the best metric only. Raises UserError if it fails."""
    record, events = read_record(run), read_curves(run, _BRIEF_EVENTS if brief else ())
    row = RunRow(events.name, str(run.path), machine=record.machine if record else "", started=events.started)
    try:
        row.experiment = "" if brief else experiment_name(read_any_config(run.config))
    except ConfigError as error:
        row.note = str(error)
    row.metrics = {name: _metric(name, curve) for name, curve in events.curves.items() if curve}
    if brief:
        row.metrics = dict([row.best]) if row.best else {}
    row.state, row.step, row.total_steps = events.state, events.step, events.total_steps
    if (status := events.status) is not None:
        row.step, row.total_steps = max(row.step, status.step), row.total_steps or status.total_steps
        row.note = row.note or status.note
    elif row.state == RunState.STARTING:
        row.state = RunState.INTERRUPTED.value
    row.ended = events.ending is not None and RunState(row.state) not in _UNFINISHED
    if row.ended and isinstance(events.ending, RunFailed):
        row.note = events.ending.message
    return row


def _metric(name: str, series: Mapping[int, float]) -> Metric:
    last = max(series)
    finite = {step: value for step, value in series.items() if math.isfinite(value)}
    sign = -1.0 if higher_is_better(name) else 1.0
    best = min(finite, key=lambda step: (sign * finite[step], step), default=last)
    return Metric(series[last], last, series[best], best)


def changed_fields(runs: Sequence[RunDir]) -> dict[str, list[Any]]:
    """Fields in which the configs differ: dotted field -> one value per run. Raises UserError if unreadable."""
    if len(runs) < 2:
        raise UserError("a comparison needs at least two runs; specify two or more.")
    return differing_values([settings_of(read_any_config(run.config)) for run in runs])


def comparison(runs: Sequence[RunDir]) -> dict[str, Any]:
    """A comparison as JSON data.

    ``fields``: config fields that differ. ``environment``: differences in code, packages, machine and data. ``runs``:
    the runs with their metrics. Raises UserError like `changed_fields`.
    """
    fields, rows = changed_fields(runs), [read_row(run).to_data() for run in runs]
    return {"fields": fields, "environment": differing([read_provenance(run) for run in runs]), "runs": rows}


def table(rows: Sequence[Sequence[str]]) -> str:
    """``rows`` as text with aligned columns; the first row is the header."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)
