"""Last results of panels, stored by run and data, to be restored after a restart.

Flow: panel -> ``save_result`` after an answer; the panel's first activation -> ``last_result``. Each panel parses its
JSON like a worker's answer.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from sdgui.store.sessions import Sessions, parse_object
from sdgui.store.tables import PanelResultRow

_MAX_STORED = 40  # per panel; older results are removed


@dataclass(frozen=True)
class PanelResult:
    """A stored result of a panel. ``subject``: the run's folder, or the model."""

    subject: str
    data: str
    made: float  # seconds since the epoch
    content: Mapping[str, Any]


class ResultRecords(Sessions):
    """Reads and writes results of panels."""

    def save_result(self, panel: str, subject: str, data: str, content: Mapping[str, Any]) -> None:
        """Store ``content`` (JSON-compatible) as the result of ``panel`` for this run and data."""
        row = PanelResultRow(
            panel=panel,
            subject=os.fsencode(subject),
            data=os.fsencode(data),
            made=time.time(),
            content=json.dumps(content),  # ASCII, so that anything can be stored
        )
        with self._write_local() as session:
            session.merge(row)
            session.flush()
            _remove_oldest(session, panel)

    def panel_results(self, panel: str) -> list[PanelResult]:
        """All results of ``panel``, newest first."""
        query = select(PanelResultRow).where(PanelResultRow.panel == panel).order_by(PanelResultRow.made.desc())
        with self._read_local() as session:
            results = [_record(row) for row in session.scalars(query)]
        return [result for result in results if result is not None]

    def delete_result(self, panel: str, subject: str, data: str) -> None:
        """Remove a result, if it is stored."""
        row = PanelResultRow
        is_result = (row.panel == panel, row.subject == os.fsencode(subject), row.data == os.fsencode(data))
        with self._write_local() as session:
            session.execute(delete(row).where(*is_result))

    def last_result(
        self, panel: str, subject: str = "", data: str = "", problem: Callable[[Any], str] = lambda _: ""
    ) -> PanelResult | None:
        """The newest result of ``panel``, for this run and data if given; None if there is none.

        ``problem`` describes what is wrong with a content, or returns ""; a result with a problem counts as missing.
        """
        row = PanelResultRow
        query = select(row).where(row.panel == panel).order_by(row.made.desc())
        query = query.where(row.subject == os.fsencode(subject)) if subject else query
        query = query.where(row.data == os.fsencode(data)) if data else query
        with self._read_local() as session:
            newest = session.scalars(query.limit(1)).first()
            result = _record(newest) if newest is not None else None
        return result if result is not None and not problem(result.content) else None


def _remove_oldest(session: Session, panel: str) -> None:
    """Keep only the newest ``_MAX_STORED`` results of ``panel``."""
    row = PanelResultRow
    old = session.scalars(
        select(row.made).where(row.panel == panel).order_by(row.made.desc()).offset(_MAX_STORED)
    ).first()
    if old is not None:
        session.execute(delete(row).where(row.panel == panel, row.made <= old))


def _record(row: PanelResultRow) -> PanelResult | None:
    content = parse_object(row.content)
    if content is None:
        return None
    return PanelResult(os.fsdecode(row.subject), os.fsdecode(row.data), row.made, content)
