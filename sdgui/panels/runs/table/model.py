"""The table's Qt model, which reads the cells of visible rows page by page.

Flow: ``Listing`` -> rows; ``data`` records which runs have no cells yet, and one request at a time reads their cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt, QTimer

from sdgui.panels.runs.table.cells import (
    Style,
    band_text,
    group_title,
    is_numeric,
    mean_text,
    style_of,
    text_of,
    tip_of,
    title_of,
)
from sdgui.panels.runs.table.layout import fields_of
from sdgui.panels.runs.table.reader import STATE, CellsOfRun, GroupKeys, Listing, TableReader
from sdgui.panels.runs.table.rows import Row, Rows
from sdgui.store.run_table.fields import Field, Source, fact
from sdgui.widgets.formats import count_with_unit
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import theme

Index = QModelIndex | QPersistentModelIndex
_PAGE_ROWS = 64  # rows loaded around a visible one
_CACHE_SIZE = 4000  # runs with cached cells
_DISPLAY, _ALIGN, _TIP = Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.TextAlignmentRole, Qt.ItemDataRole.ToolTipRole
_ACCESSIBLE, _ICON = Qt.ItemDataRole.AccessibleTextRole, Qt.ItemDataRole.DecorationRole
_CHECK = Qt.ItemDataRole.CheckStateRole
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
NAME = fact("name")
WAITING = "…"


class RunTableModel(QAbstractTableModel):
    """Rows are runs or groups, columns are fields; column 0 is the name."""

    def __init__(self, reader: TableReader, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._reader = reader
        self.rows = Rows()
        self.fields: list[Field] = [NAME]
        self.listing: Listing | None = None
        self._cells: dict[int, CellsOfRun] = {}  # run id -> cells, of the rows read so far
        self._keys: list[Field] = []  # the fields that runs are grouped by; their cells are loaded for group headings
        self._styles: list[Style] = [Style()]
        self._numeric_columns: set[int] = set()  # columns whose titles are right-aligned
        self._requested: dict[int, None] = {}  # runs whose cells the next request reads
        self._in_request: frozenset[int] = frozenset()  # the runs of the last request
        self.open_groups: set[GroupKeys] = set()  # groups that the user expanded, also while their runs are loading
        self.ticks: frozenset[int] = frozenset()  # ticked runs
        self._ticked_in: Mapping[GroupKeys, int] = {}  # group -> number of ticked runs
        self._request_timer = QTimer(self, singleShot=True, interval=0)
        self._request_timer.timeout.connect(self._read_requested)
        reader.cells_read.connect(self._store_cells)

    # Display
    def show_listing(self, listing: Listing) -> None:
        """Show a new listing; known cells are kept, and rows of the same runs and groups keep their state."""
        columns, keys = columns_of(listing), list(listing.query.group_by)
        if keys != self._keys:
            self.open_groups.clear()
        for number, group in enumerate(listing.rows.groups or ()):
            if listing.rows.is_open(number) and group.keys not in self.open_groups:  # collapsed in the meantime
                listing.rows.close_group(number)
        if columns == self.fields and keys == self._keys and listing.rows.same_layout(self.rows):
            self.rows, self.listing = listing.rows, listing
            self._restyle()
            self._cells_changed()
        else:
            self._reset(listing, columns, keys)
        for number, group in enumerate(self.rows.groups or ()):  # expanded in the meantime
            if group.keys in self.open_groups and not self.rows.is_open(number):
                self._read_group(listing, number)

    def _reset(self, listing: Listing, columns: list[Field], keys: list[Field]) -> None:
        self.beginResetModel()
        if columns != self.fields or keys != self._keys:
            self._cells.clear()
            self.fields, self._keys = columns, keys
            self._styles = [Style()] * len(columns)
        self.rows, self.listing = listing.rows, listing
        self._requested.clear()
        self._restyle()
        self.endResetModel()

    def forget(self, run_ids: Iterable[int]) -> None:
        """Discard the cells of changed runs, so that visible ones are read again."""
        for run_id in run_ids:
            if self._cells.pop(run_id, None) is not None or self._is_being_read(run_id):
                self._requested[run_id] = None
        if self._requested:
            self._request_timer.start()

    def forget_all(self) -> None:
        """Discard all cells, since any run may have changed."""
        self._cells.clear()
        self._in_request = frozenset()

    def set_ticks(self, run_ids: Iterable[int]) -> None:
        self.ticks = frozenset(run_ids)
        self._ticks_changed()

    def count_ticks(self, ticked_in: Mapping[GroupKeys, int]) -> None:
        """Set the number of ticked runs of each group, including collapsed groups."""
        self._ticked_in = ticked_in
        self._ticks_changed()

    def _ticks_changed(self) -> None:
        if len(self.rows):
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.rows) - 1, 0), [_CHECK])

    def color(self, index: Index) -> int | None:
        """The palette index of a run, or of a group's newest run; None if it is not loaded yet."""
        row = self.rows.at(index.row())
        run_id = row.run_id if row.run_id is not None else (self.rows.groups or [])[row.group or 0].newest
        cells = self._cells.get(run_id)
        return None if cells is None else cells.color

    def check_state(self, row: Row) -> Qt.CheckState:
        """Whether the curve of a run, or of all or some runs of a group, is ticked."""
        if row.run_id is not None:
            return Qt.CheckState.Checked if row.run_id in self.ticks else Qt.CheckState.Unchecked
        group = (self.rows.groups or [])[row.group or 0]
        ticked = self._ticked_in.get(group.keys, 0)
        if not ticked:
            return Qt.CheckState.Unchecked
        return Qt.CheckState.Checked if ticked == group.count else Qt.CheckState.PartiallyChecked

    def row(self, index: Index) -> Row | None:
        """The row (run or group) at an index; None if the index is invalid."""
        return self.rows.at(index.row()) if index.isValid() else None

    def value(self, index: Index) -> Any:
        """The value of a run's cell; None for groups and for cells that are not loaded yet."""
        row = self.row(index)
        cells = self._cells.get(row.run_id) if row is not None and row.run_id is not None else None
        return None if cells is None else cells.values[index.column()]

    # Groups
    def toggle_group(self, index: Index) -> None:
        row = self.row(index)
        if row is None or row.group is None or self.listing is None:
            return
        assert self.rows.groups is not None
        keys = self.rows.groups[row.group].keys
        if not self.rows.is_open(row.group):
            self.open_groups.add(keys)
            self._read_group(self.listing, row.group)
            return
        self.open_groups.discard(keys)
        head, children = self.rows.header_row(row.group), self.rows.child_count(row.group)
        self.beginRemoveRows(QModelIndex(), head + 1, head + children)
        self.rows.close_group(row.group)
        self.endRemoveRows()
        self._head_changed(head)

    def _read_group(self, listing: Listing, group: int) -> None:
        """Read the runs of a group, then insert their rows."""
        assert listing.rows.groups is not None
        store, group_row = self._reader.store, listing.rows.groups[group]
        self._reader.run(
            lambda: store.run_ids(listing.query, group_row), partial(self._insert_group, listing.rows, group)
        )

    def _insert_group(self, rows: Rows, group: int, run_ids: list[int]) -> None:
        if rows is not self.rows or rows.is_open(group) or not run_ids:
            return
        head = self.rows.header_row(group)
        self.beginInsertRows(QModelIndex(), head + 1, head + len(run_ids))
        self.rows.open_group(group, run_ids)
        self.endInsertRows()
        self._head_changed(head)

    def _head_changed(self, head: int) -> None:
        self.dataChanged.emit(self.index(head, 0), self.index(head, 0))

    # Overrides of Qt's methods
    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008  # Qt's own signature
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self.fields)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = int(_DISPLAY)) -> object:
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(self.fields):
            return None
        if role == _DISPLAY:
            return title_of(self.fields[section])
        if role == _TIP:
            return plain_tip(f"{tip_of(self.fields[section])}\nClick to sort; right-click for more.")
        if role == _ALIGN:
            return _RIGHT if section in self._numeric_columns else _LEFT
        return None

    def data(self, index: Index, role: int = int(_DISPLAY)) -> object:
        if role not in (_DISPLAY, _ALIGN, _TIP, _ACCESSIBLE, _ICON, _CHECK):
            return None
        row, column = self.rows.at(index.row()), index.column()
        field = self.fields[column]
        if role == _CHECK:
            return self.check_state(row) if column == 0 else None
        if role == _ALIGN:
            return _RIGHT if self._is_right(row, column) else _LEFT
        if role == _ICON:
            return self._icon(row, column) if field == STATE else None
        text = self._group_cell(row, column) if row.run_id is None else self._run_cell(row.run_id, column)
        if role == _TIP:
            return plain_tip(text) if len(text) > 12 or column == 0 else None
        return f"{title_of(field)}: {text}" if role == _ACCESSIBLE else text

    def painted_cell(self, row_number: int, column: int) -> tuple[str, bool, str]:
        """What a delegate paints: the text of a cell, whether it is right-aligned, and the run's state for an icon."""
        row, field = self.rows.at(row_number), self.fields[column]
        if row.run_id is None:
            return self._group_cell(row, column), self._is_right(row, column), ""
        cells = self._cells.get(row.run_id)
        state = str(cells.values[column]) if cells is not None and field == STATE else ""
        return self._run_cell(row.run_id, column), self._is_right(row, column), state

    def _run_cell(self, run_id: int, column: int) -> str:
        cells = self._cells.get(run_id)
        if cells is None:
            self._request_cells(run_id)
            return WAITING
        if column == 0:
            return cells.name
        if cells.folder_missing and self.fields[column] == STATE:
            return "folder missing"
        return text_of(self.fields[column], cells.values[column], self._styles[column])

    def _group_cell(self, row: Row, column: int) -> str:
        """The text of a group's cell: the common value of its runs, or their mean."""
        assert self.rows.groups is not None
        assert row.group is not None
        group, field = self.rows.groups[row.group], self.fields[column]
        if column == 0:
            return f"{self.group_title(row.group)} · {count_with_unit(group.count, 'run')}"
        if field in self._keys:
            cells = self._cells.get(group.newest)
            if cells is None:
                return ""
            value = cells.values[column]
            return band_text(field, value) if field.source is Source.METRIC else text_of(field, value, Style())
        mean = group.means.get(field.name)
        return "" if mean is None else mean_text(field, mean, self._styles[column])

    def group_title(self, group: int) -> str:
        """The title of a group: the common values of its runs."""
        assert self.rows.groups is not None
        newest = self.rows.groups[group].newest
        cells = self._cells.get(newest)
        if cells is None:
            self._request_cells(newest)
            return WAITING
        values = cells.values[len(self.fields) :]
        return group_title(self._keys, values, cells.name)

    def _is_right(self, row: Row, column: int) -> bool:
        """Whether a cell is right-aligned."""
        field = self.fields[column]
        if row.run_id is None:
            return bool(column) and field.kind is not None and is_numeric(field, None)
        cells = self._cells.get(row.run_id)
        return cells is not None and is_numeric(field, cells.values[column])

    def _icon(self, row: Row, column: int) -> object:
        cells = self._cells.get(row.run_id) if row.run_id is not None else None
        return None if cells is None else theme().state_icon(str(cells.values[column]))

    @property
    def is_loading(self) -> bool:
        """Whether requested cells are still being loaded."""
        return bool(self._requested) or self._request_timer.isActive()

    # Reading
    def _is_being_read(self, run_id: int) -> bool:
        return self._reader.reading and run_id in self._in_request

    def _request_cells(self, run_id: int) -> None:
        if self._is_being_read(run_id):  # painted again meanwhile
            return
        self._requested[run_id] = None
        if not self._request_timer.isActive():
            self._request_timer.start()

    def _read_requested(self) -> None:
        """Request a page around the visible rows. One request at a time, so that fast scrolling skips pages."""
        if not self._requested or self._reader.reading:
            return
        run_ids = list(self._requested)[-_PAGE_ROWS:]
        self._requested.clear()
        run_ids = list(dict.fromkeys([*run_ids, *self._missing_near(run_ids[-1])]))
        self._in_request = frozenset(run_ids)
        self._reader.read_cells(run_ids, [*self.fields, *self._keys])

    def _missing_near(self, run_id: int) -> list[int]:
        """The runs near ``run_id`` whose cells are not loaded yet."""
        row = self.rows.row_of(run_id)
        if row is None:
            return []
        near = (
            self.rows.at(position).run_id
            for position in range(max(0, row - _PAGE_ROWS // 2), min(len(self.rows), row + _PAGE_ROWS))
        )
        return [near_id for near_id in near if near_id is not None and near_id not in self._cells]

    def _store_cells(self, fields: Sequence[Field], cells: dict[int, CellsOfRun]) -> None:
        if list(fields) != [*self.fields, *self._keys]:  # read for columns that are no longer shown
            self._cells.clear()
        else:
            if len(self._cells) > _CACHE_SIZE:
                self._cells.clear()
            self._cells |= cells
            self._restyle()
        self._cells_changed()
        if self._requested:
            self._request_timer.start()

    def _cells_changed(self) -> None:
        if len(self.rows):
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.rows) - 1, len(self.fields) - 1), [_DISPLAY])

    def _restyle(self) -> None:
        """Recompute each column's decimals and the titles' alignment from a sample of the cells read so far."""
        recent = list(self._cells.values())[-512:]
        means = [group.means for group in (self.rows.groups or ())[:256]]
        styles = []
        for column, field in enumerate(self.fields):
            values = [cells.values[column] for cells in recent] if field.source is Source.METRIC else []
            values += [mean[field.name].mean for mean in means if field.name in mean]
            styles.append(style_of(field, values))
        self._styles = styles
        numeric_columns = set()
        for column, field in enumerate(self.fields):
            known_values = (cells.values[column] for cells in recent if cells.values[column] is not None)
            if is_numeric(field, next(known_values, None)):
                numeric_columns.add(column)
        if numeric_columns != self._numeric_columns:
            self._numeric_columns = numeric_columns
            self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, len(self.fields) - 1)


def columns_of(listing: Listing) -> list[Field]:
    """The fields of the columns: the name, then the layout's columns, or if requested, the differing settings."""
    fields = fields_of(listing.layout.columns, listing.catalogue)
    if listing.differing is not None:
        fields = [field for field in fields if field.source is not Source.SETTING]
        fields += fields_of(listing.differing, listing.catalogue)
    return [NAME, *dict.fromkeys(field for field in fields if field != NAME)]
