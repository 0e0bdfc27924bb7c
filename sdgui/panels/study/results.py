"""A study's results as Qt models: means of every arm, and paired differences with intervals.

Flow: ``results.json`` -> ``means_table``, ``differences_table`` -> ``ResultsModel`` -> view, clipboard, file. Shares
are in per cent, as in ``results.md``. Negative and failed results are listed too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, QSortFilterProxyModel, Qt
from PySide6.QtWidgets import QTableView

from core.spec.run.metric_names import is_evaluation_share
from sdgui.panels.study.error_bars import Bar
from sdgui.panels.study.model import Cell, Table, interval_text
from sdgui.shared.tables import HeadedModel
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import theme

Index = QModelIndex | QPersistentModelIndex
SORT_ROLE = Qt.ItemDataRole.UserRole  # role of a cell's sort key
METRIC_ROLE = int(Qt.ItemDataRole.UserRole) + 1  # role of the metric that a cell is about
_MAX_LINE_LENGTH = 8  # characters; longer headings have two lines


def bars_of(results: Mapping[str, Any], metric: str, network: str, colors: Mapping[str, int]) -> list[Bar]:
    """The bars of ``metric``, without arms that lack it. ``colors``: arm -> palette index of its runs."""
    scale = 100.0 if is_evaluation_share(metric) else 1.0
    bars = []
    for index, (name, arm) in enumerate(results["arms"].items()):
        mean = arm["networks"].get(network, {}).get(metric)
        if mean is not None:
            low, high = (None if mean[end] is None else scale * mean[end] for end in ("low", "high"))
            values = tuple(scale * value for value in mean["values"])
            color = colors.get(name, index)
            bars.append(Bar(name, scale * mean["mean"], low, high, values, interval_text(metric, mean), color))
    return bars


def bars_title(bars: Sequence[Bar]) -> str:
    """What the bars show, as the end of the plot's title."""
    if not any(len(bar.values) > 1 for bar in bars):
        return ": one seed per arm"
    has_intervals = any(bar.low is not None for bar in bars)
    return ": means of seeds with 95 % intervals" if has_intervals else ": means of seeds"


class ResultsModel(HeadedModel):
    """A ``Table`` as a Qt model."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.table = Table((), (), (), ())

    def show_table(self, table: Table) -> None:
        self.beginResetModel()
        self.table = table
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008  # Qt's own signature
        return 0 if parent.isValid() else len(self.table.rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self.table.columns)

    def heading(self, column: int, role: int) -> object:
        if role == Qt.ItemDataRole.DisplayRole:
            return two_lines(self.table.columns[column])
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(self.table.tips[column]) or None
        if role == Qt.ItemDataRole.TextAlignmentRole and self.table.rows:
            return _alignment(self.table.rows[0][column])
        return None

    def data(self, index: Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> object:
        cell = self.table.rows[index.row()][index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return cell.text
        if role == SORT_ROLE:
            return cell.value if isinstance(cell.value, str) or not math.isnan(cell.value) else -math.inf
        if role == METRIC_ROLE:
            return self.table.metrics[index.column() if self.table.by_column else index.row()]
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(cell.tip) or None
        if role == Qt.ItemDataRole.ForegroundRole:
            return theme().color(cell.role) if cell.role else None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(cell)
        return None


def make_sortable(view: QTableView) -> ResultsModel:
    """Give ``view`` a model whose columns can be sorted; at first, its rows are in the order of the study."""
    model, proxy = ResultsModel(view), QSortFilterProxyModel(view)
    proxy.setSourceModel(model)
    proxy.setSortRole(int(SORT_ROLE))
    view.setSortingEnabled(True)
    view.setModel(proxy)
    view.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
    return model


def two_lines(heading: str) -> str:
    """A long ``heading`` broken before its last word (a unit belongs to it), since columns of numbers are narrow."""
    start, space, end = heading.removesuffix(", %").rpartition(" ")
    return (
        f"{start}\n{end}{heading[len(start + space + end) :]}" if start and len(heading) > _MAX_LINE_LENGTH else heading
    )


def _alignment(cell: Cell) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if cell.right else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter
