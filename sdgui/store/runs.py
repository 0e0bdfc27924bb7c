"""Run records of the store, with the progress of each run."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, or_, select
from sqlalchemy import insert as plain_insert
from sqlalchemy.orm import Session, aliased

from core.spec.config import RunConfig
from core.spec.run.folder import new_name
from core.spec.run.logged import LoggedConfig
from core.spec.run.status import RunState
from sdgui.store.experiments import experiment_record, experiment_row
from sdgui.store.records import (
    HUE_COUNT,
    THIS_COMPUTER,
    BestPoint,
    Ending,
    MetricSummary,
    Place,
    Progress,
    Run,
    RunLabel,
    StoreError,
)
from sdgui.store.registry.activity import record_activity
from sdgui.store.run_table.configs import save_config
from sdgui.store.run_table.summaries import nan_if_null, replace_summaries, summary_rows
from sdgui.store.sessions import (
    ON_HOST,
    Sessions,
    batches,
    check_unedited,
    merged_tags,
    owner_host_of,
    storable,
    tag_rows,
    tags_by_run,
)
from sdgui.store.tables import ExperimentRow, RunRow, StepValueRow, StudyArmRow, SummaryRow

_PROGRESS_COLUMNS = (
    RunRow.folder,
    RunRow.state,
    RunRow.launched,
    RunRow.queue_position,
    RunRow.offset,
    RunRow.step,
    RunRow.total_steps,
    RunRow.best_value,
    RunRow.ending,
    RunRow.failure,
    RunRow.machine,
    RunRow.remote_folder,
)
_CONVERTED = {"folder", "state", "ending", "remote_folder"}  # columns that a record has in another form
_SAME_FIELDS = {field.name for field in fields(Run)} & set(RunRow.__table__.columns.keys()) - _CONVERTED
ALIVE_STATES = [state.value for state in RunState if state.alive]
_ENDINGS: Mapping[str, Ending] = {"done": "done", "stopped": "stopped", "paused": "paused", "failed": "failed"}


class RunRecords(Sessions):
    """Reads and writes run records."""

    def runs(self, experiment_id: int | None = None, deleted: bool = False) -> list[Run]:
        """Runs of one or all experiments, oldest first; ``deleted`` selects the bin instead of the other runs."""
        selected: list[ColumnElement[bool]] = [RunRow.deleted.is_not(None) if deleted else RunRow.deleted.is_(None)]
        if experiment_id is not None:
            selected.append(RunRow.experiment_id == experiment_id)
        with self._read() as session:
            return self._selected_runs(session, *selected)

    def run(self, run_id: int) -> Run:
        """One run, in the bin or not. Raises StoreError for an unknown id."""
        with self._read() as session:
            return self._run_record(run_row(session, run_id))

    def runs_by_id(self, run_ids: Iterable[int]) -> dict[int, Run]:
        """Existing runs by id, in the bin or not."""
        with self._read() as session:
            selections = [self._selected_runs(session, RunRow.id.in_(ids)) for ids in batches(sorted(run_ids))]
        return {run.id: run for runs in selections for run in runs}

    def _selected_runs(self, session: Session, *selected: ColumnElement[bool]) -> list[Run]:
        # Columns from the connection, because thousands of RunRow objects take several times as long.
        query = select(*RunRow.__table__.columns).where(*selected).order_by(RunRow.id)
        tags = tags_by_run(session, *selected)
        return [self._run_record(row, tags.get(row.id, ())) for row in session.connection().execute(query)]

    def change_markers(self) -> dict[int, tuple[object, ...]]:
        """For each run outside the bin, the columns that change with its progress or machine.

        Used to find changed runs among thousands; much faster than reading complete records.
        """
        query = select(RunRow.id, *_PROGRESS_COLUMNS).where(RunRow.deleted.is_(None))
        with self._read() as session:
            return {run_id: tuple(stamp) for run_id, *stamp in session.execute(query)}

    def stage_runs(self) -> list[Run]:
        """Runs whose folder is named like a stage of a chain, in the bin or not, oldest first."""
        query = select(RunRow).where(RunRow.folder.contains("/stage-", autoescape=True)).order_by(RunRow.id)
        with self._read() as session:
            return [self._run_record(row) for row in session.scalars(query)]

    def alive_runs(self) -> list[Run]:
        """Runs with a live trainer, according to their recorded state."""
        with self._read() as session:
            query = select(RunRow).where(RunRow.state.in_(ALIVE_STATES), RunRow.deleted.is_(None)).order_by(RunRow.id)
            return [self._run_record(row) for row in session.scalars(query)]

    def run_in(self, folder: Path, include_deleted: bool = False) -> Run | None:
        """The run in ``folder``; one in the bin only with ``include_deleted``."""
        query = select(RunRow).where(RunRow.folder == self._folder_text(folder))
        with self._read() as session:
            row = session.scalar(query if include_deleted else query.where(RunRow.deleted.is_(None)))
            return None if row is None else self._run_record(row)

    def newest_run(self) -> Run | None:
        """The newest run outside the bin, of an experiment outside the bin."""
        return next(iter(self.latest_runs(1)), None)

    def latest_runs(self, limit: int, states: Collection[RunState] | None = None) -> list[Run]:
        """At most ``limit`` runs outside the bin, optionally only those in ``states``.

        The most recently finished run comes first; a run that has not finished counts from its creation.
        """
        query = (
            select(RunRow)
            .join(ExperimentRow, ExperimentRow.id == RunRow.experiment_id)
            .where(RunRow.deleted.is_(None), ExperimentRow.deleted.is_(None))
            .order_by(func.coalesce(RunRow.finished, RunRow.created).desc(), RunRow.id.desc())
            .limit(limit)
        )
        if states is not None:
            query = query.where(RunRow.state.in_([str(state) for state in states]))
        with self._read() as session:
            return [self._run_record(row) for row in session.scalars(query)]

    def run_count(self, experiment_id: int, up_to: int | None = None) -> int:
        """The number of the experiment's runs outside the bin, up to and including the run ``up_to`` if given."""
        with self._read() as session:
            query = select(func.count()).where(RunRow.experiment_id == experiment_id, RunRow.deleted.is_(None))
            query = query if up_to is None else query.where(RunRow.id <= up_to)
            return session.scalar(query) or 0

    def run_labels(self, run_ids: Sequence[int]) -> dict[int, RunLabel]:
        """The names and colours of existing runs, in one query.

        A run is named by experiment and ordinal; in the bin, by experiment and key.
        """
        previous = func.lag(RunRow.id, 1, 0).over(partition_by=RunRow.experiment_id, order_by=RunRow.id)
        columns = RunRow.id, RunRow.experiment_id, RunRow.key, RunRow.deleted, RunRow.color
        requested = select(*columns, previous.label("previous")).where(RunRow.id.in_(run_ids)).subquery()
        same = RunRow.experiment_id == requested.c.experiment_id
        in_between = (same, RunRow.deleted.is_(None), RunRow.id > requested.c.previous, RunRow.id <= requested.c.id)
        # runs since the previous requested one; summed up over the experiment, so that each run is counted once
        number = select(func.count()).where(*in_between).correlate(requested).scalar_subquery()
        ordinal = func.sum(number).over(partition_by=requested.c.experiment_id, order_by=requested.c.id)
        its_experiment = ExperimentRow.id == requested.c.experiment_id
        query = select(requested, ExperimentRow.name, ordinal.label("ordinal")).join(ExperimentRow, its_experiment)
        with self._read() as session:
            rows = session.execute(query).all()
        numbers = {row.id: row.ordinal if row.deleted is None else row.key for row in rows}
        return {row.id: RunLabel(f"{row.name} · run {numbers[row.id]}", row.color) for row in rows}

    def add_run(self, experiment_id: int, queued: bool = False, place: Place = THIS_COMPUTER) -> Run:
        """Add a run with the experiment's current config. The folder is only named here; the launcher creates it.

        ``place``: requested machine and devices. Raises StoreError if the config has a problem.
        """
        with self._write() as session:
            experiment = experiment_record(experiment_row(session, experiment_id))
            if experiment.config is None:
                raise StoreError(experiment.problem)
            row = _row_from_config(session, experiment_id, experiment.config, "")
            row.folder = self._folder_text(self.runs_folder / new_name(experiment.name, row.key))
            row.state = (RunState.QUEUED if queued else RunState.STARTING).value
            row.launched = None if queued else time.time()
            row.queue_position = queue_end(session) if queued else None
            row.machine, row.devices_asked, row.owner = place.host, place.devices, self.user
            session.add(row)
            session.flush()
            record_activity(session, "queued" if queued else "launched", row)
            return self._run_record(row)

    def add_imported(
        self, experiment_id: int, folder: str, config: RunConfig | LoggedConfig, progress: Progress,
        tags: Iterable[str] = (), first_stage: int | None = None,
    ) -> int:  # fmt: skip
        """Add the run in ``folder``; returns its id. ``first_stage``: see ``Store.import_run``."""
        key = Path(folder).name.rpartition("-")[2]
        with self._write() as session:
            same_folder_or_key = or_(RunRow.folder == folder, RunRow.key == key)
            rows = session.execute(select(RunRow.folder, RunRow.id).where(same_folder_or_key))
            ids_by_folder = {name: run_id for name, run_id in rows}  # noqa: C416  mypy sees rows here, not tuples
            if folder in ids_by_folder:  # another window has added it
                return ids_by_folder[folder]
            row = _row_from_config(session, experiment_id, config, folder)
            row.owner, row.created = self.user, progress.started or row.created
            row.tags = tag_rows(session, tags)
            if first_stage is not None:
                other = run_row(session, first_stage)
                row.machine, row.devices_asked, row.devices = other.machine, other.devices_asked, other.devices
            if key.isalnum() and not ids_by_folder:
                row.key = key
            _set_progress(row, progress)
            session.add(row)
            session.flush()
            if progress.summaries:
                session.execute(plain_insert(SummaryRow), summary_rows(row.id, progress.summaries))
            record_activity(session, "listed", row)
            return row.id

    def record(self, run_id: int, progress: Progress, rewritten: bool = False) -> None:
        """Record offset, state and summaries in one transaction; recording them twice changes nothing.

        Ignores deleted runs, and offsets older than the recorded one unless the events file was ``rewritten``.
        """
        with self._write_one_run() as session:
            row = session.get(RunRow, run_id, with_for_update=self.shared)
            if row is None or (progress.offset < row.offset and not rewritten):
                return
            if rewritten:  # values of the previous file
                session.execute(delete(StepValueRow).where(StepValueRow.run_id == run_id))
            _set_progress(row, progress)
            replace_summaries(session, run_id, progress.summaries)

    def summaries(self, run_ids: Sequence[int]) -> Mapping[int, Mapping[str, MetricSummary]]:
        """The last and the best value of each metric, by run."""
        by_run: dict[int, dict[str, MetricSummary]] = {run_id: {} for run_id in run_ids}
        with self._read() as session:
            for ids in batches(run_ids):
                query = select(SummaryRow).where(SummaryRow.run_id.in_(ids)).order_by(SummaryRow.metric)
                for row in session.scalars(query):
                    by_run[row.run_id][row.metric] = MetricSummary(
                        nan_if_null(row.last), row.last_step, nan_if_null(row.best), row.best_step
                    )
        return by_run

    def restore_run(self, run_id: int) -> Run:
        """Restore a run from the bin."""
        with self._write() as session:
            row = run_row(session, run_id)
            row.deleted = None
            record_activity(session, "restored", row)
            return self._run_record(row)

    def tag_run(self, run_id: int, tags: Iterable[str], before: Iterable[str] | None = None) -> Run:
        """Replace the tags; if ``before`` (the tags at the start of the edit) is given, apply only what was edited."""
        with self._write() as session:
            row = run_row(session, run_id)
            current = [tag.name for tag in row.tags]
            row.tags = tag_rows(session, tags if before is None else merged_tags(before, current, tags))
            session.flush()
            session.refresh(row)
            record_activity(session, "tagged", row)
            return self._run_record(row)

    def set_run_note(self, run_id: int, note: str, before: str | None = None) -> Run:
        """Replace the note. Raises ChangedElsewhereError if it has changed since the edit began (``before``)."""
        with self._write() as session:
            row = run_row(session, run_id)
            check_unedited(f"The note of run {row.key}", before, row.note, note)
            record_activity(session, "wrote the note of", row, row.note)
            row.note = storable(note)
            return self._run_record(row)

    def mark_failed(self, run_id: int, message: str) -> Run:
        """Record that the trainer of a run could not be started."""
        with self._write() as session:
            row = run_row(session, run_id)
            row.state, row.failure, row.launched = RunState.FAILED.value, storable(message), None
            row.ending, row.finished, row.queue_position = "failed", time.time(), None
            return self._run_record(row)

    def _is_own(self, row: RunRow | Row[Any]) -> bool:
        """Whether the run was launched or imported from this home, and its folder is on this computer."""
        if not self.shared:
            return True
        launched_by_us = row.owner == self.user or self._folder_path(row.folder).is_relative_to(self.home)
        return launched_by_us and row.folder.startswith(self._local_prefix)

    def _run_record(self, row: RunRow | Row[Any], tags: Iterable[str] | None = None) -> Run:
        """The record of a row; a row of columns comes with its tags."""
        if tags is None:
            tags = (tag.name for tag in row.tags)
        best = BestPoint(row.best_metric, nan_if_null(row.best_value), row.best_step) if row.best_metric else None
        return Run(
            **{name: getattr(row, name) for name in _SAME_FIELDS},
            folder=self._folder_path(row.folder),
            state=RunState(row.state),
            best=best,
            ending=_ENDINGS.get(row.ending, ""),
            owner_host=owner_host_of(row.folder),
            is_own=self._is_own(row),
            remote_folder=_parse_remote_folder(row.remote_folder),
            is_logged=row.logged,
            tags=tuple(tags),
        )


