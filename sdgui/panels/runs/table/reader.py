"""Runs the table's store queries in a worker thread: the window never waits for one.

Flow: ``list_runs`` -> ``listed`` with rows, or with what is wrong with the filter; ``read_cells`` -> ``cells_read``.
Only the answer to the newest question is delivered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PySide6.QtCore import QCoreApplication, QObject, Signal

from sdgui.panels.runs.table.layout import STEPS, TableLayout, fields_of, query_of
from sdgui.panels.runs.table.rows import Rows
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.store.run_table.expressions import ExpressionError, fields_in
from sdgui.store.run_table.fields import Catalogue, Field
from sdgui.store.run_table.parser import parse
from sdgui.store.run_table.queries import RunQuery
from sdgui.store.run_table.step_values import Filled, step_pairs
from sdgui.store.store import Store

GroupKeys = tuple[Any, ...]
_FILL_SECONDS = 1.0  # of reading run folders before intermediate results are shown


@dataclass(frozen=True)
class CellsOfRun:
    """A run as the table shows it: name, values in the order of the requested fields, palette index."""

    name: str
    values: tuple[Any, ...]
    color: int = 0


@dataclass(frozen=True)
class Listing:
    """The answer to a layout. ``error``: why the filter cannot be used; then there are no rows."""

    layout: TableLayout
    catalogue: Catalogue
    query: RunQuery = field(default_factory=RunQuery)
    rows: Rows = field(default_factory=Rows)
    error: ExpressionError | None = None
    differing: Sequence[str] | None = None  # settings in which the runs differ, if requested
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)  # completions after a name

    def fields(self) -> set[Field]:
        """Every field that it was made with: columns, sort keys, groups, and those of the filter."""
        query = self.query
        column_fields = fields_of(self.layout.columns, self.catalogue)
        return {*column_fields, *query.group_by, *(key.field for key in query.sort), *fields_in(query.filter)}


class TableReader(QObject):
    """Lives in the main thread; requests are answered in order."""

    listed = Signal(object)  # Listing
    group_opened = Signal(object, int, list)  # Rows, position of a group among them, its runs
    cells_read = Signal(object, object)  # the requested fields, run id -> CellsOfRun
    filled = Signal(int)  # number of runs for which configs, or metrics at a step, were read from the folders
    unread = Signal(int)  # runs whose metrics at a step are still to be read
    failed = Signal(str)  # a sentence

    def __init__(self, store: Store, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.store = store
        self._tasks = BackgroundTasks(self)
        self._ending = threading.Event()  # a window that closes waits for its tasks
        if (app := QCoreApplication.instance()) is not None:
            app.aboutToQuit.connect(self._ending.set)
        self._filling = BackgroundTasks(self)  # may take long: ten thousand folders of an older version
        self._request = 0
        self.reading = False  # whether cells are on their way

    def fill_configs(self) -> None:
        """Read the configs that the store does not have yet, once."""
        self._filling.run(self.store.fill_configs, self.filled.emit, self.failed.emit)

    def fill_steps(self, fields: Iterable[Field]) -> None:
        """Read missing metrics at a step for a moment; ``filled`` then requests more."""
        if not (pairs := step_pairs(fields)):
            return

        def work() -> Filled:
            deadline = time.monotonic() + _FILL_SECONDS
            return self.store.fill_step_values(pairs, lambda: time.monotonic() < deadline and not self._ending.is_set())

        def done(result: Filled) -> None:
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
        """Request the rows of a layout. ``selected_runs``: those whose differing settings make the columns; else all.

        ``open_groups``: keys of groups whose runs are listed with them. ``experiments``: whose runs; None: all.
        """
        self._request += 1
        request = self._request

        def done(listing: Listing) -> None:
            if request == self._request:
                self.listed.emit(listing)

        self._tasks.run(
            lambda: _listing(self.store, layout, selected_runs, open_groups, experiments), done, self.failed.emit
        )

    def open_group(self, rows: Rows, query: RunQuery, group: int) -> None:
        """Ask for the runs of a group."""
        assert rows.groups is not None
        head = rows.groups[group]

        def done(run_ids: list[int]) -> None:
            self.group_opened.emit(rows, group, run_ids)

        self._tasks.run(lambda: self.store.run_ids(query, head), done, self.failed.emit)

    def read_cells(self, run_ids: Sequence[int], fields: Sequence[Field]) -> None:
        """Ask for the cells of these runs."""
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

    def wait(self) -> None:
        """Wait until every question is answered; answers are delivered later, by the event loop."""
        self._tasks.wait()


def cells_of(store: Store, run_ids: Sequence[int], fields: Sequence[Field]) -> dict[int, CellsOfRun]:
    """Names and values of runs, without deleted ones."""
    values, labels = store.run_cells(run_ids, fields), store.run_labels(run_ids)
    return {
        run_id: CellsOfRun(labels[run_id].name, cells, labels[run_id].color)
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
        among = selected_runs if len(selected_runs) > 1 else store.run_ids(query)
        differing = [name for name in store.differing_settings(among) if name != "name"]
    return Listing(layout, catalogue, query, rows, None, differing, _values(store))


def _values(store: Store) -> dict[str, Sequence[str]]:
    return {"tag": store.tags(), STEPS: [str(step) for step in store.steps_of_evaluations()]}
