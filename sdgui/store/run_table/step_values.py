"""Metrics at a step, for sorting, filtering and grouping in the table of runs.

The points of a run are in its folder. The values at requested steps are read from the folder once and cached in the
database, so that ten thousand runs can be compared through an index; for a run that continues, only appended events are
read. The value at a step is the last one measured up to that step; a run that has not reached the step has no value.

Flow: a table with such a field calls ``fill_step_values`` in a background thread, then asks its query again.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import and_, delete, func, or_, select
from sqlalchemy.orm import aliased

from core.spec.run.events import Evaluated, EventError, EventReader, Metrics, RunStarted
from core.spec.run.folder import RunDir
from sdgui.store.registry.dialect import insert
from sdgui.store.run_table.fields import Field
from sdgui.store.run_table.summaries import nan_if_null
from sdgui.store.sessions import Sessions, batches, storable
from sdgui.store.tables import RunRow, StepValueRow

MAX_PAIRS = 100  # stored metric-step pairs
_RUNS_PER_WRITE = 50
_SUGGESTING_RUNS = 1000  # newest runs whose steps are suggested
_SUGGESTED_STEPS = 12

Pair = tuple[str, int]  # a metric and a step


@dataclass(frozen=True)
class StepValue:
    """The last point of a metric up to a step; ``measured`` is its step, -1 before the first."""

    value: float = math.nan
    measured: int = -1


@dataclass(frozen=True)
class FillResult:
    """Result of reading step values. ``changed``: runs whose values changed; ``unread``: runs that were not read."""

    changed: int
    unread: int


@dataclass(frozen=True)
class _UnreadRun:
    """A run with events that have not been read for some pairs."""

    folder: Path
    offset: int
    stored: Mapping[Pair, tuple[StepValue, int]]  # with the offset up to which events were read


class StepValueRecords(Sessions):
    """Reads and writes metric values at requested steps."""

    def fill_step_values(self, pairs: Collection[Pair], may_continue: Callable[[], bool] = lambda: True) -> FillResult:
        """Read missing values of these metrics and steps from the run folders, newest runs first.

        Reading ends between batches of runs unless ``may_continue``. Skips folders that are deleted or elsewhere.
        """
        storable_pairs = sorted({(storable(metric), step) for metric, step in pairs})
        self._delete_unneeded_values(storable_pairs)
        unread = self._unread_runs(storable_pairs)
        changed, unread_count = 0, len(unread)
        for part in batches(list(unread), _RUNS_PER_WRITE):
            if not may_continue():
                break
            read = {run_id: _read(unread[run_id], storable_pairs) for run_id in part}
            values_by_run = {run_id: values for run_id, values in read.items() if values is not None}
            self.save_step_values(values_by_run)
            changed += sum(_differ(values, unread[run_id].stored) for run_id, values in values_by_run.items())
            unread_count -= len(part)
        return FillResult(changed, unread_count)

    def save_step_values(self, values_by_run: Mapping[int, Mapping[Pair, tuple[StepValue, int]]]) -> None:
        """Store the values of these runs, with the offset up to which events were read."""
        with self._write() as session:
            existing = set(session.scalars(select(RunRow.id).where(RunRow.id.in_(list(values_by_run)))))
            rows = [
                {
                    "metric": metric,
                    "at_step": step,
                    "run_id": run_id,
                    "value": value.value if math.isfinite(value.value) else None,
                    "measured": value.measured,
                    "offset": offset,
                }
                for run_id, values in values_by_run.items()
                if run_id in existing
                for (metric, step), (value, offset) in values.items()
            ]
            if rows:
                statement = insert(session, StepValueRow)
                newer: dict[str, Any] = {name: statement.excluded[name] for name in ("value", "measured", "offset")}
                key = ["metric", "at_step", "run_id"]
                session.execute(statement.on_conflict_do_update(index_elements=key, set_=newer), rows)

    def steps_of_evaluations(self) -> list[int]:
        """The most frequent steps of best values in the newest runs, in ascending order, as suggestions."""
        evaluated = select(RunRow.best_step).where(RunRow.best_metric != "", RunRow.best_step > 0)
        newest = evaluated.order_by(RunRow.id.desc()).limit(_SUGGESTING_RUNS).subquery()
        query = select(newest.c.best_step).group_by(newest.c.best_step)
        query = query.order_by(func.count().desc(), newest.c.best_step).limit(_SUGGESTED_STEPS)
        with self._read() as session:
            return sorted(session.scalars(query))

    def _unread_runs(self, pairs: Sequence[Pair]) -> dict[int, _UnreadRun]:
        unread: dict[int, _UnreadRun] = {}
        stored: dict[int, dict[Pair, tuple[StepValue, int]]] = defaultdict(dict)
        with self._read() as session:
            for metric, step in pairs:
                row = aliased(StepValueRow)
                same = and_(row.metric == metric, row.at_step == step, row.run_id == RunRow.id)
                query = (
                    select(RunRow.id, RunRow.folder, RunRow.offset, row.value, row.measured, row.offset)
                    .outerjoin(row, same)
                    .where(RunRow.deleted.is_(None), RunRow.offset > 0, RunRow.step >= step)
                    .where(or_(row.run_id.is_(None), row.offset < RunRow.offset))
                )
                rows = session.execute(query.order_by(RunRow.id.desc()))
                for run_id, folder, offset, value, measured, read_to in rows:
                    if not folder.startswith(self._local_prefix):
                        continue
                    if read_to is not None:
                        stored[run_id][metric, step] = StepValue(nan_if_null(value), measured), read_to
                    unread[run_id] = _UnreadRun(self._folder_path(folder), offset, stored[run_id])
        return unread

    def _delete_unneeded_values(self, needed: Collection[Pair]) -> None:
        """If too many values are stored, remove all that are not in ``needed``."""
        row = StepValueRow
        with self._read() as session:
            stored = [tuple(pair) for pair in session.execute(select(row.metric, row.at_step).distinct())]
        if len({*stored, *needed}) <= MAX_PAIRS:
            return
        with self._write() as session:
            for metric, step in set(stored) - set(needed):
                session.execute(delete(row).where(row.metric == metric, row.at_step == step))


def step_pairs(fields: Iterable[Field]) -> set[Pair]:
    """The metric-step pairs that ``fields`` need."""
    return {(metric, field.step) for field in fields if field.aggregate == "at" for metric in field.metrics}


def _differ(values: Mapping[Pair, tuple[StepValue, int]], stored: Mapping[Pair, tuple[StepValue, int]]) -> bool:
    return any(pair not in stored or stored[pair][0].measured != value.measured for pair, (value, _) in values.items())


def _read(run: _UnreadRun, pairs: Sequence[Pair]) -> dict[Pair, tuple[StepValue, int]] | None:
    """The values of one run, with the offset up to which events were read; None if the events cannot be read."""
    events = RunDir(run.folder).events
    offsets = {run.stored[pair][1] if pair in run.stored else 0 for pair in pairs}
    start = min(offsets) if len(offsets) == 1 else 0  # new and known pairs together: read everything again
    before = {pair: run.stored[pair][0] for pair in pairs} if start else {}
    try:
        if start and (values := _read_from(events, start, run.offset, pairs, before)) is not None:
            return values
        return _read_from(events, 0, run.offset, pairs, {})
    except (EventError, OSError):
        return None


def _read_from(
    events: Path, start: int, end: int, pairs: Sequence[Pair], before: Mapping[Pair, StepValue]
) -> dict[Pair, tuple[StepValue, int]] | None:
    """Read from ``start`` to at least ``end``; None if a later start voids ``before``."""
    reader = EventReader(events, start, containing=[*{metric for metric, _ in pairs}, RunStarted.kind])
    by_metric: dict[str, list[int]] = defaultdict(list)
    for metric, step in pairs:
        by_metric[metric].append(step)
    points: dict[Pair, list[StepValue]] = {pair: [before[pair]] if pair in before else [] for pair in pairs}
    previous_offset = -1
    while reader.offset < end and reader.offset != previous_offset:
        previous_offset = reader.offset
        for event in reader.read():
            if isinstance(event, RunStarted):
                for pair, run_points in points.items():
                    if run_points and pair in before and run_points[0].measured > event.step:
                        return None
                    points[pair] = [point for point in run_points if point.measured <= event.step]
            elif isinstance(event, (Metrics, Evaluated)):
                _add(event, by_metric, points)
    if reader.offset == start:  # the file was deleted, or replaced by a shorter one
        return None
    return {pair: (run_points[-1] if run_points else StepValue(), reader.offset) for pair, run_points in points.items()}


def _add(
    event: Metrics | Evaluated, by_metric: Mapping[str, Sequence[int]], points: Mapping[Pair, list[StepValue]]
) -> None:
    for metric, steps in by_metric.items():
        if metric in event.values:
            for step in steps:
                if event.step <= step:
                    points[metric, step].append(StepValue(event.values[metric], event.step))