def _parse_remote_folder(text: str) -> tuple[str, str] | None:
    computer, mark, folder = text.partition(ON_HOST)
    return (computer, folder) if mark else None


def _row_from_config(session: Session, experiment_id: int, config: RunConfig | LoggedConfig, folder: str) -> RunRow:
    """A new row, not added to the session; the config is stored."""
    digest = config.digest()
    save_config(session, digest, config)
    return RunRow(
        experiment_id=experiment_id,
        key=secrets.token_hex(4),
        folder=folder,
        digest=digest,
        color=_next_color(session, experiment_id),
        logged=isinstance(config, LoggedConfig),
        created=time.time(),
    )


def _next_color(session: Session, experiment_id: int) -> int:
    """The palette index of a new run: the next unused one. Runs of a study arm have shades of one colour."""
    arm = select(StudyArmRow.experiment_id).where(StudyArmRow.experiment_id == experiment_id)
    next_shade = select(func.max(RunRow.color) + HUE_COUNT).where(RunRow.experiment_id.in_(arm))
    used = select(aliased(RunRow).color)
    unused = select(func.coalesce(func.min(RunRow.color) + 1, 0)).where((RunRow.color + 1).not_in(used))
    return int(session.scalars(select(func.coalesce(next_shade.scalar_subquery(), unused.scalar_subquery()))).one())


