"""Plots pinned, folded, sought and maximised; the toolbar, the legend and the keys of the grid."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QApplication, QInputDialog, QMenu
from pytestqt.qtbot import QtBot

from sdgui.panels.runs.plots.arrangement import PINNED, SELECTION, Arrangement
from sdgui.panels.runs.plots.grid import PlotGrid

RECALL, LOSS, RATE = "val/student/mean_recall", "train/loss", "train/lr"


@pytest.fixture
def grid(qtbot: QtBot) -> PlotGrid:
    grid = PlotGrid()
    qtbot.addWidget(grid)
    grid.resize(1000, 900)
    for number, key in enumerate(("r1", "r2")):
        grid.set_run(key, f"run {key}", number)
        for metric in (LOSS, RATE, RECALL):
            grid.set_points(key, metric, np.arange(1, 9), 1.0 / np.arange(1, 9))
    grid.show()
    qtbot.waitExposed(grid)
    qtbot.waitUntil(lambda: all(card.canvas is not None for card in grid._cards.values()))
    return grid


def sections(grid: PlotGrid) -> list[tuple[str, list[str], bool]]:
    return [(part.title, [card.chart.id for card in part.cards], part.folded) for part in grid.page._sections]


def test_plots_are_pinned_folded_and_searched(qtbot: QtBot, grid: PlotGrid) -> None:
    received: list[Arrangement] = []
    grid.arranged.connect(received.append)
    before = [
        (SELECTION, ["val/mean_recall"], False), ("Losses", [LOSS], False), ("Speed and rates", [RATE], False)
    ]  # fmt: skip
    assert sections(grid) == before
    pin = grid._cards[RATE]._pin
    pin.click()
    assert sections(grid) == [before[0], (PINNED, [RATE], False), before[1]]
    assert (pin.isChecked(), grid._cards[LOSS]._pin.isChecked()) == (True, False)
    grid.page.lay_out()
    head = grid.page._heads["Losses"]
    head.click()
    assert sections(grid)[2] == ("Losses", [LOSS], True)
    assert grid._cards[LOSS].isHidden()
    assert sections(grid)[1] == (PINNED, [RATE], False), "what is pinned stays so"
    grid.page.lay_out()
    assert (head.text(), "Unfold Losses" in head.toolTip()) == ("Losses (1)", True)
    grid.toolbar.search.setText("LOSS total")
    assert sections(grid) == [("Losses", [LOSS], False)], "what is found is unfolded"
    grid.page.lay_out()
    assert (head.text(), head.isVisible()) == ("Losses", True)
    assert grid.page._heads[SELECTION].isHidden()
    grid.toolbar.search.clear()
    pin.click()
    head.click()
    assert sections(grid) == before
    last = received[-1]
    assert (last.pinned, last.folded, last.search, len(received)) == ((), frozenset(), "", 6)


def test_shortcuts_of_the_grid(qtbot: QtBot, grid: PlotGrid) -> None:
    loss = grid._cards[LOSS].canvas
    assert loss is not None
    grid.activateWindow()
    qtbot.waitUntil(grid.isActiveWindow)
    grid.legend.setFocus()

    def press(key: Qt.Key) -> None:
        qtbot.keyClick(grid.legend, key)

    press(Qt.Key.Key_L)
    assert (grid.toolbar.log.isChecked(), loss._curves.log) == (True, True)
    press(Qt.Key.Key_L)
    assert (grid.toolbar.log.isChecked(), loss._curves.log) == (False, False)
    loss.view_changed.emit(2.0, 3.0)
    assert grid.toolbar.reset.isEnabled()
    press(Qt.Key.Key_R)
    assert not grid.toolbar.reset.isEnabled()
    button = grid._cards[LOSS]._button
    grid.maximize(LOSS)
    assert (loss.wheel_needs_ctrl, "Restore (Esc)" in button.toolTip()) == (False, True)
    press(Qt.Key.Key_Escape)
    assert grid._maximized is None
    assert (loss.wheel_needs_ctrl, "Maximise Total loss" in button.toolTip()) == (True, True)


def test_metrics_are_combined_in_one_plot_and_separated_again(grid: PlotGrid) -> None:
    loss, rate = grid._cards[LOSS], grid._cards[RATE]
    assert loss.canvas is not None
    grid.arrange(Arrangement().combine(RATE, LOSS))
    assert [ids for _, ids, _ in sections(grid)] == [["val/mean_recall"], [LOSS]]
    assert rate.isHidden()
    assert loss._title.text() == "Total loss + Learning rate"
    grid.append("r1", RATE, [9], [0.5])
    styles = {(curve.group, curve.metric): curve.style for curve in loss.canvas.series()}
    solid, dotted = Qt.PenStyle.SolidLine, Qt.PenStyle.DotLine
    assert styles == {(run, title): style for run in ("r1", "r2") for title, style in
                      (("Total loss", solid), ("Learning rate", dotted))}  # fmt: skip
    names = [reading.name for reading in loss.canvas.readings(9.0)]
    assert "run r1 · Learning rate" in names
    assert [title for title, _ in grid.plots_to_export().frames] == ["Mean recall", "Total loss + Learning rate"]
    grid.remove_run("r2")
    assert {curve.group for curve in loss.canvas.series()} == {"r1"}
    grid.arrange(grid._arrangement.separate(LOSS))
    assert [ids for _, ids, _ in sections(grid)] == [["val/mean_recall"], [LOSS], [RATE]]
    assert {(curve.metric, curve.style) for curve in loss.canvas.series()} == {("Total loss", solid)}
    assert {curve.style for curve in rate.series.values()} == {solid}
    grid.arrange(grid._arrangement.combine(RATE, LOSS))
    grid.set_metrics([RATE])
    assert sections(grid) == [("Speed and rates", [RATE], False)], "without its host it has a plot"


def test_only_metrics_of_one_unit_are_combined_and_a_typed_range_is_shown(
    grid: PlotGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    def menu_of(metric: str) -> QMenu:
        grid._open_menu(metric, QPoint(5, 5))
        menu = QApplication.activePopupWidget()
        assert isinstance(menu, QMenu)
        menu.close()
        return menu

    def action(menu: QMenu, title: str) -> QAction:
        return next(action for action in menu.actions() if action.text() == title)

    combine = action(menu_of(LOSS), "Combine with").menu()
    assert isinstance(combine, QMenu)
    assert [entry.text() for entry in combine.actions()] == ["Learning rate"], "recall is in per cent"
    recall = grid._cards["val/mean_recall"].canvas
    assert recall is not None
    for typed in ("10 to 60", "60 to 10", "5 to 5", "5, 6", "0 to inf", "nan to 5"):
        monkeypatch.setattr(QInputDialog, "getText", lambda *_, typed=typed, **__: (typed, True))
        action(menu_of("val/mean_recall"), "Axis range…").trigger()
        recall.redraw()
        assert recall.view_range()[1] == pytest.approx((0.1, 0.6)), typed
        assert grid.message.isVisible() == (typed != "10 to 60"), typed
    grid.toolbar.log.setChecked(True)
    recall.redraw()
    assert recall.view_range()[1] == pytest.approx(np.log10([0.1, 0.6]))
    monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: ("", True))
    action(menu_of("val/mean_recall"), "Axis range…").trigger()
    assert grid._arrangement.ranges == {}
