"""The history of changes: one row per change by a person, kept after its subject is deleted.

Flow: every store method that writes for a person calls ``record_activity`` in its own transaction. Other windows on a
shared registry read the rows after the last one that they know, and so learn what others changed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from sdgui.store.sessions import Sessions, storable
from sdgui.store.tables import ActivityRow, ExperimentRow, RunRow, StudyRow

_SAME_EDIT_SECONDS = 600.0  # maximum time between two edits of one config that share a row
_MAX_ROWS = 500


@dataclass(frozen=True)
class Activity:
    """A change by a person. ``detail``: the replaced text, if any; ``name``: the subject's name at the time."""

    id: int
    time: float  # seconds since the epoch
    who: str
    what: str
    name: str
    experiment_id: int | None
    run_id: int | None
    detail: str


def record_activity(
    session: Session, action: str, subject: RunRow | ExperimentRow | StudyRow | None, detail: str = ""
) -> None:
    """Add a change of ``subject`` (None: of the queue) to the history, in the caller's transaction."""
    row = ActivityRow(time=time.time(), who=session.info["who"], what=action, name="", detail=storable(detail))
    if isinstance(subject, RunRow):
        row.name, row.experiment_id, row.run_id = subject.key, subject.experiment_id, subject.id
    elif subject is not None:
        row.name, row.experiment_id = subject.name, subject.id if isinstance(subject, ExperimentRow) else None
    session.add(row)


def record_edit(session: Session, experiment: ExperimentRow, replaced: str) -> None:
    """Record an edit of a config. It is saved at every pause in typing, so one person's successive edits share a row.

    The last text of another person stays in the history.
    """
    query = select(ActivityRow).where(ActivityRow.experiment_id == experiment.id, ActivityRow.what == "edited")
    last = session.scalars(query.order_by(ActivityRow.id.desc()).limit(1)).first()
    if last is not None and last.who == session.info["who"] and time.time() - last.time < _SAME_EDIT_SECONDS:
        session.delete(last)  # a new row has a new id, so that other windows see it
        replaced = last.detail
    record_activity(session, "edited", experiment, replaced)


class ActivityRecords(Sessions):
    """Reads the history of changes."""

    def activity(self, experiment_id: int | None = None, run_id: int | None = None) -> list[Activity]:
        """At most 500 changes, newest first: of an experiment and its runs, of one run, or all."""
        query = select(ActivityRow).order_by(ActivityRow.id.desc()).limit(_MAX_ROWS)
        if run_id is not None:
            query = query.where(ActivityRow.run_id == run_id)
        elif experiment_id is not None:
            query = query.where(ActivityRow.experiment_id == experiment_id)
        with self._read() as session:
            return [_record(row) for row in session.scalars(query)]

    def last_activity(self) -> int:
        """The id of the newest change; 0 if there is none."""
        with self._read() as session:
            return session.scalar(select(func.max(ActivityRow.id))) or 0

    def activity_of_others(self, after: int) -> list[Activity]:
        """Changes by others after the row ``after``, oldest first."""
        by_others = or_(ActivityRow.who != self.user, ActivityRow.who == "")
        query = select(ActivityRow).where(ActivityRow.id > after, by_others).order_by(ActivityRow.id).limit(_MAX_ROWS)
        with self._read() as session:
            return [_record(row) for row in session.scalars(query)]


def _record(row: ActivityRow) -> Activity:
    return Activity(row.id, row.time, row.who, row.what, row.name, row.experiment_id, row.run_id, row.detail)
