"""The histogram and the table of the Clean panel by themselves: lines and bars, what cells say, what is chosen."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
import pytest
from PySide6.QtCore import QItemSelectionModel, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHeaderView, QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.panels.clean.histogram import BeliefHistogram
from sdgui.panels.clean.model import RankedPairs
from sdgui.panels.clean.table import PairsModel, PairsTable
from sdgui.widgets.late_parts import is_made
from sdgui.widgets.style.theme import theme
from tests.sdgui.panels.clean.cleaning import some_pairs


def test_the_histogram_counts_pairs_below_the_line_as_it_moves(qtbot: QtBot) -> None:
    make_application()
    host = QWidget()
    qtbot.addWidget(host)
    histogram = BeliefHistogram(host)
    host.show()
    moved: list[int] = []
    histogram.threshold_moved.connect(moved.append)
    bins, wrong = np.zeros(1000, np.int64), np.zeros(1000, np.int64)
    bins[[100, 500]], wrong[100] = (3, 1), 2
    histogram.set_bins(bins, None)
    qtbot.waitUntil(lambda: is_made(histogram, "_plot"))

    def bars() -> list[pg.BarGraphItem]:
        return [item for item in histogram._plot.getPlotItem().items if isinstance(item, pg.BarGraphItem)]

    assert "shuffled" not in histogram.legend.text()
    assert [np.flatnonzero(bar.opts["height"]).tolist() for bar in bars()] == [[5, 25]]
    assert bars()[0].opts["x"][5] == pytest.approx(0.11)
    assert bars()[0].opts["height"][5] == 3
    assert histogram._plot.viewRange()[1] == pytest.approx([-0.15, 3.15])
    assert histogram._plot.viewRange()[0] == pytest.approx([-0.01, 1.01])
    assert histogram._line.scene() is not None
    assert histogram._line.movable
    histogram.set_bins(bins, wrong)
    assert [int(bar.opts["height"].sum()) for bar in bars()] == [4, 2]
    assert bars()[1].opts["brush"] == theme().color("warning")
    assert "known to be shuffled" in histogram.legend.text()
    histogram.set_threshold(101)
    assert (histogram.box.value(), histogram._line.value(), moved) == (0.101, 0.101, [])
    assert histogram.accessibleDescription() == "3 of 4 pairs are below 0.101"
    histogram.set_threshold(100)
    assert histogram.accessibleDescription() == "0 of 4 pairs are below 0.100"
    histogram._line.setValue(0.6)
    assert (moved, histogram.box.value()) == ([600], 0.6)
    assert histogram.accessibleDescription() == "4 of 4 pairs are below 0.600"
    histogram.box.setValue(0.25)
    assert (moved, histogram._line.value()) == ([600, 250], 0.25)
    assert histogram.accessibleDescription() == "3 of 4 pairs are below 0.250"
    histogram._line.setValue(2.0)
    assert moved[-1] == 1000, "no further than the highest belief"
    histogram.box.setValue(-1.0)
    assert histogram.threshold() == 0


def test_the_table_shows_labels_and_colours_marks() -> None:
    make_application()
    model = PairsModel()
    assert (model.rowCount(), model.columnCount()) == (0, 6)
    answer = some_pairs(shuffled=1)
    answer["list"][0]["suggestion"] = "d"
    ranked = RankedPairs(answer, {("/b.png", "b"): True, ("/c.png", "c"): False})
    ranked.threshold, ranked.exclude_below = 150, True
    model.show_pairs(ranked, [0, 1, 2, 3])
    assert (model.rowCount(), model.columnCount()) == (4, 7)
    assert (model.rowCount(model.index(0, 0)), model.columnCount(model.index(0, 0))) == (0, 0)
    rows = [[model.index(row, column).data() for column in range(7)] for row in range(4)]
    assert rows == [
        ["1", "a", "d", "0.100", "0.900", "", "yes"],
        ["2", "b", "", "0.200", "0.800", "✗", "no"],
        ["3", "c", "", "0.400", "0.600", "✓", "no"],
        ["4", "d", "", "0.800", "–", "", ""],
    ]
    spoken = [model.index(row, 5).data(Qt.ItemDataRole.AccessibleTextRole) for row in range(4)]
    assert spoken == ["not marked", "marked mismatched", "marked correct", "not marked"]
    assert model.index(1, 4).data(Qt.ItemDataRole.AccessibleTextRole) is None
    ink = Qt.ItemDataRole.ForegroundRole
    look = theme()
    assert [model.index(row, 5).data(ink) for row in range(4)] == [
        look.color("muted"), look.color("error"), look.color("good"), None,
    ]  # fmt: skip
    assert [model.index(row, 1).data(ink) for row in range(4)] == [look.color("muted"), look.color("muted"), None, None]
    sides = [bool(model.index(0, column).data(Qt.ItemDataRole.TextAlignmentRole) & Qt.AlignmentFlag.AlignRight)
             for column in range(7)]  # fmt: skip
    assert sides == [True, False, False, True, True, False, False]
    assert model.index(0, 2).data(Qt.ItemDataRole.ToolTipRole) == "a\nSuggestion: d\n/a.png"
    heads = [model.headerData(column, Qt.Orientation.Horizontal) for column in range(7)]
    assert heads == ["Rank", "Caption", "Suggestion", "Match score", "P(clean)", "Mark", "Shuffled"]
    tip = model.headerData(0, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
    assert tip == "1 has the lowest match score"
    sides = [bool(model.headerData(column, Qt.Orientation.Horizontal, Qt.ItemDataRole.TextAlignmentRole)
             & Qt.AlignmentFlag.AlignRight) for column in range(5)]  # fmt: skip
    assert sides == [False, False, False, True, True], "the arrow of sorting stands on the right of the first"
    changed: list[tuple[int, int, int]] = []
    model.dataChanged.connect(lambda first, last, *_: changed.append((first.row(), last.row(), last.column())))
    model.marked([0, 1, 3])
    assert changed == [(0, 1, 6), (3, 3, 6)]
    model.show_pairs(RankedPairs(some_pairs(), {}), [2])
    assert (model.columnCount(), model.index(0, 1).data()) == (6, "c")


def test_the_table_announces_selection_and_sorting(qtbot: QtBot) -> None:
    make_application()
    table = PairsTable()
    qtbot.addWidget(table)
    table.resize(600, 300)
    table.show()
    selections, sorts = list[list[int]](), list[tuple[str, bool]]()
    table.chosen.connect(selections.append)
    table.sort_requested.connect(lambda key, descending: sorts.append((key, descending)))
    table.pairs.show_pairs(RankedPairs(some_pairs(shuffled=1), {}), range(4))
    head = table.horizontalHeader()
    modes = [head.sectionResizeMode(column) == QHeaderView.ResizeMode.Stretch for column in range(7)]
    assert modes == [False, True, True, False, False, False, False]
    assert head.sectionSize(0) < head.sectionSize(1)
    assert head.sectionSize(6) > head.sectionSize(0)
    table.set_chosen([0, 2], 2)
    assert sorted(index.row() for index in table.selectionModel().selectedRows()) == [0, 2]
    assert (table.currentIndex().row(), selections) == (2, [])
    table.set_chosen([1], -1)
    assert table.currentIndex().row() == 2
    table.selectRow(3)
    assert selections == [[3]]
    flags = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
    table.selectionModel().select(table.pairs.index(1, 0), flags)
    assert selections[-1] == [1, 3]
    table.setFocus()
    qtbot.keyClick(table, Qt.Key.Key_Up)
    assert selections[-1] == [2], "other keys are the table's own"
    assert table.sorting() == ("rank", False)
    assert head.sectionsClickable()
    for column in (1, 2, 4, 5, 6):
        head.setSortIndicator(column, Qt.SortOrder.DescendingOrder)
    assert sorts == [("caption", True), ("suggestion", True), ("right", True), ("mark", True), ("shuffled", True)]
    assert table.sorting() == ("shuffled", True)


def test_selected_rows_are_copied_in_order_one_per_line(qtbot: QtBot) -> None:
    make_application()
    table = PairsTable()
    qtbot.addWidget(table)
    table.pairs.show_pairs(RankedPairs(some_pairs(), {("/c.png", "c"): True}), range(4))
    table.set_chosen([2, 0], 2)
    qtbot.keyClick(table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    lines = [line.split("\t") for line in QGuiApplication.clipboard().text().split("\n")]
    assert lines == [["1", "a", "", "0.100", "0.900", ""], ["3", "c", "", "0.400", "0.600", "✗"]]
    qtbot.keyClick(table, Qt.Key.Key_Home)  # no Control is held any more
    QGuiApplication.clipboard().clear()
