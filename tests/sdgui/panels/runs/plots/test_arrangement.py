"""Plots pinned, folded, sought and maximised; the toolbar, the legend and the keys of the grid."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QApplication, QInputDialog, QMenu
from pytestqt.qtbot import QtBot

from sdgui.panels.runs.plots.arrangement import PINNED, SELECTION, Arrangement
from sdgui.panels.runs.plots.grid import PlotGrid
from sdgui.panels.runs.plots.legend import PlotLegend
from sdgui.panels.runs.plots.toolbar import PlotToolbar

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
    assert (last.pinned, last.folded, last.words, len(received)) == ((), frozenset(), "", 6)


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
    grid.maximize(LOSS)
    press(Qt.Key.Key_Escape)
    assert grid._maximized is None


def test_a_plots_menu_maximises_it_and_shows_everything(grid: PlotGrid) -> None:
    loss = grid._cards[LOSS].canvas
    assert loss is not None

    def choose(title: str) -> None:
        loss.menu_requested.emit(QPoint(5, 5))
        menu = QApplication.activePopupWidget()
        assert isinstance(menu, QMenu)
        next(action for action in menu.actions() if action.text() == title).trigger()
        menu.close()

    choose("Maximise")
    assert grid._maximized == LOSS
    loss.view_changed.emit(2.0, 3.0)
    choose("Show all")
    assert not grid.toolbar.reset.isEnabled()
    assert grid._maximized == LOSS


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
    assert [title for title, _ in grid.shown().frames] == ["Mean recall", "Total loss + Learning rate"]
    grid.remove_run("r2")
    assert {curve.group for curve in loss.canvas.series()} == {"r1"}
    grid.arrange(grid._arranged.separate(LOSS))
    assert [ids for _, ids, _ in sections(grid)] == [["val/mean_recall"], [LOSS], [RATE]]
    assert {(curve.metric, curve.style) for curve in loss.canvas.series()} == {("Total loss", solid)}
    assert {curve.style for curve in rate.series.values()} == {solid}
    grid.arrange(grid._arranged.combine(RATE, LOSS))
    grid.set_metrics([RATE])
    assert sections(grid) == [("Speed and rates", [RATE], False)], "without its host it has a plot"


def test_only_metrics_of_one_unit_are_combined_and_a_typed_range_is_shown(
    grid: PlotGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    def menu_of(metric: str) -> QMenu:
        grid._menu(metric, QPoint(5, 5))
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
    for typed, shown in (("10 to 60", (0.1, 0.6)), ("60 to 10", (0.1, 0.6)), ("5, 6", (0.1, 0.6))):
        monkeypatch.setattr(QInputDialog, "getText", lambda *_, typed=typed, **__: (typed, True))
        action(menu_of("val/mean_recall"), "Axis range …").trigger()
        recall.redraw()
        assert recall.view_range()[1] == pytest.approx(shown), typed
        assert grid.message.isVisible() == (typed != "10 to 60"), typed
    grid.set_log(True)
    recall.redraw()
    assert recall.view_range()[1] == pytest.approx(np.log10([0.1, 0.6]))
    monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: ("", True))
    action(menu_of("val/mean_recall"), "Axis range …").trigger()
    assert grid._arranged.ranges == {}


def test_the_wheel_zooms_a_maximised_plot_and_scrolls_otherwise(grid: PlotGrid) -> None:
    card = grid._cards[LOSS]
    assert card.canvas is not None
    for maximised, needs, tip in ((LOSS, False, "Restore (Esc)"), (None, True, "Maximise Total loss")):
        grid.maximize(maximised)
        assert card.canvas._wheel_needs_ctrl is needs
        assert tip in card._button.toolTip()


def test_a_lazily_drawn_plot_is_like_the_others(qtbot: QtBot, grid: PlotGrid) -> None:
    grid.set_log(True)
    grid.set_smoothing(0.5)
    grid.set_x_mode("time")
    loss = grid._cards[LOSS].canvas
    assert loss is not None
    loss.view_changed.emit(2.0, 3.0)
    grid.append("r1", "train/contrastive", 1, 1.0)
    grid.append("r1", "val/student/top1", 1, 1.0)
    late = [grid._cards[metric] for metric in ("train/contrastive", "val/top1")]
    for card in late:
        grid._seen(card)
        assert card.canvas is not None
        assert (card.canvas._curves.log, card.canvas._curves.x_mode) == (True, "time")
        assert card.canvas.view_range()[0] == pytest.approx((2.0, 3.0))
    assert [card.canvas._curves.smooth for card in late if card.canvas is not None] == [True, False]
    for metric in (LOSS, RECALL):
        grid.set_x_mode("step")
        assert grid._view is None, metric


def test_the_current_step_is_marked_again_when_the_mouse_leaves(grid: PlotGrid) -> None:
    loss, rate = grid._cards[LOSS].canvas, grid._cards[RATE].canvas
    assert loss is not None
    assert rate is not None
    grid.pin_step(4)
    assert (loss._cross.isVisible(), loss._cross.value()) == (True, 4.0)
    loss.hovered.emit(6.0)
    assert (rate._cross.value(), loss._cross.value()) == (6.0, 4.0), "the one under the mouse marks its own"
    loss.hovered.emit(None)
    assert (rate._cross.value(), loss._cross.value()) == (4.0, 4.0)
    grid.set_x_mode("time")
    grid.pin_step(4)
    assert not loss._cross.isVisible(), "a step is no time"
    grid.set_x_mode("step")
    grid.pin_step(None)
    assert not loss._cross.isVisible()


def test_points_and_hidden_runs_of_the_grid(qtbot: QtBot, grid: PlotGrid) -> None:
    steps, values = grid.points("r1", LOSS)
    assert (steps.tolist(), values[1]) == (list(range(1, 9)), 0.5)
    assert [len(point) for point in grid.points("r1", "diag/unknown")] == [0, 0]
    assert [len(point) for point in grid.points("nobody", LOSS)] == [0, 0]
    grid.set_points("r2", LOSS, [1, 500], [1.0, 2.0])
    loss = grid._cards[LOSS].canvas
    assert loss is not None
    qtbot.waitUntil(lambda: loss._shared_extent == (1.0, 500.0))
    grid.set_run_visible("r2", False)
    qtbot.waitUntil(lambda: loss._shared_extent == (1.0, 8.0))
    assert grid.legend._rows["r2"].checkState() == Qt.CheckState.Unchecked
    assert {card_id for card_id, _ in grid.shown().curves} == {LOSS, RATE, "val/mean_recall"}
    assert {curve.group for _, curve in grid.shown().curves} == {"r1"}
    loss.redraw()
    grid.set_run("r2", "renamed", 3)
    assert loss._timer.isActive(), "it is drawn in its new colour soon"
    assert grid.legend._rows["r2"].text() == "renamed"
    assert {
        series.visible for card in grid._cards.values() for series in card.series.values() if series.group == "r2"
    } == {False}
    grid.set_run_visible("r2", True)
    qtbot.waitUntil(lambda: loss._shared_extent == (1.0, 500.0))
    grid.remove_run("nobody")
    grid.remove_run("r2")
    qtbot.waitUntil(lambda: loss._shared_extent == (1.0, 8.0))
    assert grid.legend.keys() == ["r1"]


def test_a_group_is_shown_hidden_and_alone_with_all_of_its_runs(grid: PlotGrid) -> None:
    grid.set_run("r3", "third", 2)
    grid.set_points("r3", LOSS, [1, 2], [1.0, 2.0])
    received: list[tuple[object, ...]] = []
    grid.run_visibility_changed.connect(lambda *args: received.append(args))
    grid.grouping.set_groups({"r1": "both", "r2": "both", "r3": "other", "gone": "both"})
    assert grid.grouping.members("both") == ["r1", "r2"]
    grid.legend.toggled.emit("both", False)
    assert received == [("r1", False), ("r2", False)]
    grid.legend.soloed.emit("both")
    assert received[2:] == [("r1", True), ("r2", True), ("r3", False)]
    due = grid.grouping._timer
    for change in (
        lambda: grid.append("r3", LOSS, 3, 1.5),
        lambda: grid.set_run_visible("r3", True),
        lambda: grid.set_x_mode("time"),
    ):
        due.stop()
        change()
        assert due.isActive(), "means are recomputed"
    grid.set_run_visible("r3", False)
    grid.toolbar.means.setChecked(False)
    due.stop()
    grid.append("r3", LOSS, 4, 1.5)
    assert not due.isActive()
    assert grid.grouping.members("r3") == ["r3"]
    assert grid.legend._rows["r3"].checkState() == Qt.CheckState.Unchecked


def test_the_legend_reports_hover_clicks_and_keys(qtbot: QtBot) -> None:
    legend = PlotLegend()
    qtbot.addWidget(legend)
    heard: list[tuple[object, ...]] = []
    legend.hovered.connect(lambda *args: heard.append(("hovered", *args)))
    legend.toggled.connect(lambda *args: heard.append(("toggled", *args)))
    legend.soloed.connect(lambda *args: heard.append(("soloed", *args)))
    for number, key in enumerate("ab"):
        legend.set_entry(key, f"run {key}", number)
    legend.show()
    legend.set_shown("a", False)
    legend.set_shown("nobody", False)
    legend.set_entry("a", "first", 0)
    assert legend.item(0).checkState() == Qt.CheckState.Unchecked, "a new name keeps its state"
    assert (heard, legend.item(0).text()) == ([], "first")
    legend.itemEntered.emit(legend.item(1))
    legend.itemDoubleClicked.emit(legend.item(1))
    QApplication.sendEvent(legend, QEvent(QEvent.Type.Leave))
    assert heard == [("hovered", "b"), ("soloed", "b"), ("hovered", "")]
    legend.setCurrentRow(0)
    qtbot.keyClick(legend, Qt.Key.Key_Space)
    qtbot.keyClick(legend, Qt.Key.Key_Space)
    assert heard[3:] == [("hovered", "a"), ("toggled", "a", True), ("toggled", "a", False)]
    qtbot.mouseClick(legend.viewport(), Qt.MouseButton.LeftButton, pos=legend.visualItemRect(legend.item(1)).center())
    assert heard[-1] == ("toggled", "b", False)
    qtbot.keyClick(legend, Qt.Key.Key_Up)
    assert (legend.currentRow(), heard[-1]) == (0, ("hovered", "a"))
    legend.clearFocus()
    legend.resize(200, 200)
    off = legend.grab().toImage()
    row, x = legend.visualItemRect(legend.item(0)).center().y(), legend.viewport().width() - 4
    assert off.pixel(x, row) == off.pixel(x, 190), "a row that nobody points at is not highlighted"
    legend.set_shown("b", True)
    on = legend.grab().toImage()
    assert on != off, "what is hidden is pale"
    legend.set_entry("b", "run b", 5)
    assert legend.grab().toImage() != on, "in its colour"
    legend.remove("nobody")
    legend.remove("a")
    assert (legend.keys(), legend.count(), legend.item(0).text()) == (["b"], 1, "run b")
    legend.clear()
    assert (legend.keys(), legend.count()) == ([], 0)
    legend.set_entry("b", "again", 0)
    assert legend.item(0).checkState() == Qt.CheckState.Checked


def test_the_toolbar_shows_the_smoothing_weight_and_reports_changes(qtbot: QtBot) -> None:
    toolbar, heard = PlotToolbar(), list[object]()
    qtbot.addWidget(toolbar)
    for signal in (
        toolbar.smoothing_changed, toolbar.log_changed, toolbar.x_mode_changed, toolbar.searched, toolbar.means_changed
    ):  # fmt: skip
        signal.connect(heard.append)
    toolbar.reset_requested.connect(lambda: heard.append("reset"))
    toolbar.export_requested.connect(lambda row: heard.append(row.title))
    for weight, text in ((0.6, "0.60"), (0.99, "0.99"), (0.995, "0.995")):
        toolbar.set_smoothing(weight)
        assert toolbar._weight.text() == text
    toolbar.log.click()
    toolbar.set_x_mode("time")
    assert toolbar.mode == "time"
    toolbar.search.setText("loss")
    assert (toolbar.reset.isEnabled(), toolbar.means.isEnabled()) == (False, False)
    toolbar.reset.setEnabled(True)
    toolbar.reset.click()
    toolbar.means.setEnabled(True)
    toolbar.means.click()
    assert heard == [0.6, 0.99, 0.995, True, "time", "loss", "reset", True]
    toolbar.show()
    toolbar.export.click()
    menu = QApplication.activePopupWidget()
    assert isinstance(menu, QMenu)
    assert menu.toolTipsVisible()
    first = menu.actions()[0]
    first.trigger()
    menu.close()
    assert heard[-1] == first.text()
