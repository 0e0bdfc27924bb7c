"""Runs the table's store queries in a worker thread, so that the window never waits.

Flow: ``list_runs`` -> ``listed`` with rows or an error in the filter; ``read_cells`` -> ``cells_read``. If several
listings were requested, only the newest is delivered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PySide6.QtCore import QCoreApplication, QObject, Signal

from sdgui.panels.runs.table.layout import STEPS_KEY, TableLayout, fields_of, query_of
from sdgui.panels.runs.table.rows import Rows
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.store.run_table.expressions import ExpressionError, fields_in
from sdgui.store.run_table.fields import Catalogue, Field, fact
from sdgui.store.run_table.parser import parse
from sdgui.store.run_table.queries import RunQuery
from sdgui.store.run_table.step_values import FillResult, step_pairs
from sdgui.store.store import Store

GroupKeys = tuple[Any, ...]  # identifies a group: its value of each field that runs are grouped by
STATE = fact("state")
_FILL_SECONDS = 1.0  # duration of reading run folders, after which intermediate results are shown


@dataclass(frozen=True)
class CellsOfRun:
    """A run's row: name, values in the order of the requested fields, palette index."""

    name: str
    values: tuple[Any, ...]
    color: int = 0
    folder_missing: bool = False  # only if the state is requested


@dataclass(frozen=True)
class Listing:
    """The rows of a layout. ``error``: why the filter is invalid; the listing then has no rows."""

    layout: TableLayout
    catalogue: Catalogue
    query: RunQuery = field(default_factory=RunQuery)
    rows: Rows = field(default_factory=Rows)
    error: ExpressionError | None = None
    differing: Sequence[str] | None = None  # differing settings, if requested
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)  # completions of the filter

    def fields(self) -> set[Field]:
        """All fields used by the listing: columns, sort keys, groups and filter."""
        query = self.query
        column_fields = fields_of(self.layout.columns, self.catalogue)
        return {*column_fields, *query.group_by, *(key.field for key in query.sort), *fields_in(query.filter)}


class TableReader(QObject):
    """Sends requests to the thread and emits the answers in order; lives in the main thread."""

    listed = Signal(object)  # Listing
    cells_read = Signal(object, object)  # the requested fields, run id -> CellsOfRun
    filled = Signal(int)  # number of runs whose config or metrics at a step were read
    unread = Signal(int)  # number of runs whose metrics at a step are not read yet
    failed = Signal(str)  # error message

    def __init__(self, store: Store, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.store = store
        self._tasks = BackgroundTasks(self)
        self._ending = threading.Event()  # set on closing, since the window waits for running tasks
        if (app := QCoreApplication.instance()) is not None:
            app.aboutToQuit.connect(self._ending.set)
        self._filling = BackgroundTasks(self)  # may take long: thousands of folders of an older version
        self._request = 0
        self.reading = False  # whether a request for cells is open

    def fill_configs(self) -> None:
        """Read the configs that the store does not have yet, once."""
        self._filling.run(self.store.fill_configs, self.filled.emit, self.failed.emit)

    def fill_steps(self, fields: Iterable[Field]) -> None:
        """Read missing metrics at a step for ``_FILL_SECONDS``; ``filled`` then leads to the next call."""
        if not (pairs := step_pairs(fields)):
            return

        def work() -> FillResult:
            deadline = time.monotonic() + _FILL_SECONDS
            return self.store.fill_step_values(pairs, lambda: time.monotonic() < deadline and not self._ending.is_set())

        def done(result: FillResult) -> None:
            self.unread.emit(result.unread)
            self.filled.emit(result.changed)

        self._filling.run(work, done, self.failed.emit)

    def list_runs(
        self,
        layout: TableLayout,
        selected_runs: Sequence[int] = (),
        open_groups: Collection[GroupKeys] = (),
        experiments: frozenset[int] | None = None,
    ) -> None:
        """Request the rows of a layout. ``selected_runs``: compared for differing settings, if there are several.

        ``open_groups``: keys of expanded groups. ``experiments``: whose runs to list; None: all.
        """
        self._request += 1
        request = self._request

        def done(listing: Listing) -> None:
            if request == self._request:
                self.listed.emit(listing)

        self._tasks.run(
            lambda: _listing(self.store, layout, selected_runs, open_groups, experiments), done, self.failed.emit
        )

    def read_cells(self, run_ids: Sequence[int], fields: Sequence[Field]) -> None:
        ids, requested_fields = list(run_ids), list(fields)
        self.reading = True

        def done(cells: Mapping[int, CellsOfRun]) -> None:
            self.reading = False
            self.cells_read.emit(requested_fields, dict(cells))

        def failed(sentence: str) -> None:
            self.reading = False
            self.failed.emit(sentence)

        self._tasks.run(lambda: cells_of(self.store, ids, requested_fields), done, failed)

    def run(self, work: Any, done: Any) -> None:
        """Run any other store query; ``done`` receives its result."""
        self._tasks.run(work, done, self.failed.emit)


def cells_of(store: Store, run_ids: Sequence[int], fields: Sequence[Field]) -> dict[int, CellsOfRun]:
    """Read names and values of the runs that are not deleted."""
    values, labels = store.run_cells(run_ids, fields), store.run_labels(run_ids)
    runs = store.runs_by_id(run_ids).values() if STATE in fields else ()
    missing = {run.id for run in runs if run.folder_missing}
    return {
        run_id: CellsOfRun(labels[run_id].name, cells, labels[run_id].color, run_id in missing)
        for run_id, cells in values.items()
        if run_id in labels
    }


def _listing(
    store: Store,
    layout: TableLayout,
    selected_runs: Sequence[int],
    open_groups: Collection[GroupKeys],
    experiments: frozenset[int] | None,
) -> Listing:
    catalogue = store.catalogue()
    try:
        expression = parse(layout.filter, catalogue)
    except ExpressionError as error:
        return Listing(layout, catalogue, error=error, values=_values(store))
    query = query_of(layout, expression, catalogue, experiments)
    if query.group_by:
        column_fields = fields_of(layout.columns, catalogue)
        groups = store.run_groups(query, column_fields)
        still_open = [number for number, group in enumerate(groups) if group.keys in open_groups]
        rows = Rows(groups=groups, open_groups={number: store.run_ids(query, groups[number]) for number in still_open})
    else:
        rows = Rows(store.run_ids(query))
    differing = None
    if layout.only_differing:
        compared_runs = selected_runs if len(selected_runs) > 1 else store.run_ids(query)
        differing = [name for name in store.differing_settings(compared_runs) if name != "name"]
    return Listing(layout, catalogue, query, rows, None, differing, _values(store))


def _values(store: Store) -> dict[str, Sequence[str]]:
    return {"tag": store.tags(), STEPS_KEY: [str(step) for step in store.steps_of_evaluations()]}