def run_row(session: Session, run_id: int) -> RunRow:
    """The row of a run. Raises StoreError if it was deleted, perhaps by another window."""
    row = session.get(RunRow, run_id)
    if row is None:
        raise StoreError(f"Run {run_id} does not exist: it was deleted.")
    return row


def mark_launched(row: RunRow, devices: str) -> RunRow:
    """Set the state to starting, on ``devices``."""
    row.state, row.launched, row.queue_position, row.failure = RunState.STARTING.value, time.time(), None, ""
    row.devices = devices
    return row


def queue_end(session: Session) -> int:
    """The position after the last queued run."""
    last = session.scalar(select(func.max(RunRow.queue_position)))
    return 0 if last is None else last + 1


def _set_progress(row: RunRow, progress: Progress) -> None:
    row.state = progress.state.value if row.queue_position is None else row.state
    row.offset, row.step, row.total_steps = progress.offset, progress.step, progress.total_steps
    row.started, row.finished = progress.started, progress.finished
    row.training_seconds, row.last_event = progress.training_seconds, progress.last_event
    row.ending, row.failure, row.parent = progress.ending, storable(progress.failure), storable(progress.parent)
    best = progress.best
    row.best_metric, row.best_value, row.best_step = (best.metric, best.value, best.step) if best else ("", None, 0)
