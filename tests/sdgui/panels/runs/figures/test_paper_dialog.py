"""The dialog of figures and tables: what it takes from the plots, what is chosen in it, what it saves and remembers."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QSettings, Qt
from PySide6.QtWidgets import QApplication, QFileDialog, QListWidget
from pytestqt.qtbot import QtBot

from sdgui.panels.runs.figures.curves import PlotData, plot_data
from sdgui.panels.runs.figures.dialog import PaperDialog
from sdgui.panels.runs.figures.figure import FigureStyle
from sdgui.panels.runs.panel import RunsPanel
from sdgui.panels.runs.plots.grid import PlotGrid
from sdgui.widgets.style.colors import LIGHT

RECALL, LOSS, RATE = "val/student/mean_recall", "train/loss", "train/lr"


@pytest.fixture
def grid(qtbot: QtBot) -> PlotGrid:
    grid = PlotGrid()
    qtbot.addWidget(grid)
    grid.resize(1000, 400)
    for number, key in enumerate(("r1", "r2", "r3")):
        grid.set_run(key, f"run {number}", number)
        for metric in (LOSS, RATE, RECALL, "val/teacher/mean_recall"):
            grid.set_points(key, metric, np.arange(1, 9), (number + 1) / np.arange(10, 18))
    grid.show()
    qtbot.waitExposed(grid)
    qtbot.waitUntil(lambda: grid._cards["val/mean_recall"].canvas is not None)
    grid.page.lay_out()
    return grid


@pytest.fixture
def settings(tmp_path: Path) -> QSettings:
    return QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat)


def dialog_of(qtbot: QtBot, grid: PlotGrid, settings: QSettings) -> PaperDialog:
    dialog = PaperDialog(plot_data(grid), settings, grid)
    qtbot.addWidget(dialog)
    return dialog


def check(box: QListWidget, *titles: str) -> None:
    for row in range(box.count()):
        item = box.item(row)
        item.setCheckState(Qt.CheckState.Checked if item.text() in titles else Qt.CheckState.Unchecked)


def by_title(data: PlotData) -> dict[str, tuple[int, bool]]:
    return {plot.title: (len(plot.curves), plot.is_on_screen) for plot in data.plots}


def test_the_dialog_takes_the_plots_as_shown(grid: PlotGrid) -> None:
    grid.set_run_visible("r3", False)
    data = plot_data(grid)
    assert by_title(data) == {"Mean recall": (4, True), "Total loss": (2, False), "Learning rate": (2, False)}
    assert (data.entries, data.x_mode, data.log) == ({"r1": "run 0", "r2": "run 1"}, "step", False)
    recall = data.plots[0]
    assert {(curve.entry, curve.dashed, curve.color) for curve in recall.curves} == {
        (key, dashed, LIGHT.runs[number]) for number, key in enumerate(("r1", "r2")) for dashed in (False, True)
    }
    canvas = grid._cards["val/mean_recall"].canvas
    assert canvas is not None
    assert (recall.x_range, recall.y_range) == canvas.view_range()
    assert [column.title for column in recall.columns] == ["Mean recall (student)", "Mean recall (teacher)"]
    assert recall.columns[0].values == {"r1": [1 / 17], "r2": [2 / 17]}
    grid.toolbar.smoothing.setValue(900)
    loss = plot_data(grid).plots[1].curves[0]
    assert loss.raw is not None
    assert loss.raw[-1] == pytest.approx(1 / 17) != loss.y[-1]


def test_groups_are_means_with_bands_and_rows_of_several_runs(grid: PlotGrid) -> None:
    grid.grouping.set_groups({"r1": "one", "r2": "one", "r3": "two"})
    data = plot_data(grid)
    assert data.entries == {"one": "one", "two": "two"}
    recall = data.plots[0]
    assert [(curve.entry, curve.dashed, curve.band is not None) for curve in recall.curves] == [
        ("one", False, True), ("one", True, True), ("two", False, True), ("two", True, True)
    ]  # fmt: skip
    assert recall.columns[0].values == {"one": [1 / 17, 2 / 17], "two": [3 / 17]}


def test_the_saved_figure_matches_the_choices_and_the_style_is_remembered(
    qtbot: QtBot, grid: PlotGrid, settings: QSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialog = dialog_of(qtbot, grid, settings)
    qtbot.waitUntil(lambda: not dialog._preview_image.isNull())
    dialog.width_cm.setValue(17.5)
    dialog.legend.setCurrentIndex(dialog.legend.findData("below"))
    dialog.kind.setCurrentIndex(dialog.kind.findData("svg"))
    check(dialog.metrics, "Total loss", "Learning rate")
    check(dialog.runs, "run 1")
    dialog.x_to.setText("4")
    path = tmp_path / "figure.svg"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(path), ""))
    dialog.save.click()
    qtbot.waitUntil(lambda: dialog.bar.isVisibleTo(dialog))
    words = ["".join(text.itertext()) for text in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]
    assert {"Total loss", "Learning rate", "run 1"} <= set(words)
    assert "Mean recall (%)" not in words
    assert "run 0" not in words
    assert [plot.x_range[1] for plot in dialog.chosen().plots if plot.x_range] == [4.0] * 2
    again = dialog_of(qtbot, grid, settings)
    assert again.style_of_figure() == FigureStyle(width=17.5, legend="below", kind="svg")
    assert [plot.title for plot in again.chosen().plots] == ["Mean recall"], "metrics are those on screen now"


def test_a_typed_range_applies_to_its_metric_in_the_unit_of_its_axis(
    qtbot: QtBot, grid: PlotGrid, settings: QSettings
) -> None:
    dialog = dialog_of(qtbot, grid, settings)
    check(dialog.metrics, "Mean recall", "Total loss")
    qtbot.keyClicks(dialog.y_from, "10")
    qtbot.keyClicks(dialog.y_to, "60")
    dialog.metrics.setCurrentRow(1)
    assert dialog.y_from.text() == ""
    assert [plot.y_range for plot in dialog.chosen().plots] == [(0.1, 0.6), None]
    dialog.log.setChecked(True)
    dialog.metrics.setCurrentRow(0)
    assert dialog.y_from.text() == "10"
    dialog.y_from.clear()
    qtbot.keyClicks(dialog.y_from, "0")
    assert dialog.chosen().plots[0].y_range is None, "zero is on no log axis"
    check(dialog.metrics)
    assert not dialog.save.isEnabled()
    assert not dialog.copy.isEnabled()


def test_the_table_shows_the_selected_runs_and_is_copied(qtbot: QtBot, grid: PlotGrid, settings: QSettings) -> None:
    dialog = dialog_of(qtbot, grid, settings)
    check(dialog.runs, "run 0", "run 2")
    dialog.copy.click()
    text = QApplication.clipboard().text()
    assert text.startswith("% Last value of each run")
    assert r"run 2 & $\mathbf{17.6}$ & $\mathbf{17.6}$ \\" in text
    assert "run 1" not in text
    dialog.markup.setCurrentIndex(1)
    assert "| run 0 | 5.9 | 5.9 |" in dialog.text.toPlainText()


def test_the_dialog_opens_from_the_export_menu(panel: RunsPanel) -> None:
    plots = panel.tabs.view.grid
    plots.set_run("r1", "a run")
    plots.set_points("r1", LOSS, [1, 2], [3, 4])
    action = next(entry for entry in plots.toolbar.export_menu().actions() if entry.text() == "Figure for a paper…")
    action.trigger()
    dialog = panel.findChild(PaperDialog)
    assert dialog is not None
    assert [plot.title for plot in dialog.chosen().plots] == ["Total loss"]
    dialog.close()
