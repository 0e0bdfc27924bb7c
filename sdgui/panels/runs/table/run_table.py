"""The run table: owns the layout, queries the store, and emits the current and the ticked runs.

Flow: the bar and the view change the layout -> ``TableReader`` -> ``RunTableModel`` -> the view. The panel listens to
``run_chosen`` and ``ticked``, and calls ``refresh`` when the store has changed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from PySide6.QtCore import QPoint, QSettings, QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication, QShowEvent
from PySide6.QtWidgets import QMenu, QWidget

from sdgui.panels.runs.table.bar import TableBar
from sdgui.panels.runs.table.cells import title_of
from sdgui.panels.runs.table.columns import ColumnChooser
from sdgui.panels.runs.table.layout import NAME_COLUMN, TableLayout
from sdgui.panels.runs.table.model import RunTableModel
from sdgui.panels.runs.table.reader import Listing, TableReader
from sdgui.panels.runs.table.saved_views import SavedViews, views_menu
from sdgui.panels.runs.table.view import NAME_WIDTH, RunTableView
from sdgui.store.run_table.fields import Field, Kind, Source
from sdgui.store.store import Store
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.style.theme import SPACE

_LIVE_UPDATE_MS = 1000  # minimum time between two updates of live runs
# Default widths of columns in px.
_WIDTHS = {"state": 15 * SPACE, "note": 28 * SPACE, "created": 17 * SPACE, "tag": 20 * SPACE, "failure": 28 * SPACE}


class RunTable(QWidget):
    """The table with its bar. ``run_chosen``: the run of the current row; ``ticked``: runs to overlay or hide."""

    run_chosen = Signal(int)
    selection_changed = Signal(list)  # run ids
    ticked = Signal(list, bool)  # run ids, whether they are overlaid
    run_opened = Signal(int)  # run id
    menu_requested = Signal(QPoint)  # position on the screen
    listed = Signal(object)  # Listing whose rows are shown
    failed = Signal(str)  # sentence

    def __init__(self, store: Store, settings: QSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._views = SavedViews(settings)
        self.current_layout = self._views.current()
        self.reader = TableReader(store, self)
        self.model = RunTableModel(self.reader, self)
        self.bar = TableBar(self)
        self.view = RunTableView(self.model, self)
        self._chooser: ColumnChooser | None = None
        self._current: int | None = None  # run of the current row
        self._reported_run: int | None = None  # last run emitted by ``run_chosen`` or set by ``select_run``
        self._stale: set[int] = set()  # live runs whose row is out of date
        self._experiments: frozenset[int] | None = None  # experiments whose runs are listed; None: all
        self._started = False
        self._live_timer = QTimer(self, singleShot=True, interval=_LIVE_UPDATE_MS)
        self._live_timer.timeout.connect(self._update_live_rows)
        vbox(self.bar, (self.view, 1), into=self)
        self._connect()

    def _connect(self) -> None:
        bar, view, reader = self.bar, self.view, self.reader
        bar.filter.changed.connect(lambda text: self.show_layout(replace(self.current_layout, filter=text)))
        bar.filter.leave_requested.connect(lambda: view.setFocus(Qt.FocusReason.OtherFocusReason))
        bar.group_requested.connect(lambda names: self.show_layout(self.current_layout.grouped_by(*names)))
        bar.differing_requested.connect(lambda on: self.show_layout(replace(self.current_layout, only_differing=on)))
        bar.columns_requested.connect(lambda position: self.choose_columns(position))
        bar.views_requested.connect(self._show_views)
        view.sort_requested.connect(lambda column: self.sort_by(self.model.fields[column].name))
        view.header_menu_requested.connect(self._header_menu)
        view.rows_menu_requested.connect(self.menu_requested)
        view.run_opened.connect(self.run_opened)
        view.ticked.connect(self.ticked)
        view.group_ticked.connect(self.tick_group)
        view.copy_requested.connect(self.copy)
        view.selectionModel().currentRowChanged.connect(self._on_row_changed)
        view.selectionModel().selectionChanged.connect(lambda *_: self.selection_changed.emit(view.selected_runs()))
        view.horizontalHeader().sectionResized.connect(self._on_resized)
        view.horizontalHeader().sectionMoved.connect(self._on_column_moved)
        reader.listed.connect(self._show_listing)
        reader.failed.connect(self.failed)
        reader.filled.connect(lambda number: self.refresh() if number else None)
        reader.unread.connect(bar.show_unread)

    # The layout
    def start(self) -> None:
        """Request the rows of the last used layout."""
        self._started = True
        self.show_layout(self.current_layout)
        self.reader.fill_configs()

    def show_layout(self, layout: TableLayout) -> None:
        """Apply a new layout: filter, order, grouping, columns."""
        self.current_layout = layout
        self._views.keep_current(layout)
        self.bar.show_layout(layout, self.bar.filter.catalogue)
        self._list_runs()

    def _list_runs(self) -> None:
        selected = self.view.selected_runs() if self.current_layout.only_differing else ()
        self.reader.list_runs(self.current_layout, selected, frozenset(self.model.open_groups), self._experiments)

    def list_experiments(self, experiments: frozenset[int] | None) -> None:
        """List the runs of these experiments; None lists all runs."""
        if experiments != self._experiments:
            self._experiments = experiments
            if self._started:
                self._list_runs()

    def refresh(self) -> None:
        """Read all rows again, since any run may have changed in the store."""
        self.model.forget_all()
        self._list_runs()

    def progressed(self, run_id: int) -> None:
        """Schedule an update of the row and position of a live run that has made progress."""
        self._stale.add(run_id)
        if not self._live_timer.isActive():
            self._live_timer.start()

    def _update_live_rows(self) -> None:
        if not self.isVisible():  # a hidden table is read again when shown
            return
        stale, self._stale = self._stale, set()
        self.model.forget(stale)
        if self.current_layout.filter or self.current_layout.sort or self.current_layout.group_by:
            self._list_runs()  # also reads metrics at a step
        elif self.model.listing is not None:
            self.reader.fill_steps(self.model.listing.fields())

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._stale:
            self._live_timer.start()

    def sort_by(self, name: str) -> None:
        """Sort by a field, or reverse the order if the table is already sorted by it."""
        self.show_layout(self.current_layout.sorted_by(name))

    def _show_listing(self, listing: Listing) -> None:
        if listing.error is not None:
            self.bar.filter.catalogue = listing.catalogue
            self.bar.filter.show_error(listing.error)
            self.bar.show_filter_error(str(listing.error))
            return
        current, selected = self._current, set(self.view.selected_runs())
        scroll_position = self.view.verticalScrollBar().value()
        self.bar.filter.show_error(None)
        self.bar.filter.values = listing.values
        self.bar.show_layout(
            self.current_layout, listing.catalogue, self.bar.filter.text() != self.current_layout.filter
        )
        with QSignalBlocker(self.view.selectionModel()):
            self.model.show_listing(listing)
        rows = self.model.rows
        self.bar.show_number(rows.total(), None if rows.groups is None else len(rows.groups))
        self._show_columns()
        if len(selected) > 1:
            self.view.select_runs(selected, current)
        elif current is not None:
            self.select_run(current)
        self.view.verticalScrollBar().setValue(scroll_position)
        self.reader.fill_steps(listing.fields())
        self._count_ticks()
        self.listed.emit(listing)

    def _show_columns(self) -> None:
        """Set the column widths and the arrow of the sort key."""
        header = self.view.horizontalHeader()
        with QSignalBlocker(header):
            for column, field in enumerate(self.model.fields):
                self.view.setColumnWidth(column, self.current_layout.widths.get(field.name, self._width(field)))
            first = self.current_layout.sort[0] if self.current_layout.sort else None
            sorted_by = [number for number, field in enumerate(self.model.fields) if first and field.name == first[0]]
            header.setSortIndicatorShown(bool(sorted_by))
            if sorted_by and first is not None:
                order = Qt.SortOrder.DescendingOrder if first[1] else Qt.SortOrder.AscendingOrder
                header.setSortIndicator(sorted_by[0], order)
        self.view.update_frozen_columns()

    def _width(self, field: Field) -> int:
        if field.name == NAME_COLUMN:
            return NAME_WIDTH
        title = self.view.fontMetrics().horizontalAdvance(title_of(field)) + 5 * SPACE
        min_width = 16 * SPACE if field.source is Source.METRIC else 11 * SPACE  # fits a mean with its interval
        return _WIDTHS.get(field.name, min(max(title, min_width), 28 * SPACE))

    def _on_resized(self, column: int, _old: int, new: int) -> None:
        if column < len(self.model.fields):
            name = self.model.fields[column].name
            self.current_layout = replace(self.current_layout, widths={**self.current_layout.widths, name: new})
            self._views.keep_current(self.current_layout)

    def _on_column_moved(self, _logical: int, _from: int, _to: int) -> None:
        """Transfer the order of dragged columns from the header to the layout."""
        header = self.view.horizontalHeader()
        order = [self.model.fields[header.logicalIndex(index)].name for index in range(len(self.model.fields))]
        QTimer.singleShot(0, self, partial(self._apply_order, order))

    def _apply_order(self, order: Sequence[str]) -> None:
        header = self.view.horizontalHeader()
        with QSignalBlocker(header):
            for index in range(header.count()):
                header.moveSection(header.visualIndex(index), index)
        hidden = [name for name in self.current_layout.columns if name not in order]
        self.show_layout(self.current_layout.with_columns([*order, *hidden]))

    def tick_group(self, group: int) -> None:
        """Tick the runs of a group, or untick them if all are ticked."""
        listing = self.model.listing
        if listing is None or listing.rows.groups is None:
            return
        head = listing.rows.groups[group]

        def tick(run_ids: list[int]) -> None:
            self.ticked.emit(run_ids, not all(run_id in self.model.ticks for run_id in run_ids))

        self.reader.run(lambda: self.reader.store.run_ids(listing.query, head), tick)

    # Menus
    def choose_columns(self, position: QPoint, metric: Field | None = None) -> None:
        """Open the column chooser; with ``metric``, at the choice of a step for this metric."""
        if self._chooser is None:
            self._chooser = ColumnChooser(self)
            self._chooser.changed.connect(
                lambda names: self.show_layout(self.current_layout.with_columns(names)),
                Qt.ConnectionType.QueuedConnection,
            )
        self._chooser.open(self.current_layout.columns, self.bar.filter.catalogue, position, self.bar.filter.values)
        if metric is not None:
            self._chooser.at_step.choose(metric)

    def _show_views(self, position: QPoint) -> None:
        menu = views_menu(self._views, self.current_layout, self.show_layout, self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(position)

    def _header_menu(self, column: int, position: QPoint) -> None:
        if not 0 <= column < len(self.model.fields):
            return
        field, layout = self.model.fields[column], self.current_layout
        menu = QMenu(self)
        menu.addAction("Sort").triggered.connect(lambda: self.sort_by(field.name))
        group_action = menu.addAction(
            "Group by this column" if field.source is not Source.METRIC else "Group by value ranges"
        )
        group_action.triggered.connect(
            lambda: self.show_layout(layout.grouped_by(*dict.fromkeys((*layout.group_by, field.name))))
        )
        if field.source is Source.METRIC:
            menu.addAction("At a step…").triggered.connect(lambda: self.choose_columns(position, field))
        if field.name != NAME_COLUMN:
            others = [name for name in layout.columns if name != field.name]
            menu.addAction("Hide column").triggered.connect(lambda: self.show_layout(layout.with_columns(others)))
        menu.addSeparator()
        menu.addAction("Columns…").triggered.connect(lambda: self.choose_columns(position))
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(position)

    def add_to_filter(self, text: str) -> None:
        """Add a condition to the filter; "" changes nothing."""
        if text:
            current_filter = self.current_layout.filter.strip()
            contains_or = re.search(r"\bor\b", current_filter, re.IGNORECASE)
            combined = f"({current_filter}) and {text}" if contains_or else f"{current_filter} {text}".strip()
            self.show_layout(replace(self.current_layout, filter=combined))

    def filter_text_of_cell(self) -> str:
        """The filter that matches runs with the current cell's value; "" for an empty cell."""
        index = self.view.currentIndex()
        cell = self.model.value(index)
        if not index.isValid() or cell is None or cell == []:
            return ""
        field = self.model.fields[index.column()]
        if isinstance(cell, list):
            return " ".join(f"tag:{_quoted(tag)}" for tag in cell)
        if isinstance(cell, bool):
            return f"{field.name} = {'true' if cell else 'false'}"
        if field.kind is Kind.TIME:
            return f"{field.name} = {_quoted(str(index.data()))}"  # compares the shown minute
        if isinstance(cell, (int, float)):
            return f"{field.name} {'=' if field.source is not Source.METRIC else '>='} {cell!r}"
        return f"{field.name} = {_quoted(str(cell))}"

    def copy(self) -> None:
        """Copy the selected rows with a header as tab-separated text."""
        columns = range(len(self.model.fields))
        lines = ["\t".join(title_of(field) for field in self.model.fields)]
        for row in self.view.selected_rows():
            lines.append("\t".join(str(self.model.index(row, column).data()) for column in columns))
        QGuiApplication.clipboard().setText("\n".join(lines))

    # Selection
    def _on_row_changed(self, *_: object) -> None:
        row = self.model.row(self.view.currentIndex())
        self._current = row.run_id if row is not None else None
        if self._current is not None and self._current != self._reported_run:
            self._reported_run = self._current
            self.run_chosen.emit(self._current)

    def select_run(self, run_id: int | None) -> None:
        """Make a run the current row if it is listed (None: no run), without emitting a signal."""
        self._reported_run = self._current = run_id
        row = self.model.row(self.view.currentIndex())
        current = row.run_id if row is not None else None
        if run_id is not None and current != run_id:
            self.view.select_run(run_id)
        elif run_id is None and current is not None:  # otherwise a click on the same run would change nothing
            self.view.selectionModel().clear()

    def set_ticks(self, run_ids: Iterable[int]) -> None:
        if (ticks := frozenset(run_ids)) != self.model.ticks:
            self.model.set_ticks(ticks)
            self._count_ticks()

    def _count_ticks(self) -> None:
        """Request the number of ticked runs of each group."""
        listing, ticks = self.model.listing, tuple(self.model.ticks)
        if listing is not None and listing.rows.groups is not None:
            self.reader.run(
                lambda: Counter(self.reader.store.group_keys(listing.query, ticks).values()), self.model.count_ticks
            )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
