"""The history of changes: one row for each change by a person, kept when its subject is deleted.

Flow: every method of the store that writes for a person calls ``note_activity`` in its own transaction. Other windows
on a shared registry read on from the last row that they know, and so learn what others changed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from sdgui.store.sessions import Sessions, storable
from sdgui.store.tables import ActivityRow

_SAME_EDIT_SECONDS = 600.0  # edits of one config by one person within so long are one row
_MOST = 500


@dataclass(frozen=True)
class Activity:
    """``detail``: the replaced text, if any; ``name``: the subject's name at the time."""

    id: int
    time: float  # seconds since the epoch
    who: str
    what: str
    name: str
    experiment_id: int | None
    run_id: int | None
    detail: str


def note_activity(
    session: Session, action: str, name: str, *, experiment: int | None = None, run: int | None = None, detail: str = ""
) -> None:
    """Add a row in the caller's transaction; the user comes from the session."""
    user = str(session.info.get("who", ""))
    row = ActivityRow(time=time.time(), who=user, what=action, name=name, detail=storable(detail))
    row.experiment_id, row.run_id = experiment, run
    session.add(row)


def note_edit(session: Session, name: str, experiment: int, replaced: str) -> None:
    """An edit of a config, which is written at every pause of typing: one row for one person's sitting.

    The last text of another person stays in the history.
    """
    user, now = str(session.info.get("who", "")), time.time()
    query = select(ActivityRow).where(ActivityRow.experiment_id == experiment, ActivityRow.what == "edited")
    last = session.scalars(query.order_by(ActivityRow.id.desc()).limit(1)).first()
    if last is not None and last.who == user and now - last.time < _SAME_EDIT_SECONDS:
        session.delete(last)  # a new row, so that others who read on from the last id see it
        detail = last.detail
    else:
        detail = replaced
    note_activity(session, "edited", name, experiment=experiment, detail=detail)


class ActivityRecords(Sessions):
    """Activity: read."""

    def activity(self, experiment_id: int | None = None, run_id: int | None = None) -> list[Activity]:
        """Of an experiment and its runs, of one run, or of all; newest first, 500 at most."""
        query = select(ActivityRow).order_by(ActivityRow.id.desc()).limit(_MOST)
        if run_id is not None:
            query = query.where(ActivityRow.run_id == run_id)
        elif experiment_id is not None:
            query = query.where(ActivityRow.experiment_id == experiment_id)
        with self._read() as session:
            return [_record(row) for row in session.scalars(query)]

    def last_activity(self) -> int:
        """The id of the newest row; 0 without one."""
        with self._read() as session:
            return session.scalar(select(func.max(ActivityRow.id))) or 0

    def activity_of_others(self, after: int) -> list[Activity]:
        """What others did since the row ``after``, oldest first."""
        mine = or_(ActivityRow.who != self.who, ActivityRow.who == "")
        query = select(ActivityRow).where(ActivityRow.id > after, mine).order_by(ActivityRow.id).limit(_MOST)
        with self._read() as session:
            return [_record(row) for row in session.scalars(query)]

    def did(self, action: str, run_id: int, name: str, experiment_id: int | None = None) -> None:
        """Record an action on a run that does not change the database, such as a pause or a stop."""
        with self._write() as session:
            note_activity(session, action, name, run=run_id, experiment=experiment_id)


def _record(row: ActivityRow) -> Activity:
    return Activity(row.id, row.time, row.who, row.what, row.name, row.experiment_id, row.run_id, row.detail)
