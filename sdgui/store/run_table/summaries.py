"""The stored last and best value of each metric of a run; nan is stored as NULL, because SQLite cannot store it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from sdgui.store.records import MetricSummary
from sdgui.store.registry.dialect import insert
from sdgui.store.sessions import storable
from sdgui.store.tables import SummaryRow

_SUMMARY_COLUMNS = ("last", "last_step", "best", "best_step")


def replace_summaries(session: Session, run_id: int, summaries: Mapping[str, MetricSummary]) -> None:
    """Store ``summaries`` instead of the run's present ones."""
    stored = set(session.scalars(select(SummaryRow.metric).where(SummaryRow.run_id == run_id)))
    for metric in stored - summaries.keys():
        session.execute(delete(SummaryRow).where(SummaryRow.run_id == run_id, SummaryRow.metric == metric))
    if summaries:
        statement = insert(session, SummaryRow)
        replaced = {column: statement.excluded[column] for column in _SUMMARY_COLUMNS}
        statement = statement.on_conflict_do_update(index_elements=["run_id", "metric"], set_=replaced)
        session.execute(statement, summary_rows(run_id, summaries))


def summary_rows(run_id: int, summaries: Mapping[str, MetricSummary]) -> list[dict[str, object]]:
    """The values of one row per metric."""
    return [
        {"run_id": run_id, "metric": storable(metric)}
        | {column: _nullable(getattr(value, column)) for column in _SUMMARY_COLUMNS}
        for metric, value in summaries.items()
    ]


def nan_if_null(value: float | None) -> float:
    return math.nan if value is None else value


def _nullable(value: float) -> float | None:
    return None if math.isnan(value) else value
