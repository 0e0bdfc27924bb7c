"""The histogram and the table of the Clean panel by themselves: lines and bars, what cells say, what is chosen."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.panels.clean.histogram import ScoreHistogram
from sdgui.panels.clean.model import RankedPairs
from sdgui.panels.clean.table import PairsTable
from sdgui.widgets.late_parts import is_made
from sdgui.widgets.style.theme import theme
from tests.sdgui.panels.clean.cleaning import some_pairs


def test_the_histogram_counts_pairs_below_the_line_as_it_moves(qtbot: QtBot) -> None:
    make_application()
    host = QWidget()
    qtbot.addWidget(host)
    histogram = ScoreHistogram(host)
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
    assert "marked as shuffled in the data" in histogram.legend.text()
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
    assert moved[-1] == 1000, "no further than the highest match score"
    histogram.box.setValue(-1.0)
    assert histogram.threshold() == 0


def test_suggestions_are_shown_when_there_are_some(qtbot: QtBot) -> None:
    make_application()
    table = PairsTable()
    qtbot.addWidget(table)
    answer = some_pairs()
    answer["list"][0]["suggestion"] = "d"
    table.pairs.show_pairs(RankedPairs(answer, {}), [3])
    assert not table.isColumnHidden(2), "whichever pairs are shown"
    table.pairs.show_pairs(RankedPairs(some_pairs(), {}), [3])
    assert table.isColumnHidden(2)


def test_selected_rows_are_copied_in_order_one_per_line(qtbot: QtBot) -> None:
    make_application()
    table = PairsTable()
    qtbot.addWidget(table)
    table.pairs.show_pairs(RankedPairs(some_pairs(), {("/c.png", "c"): True}), range(4))
    table.select_rows([2, 0], 2)
    qtbot.keyClick(table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    lines = [line.split("\t") for line in QGuiApplication.clipboard().text().splitlines()[1:]]
    assert lines == [["1", "a", "", "0.100", "0.900", ""], ["3", "c", "", "0.400", "0.600", "✗"]]
    qtbot.keyClick(table, Qt.Key.Key_Home)  # no Control is held any more
    QGuiApplication.clipboard().clear()
