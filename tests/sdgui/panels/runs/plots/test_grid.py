"""The grid of plots: which plots there are, runs over all of them, linked axes, one maximised."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QFileDialog

from sdgui.panels.runs.plots.charts import chart_of, sort_charts
from sdgui.panels.runs.plots.grid import PlotGrid


@pytest.fixture
def grid(qtbot) -> PlotGrid:
    grid = PlotGrid()
    qtbot.addWidget(grid)
    grid.resize(900, 500)
    grid.set_run("r1", "first", 0)
    grid.set_run("r2", "second", 1)
    x = np.arange(1, 50)
    for key in ("r1", "r2"):
        grid.set_points(key, "train/loss", x, 1.0 / x)
        grid.set_points(key, "val/student/image_to_text_R@1", [10, 20], [0.1, 0.2])
        grid.set_points(key, "val/teacher/image_to_text_R@1", [10, 20], [0.15, 0.25])
    grid.show()
    qtbot.waitExposed(grid)
    qtbot.waitUntil(lambda: all(card.canvas is not None for card in grid._cards.values()), timeout=5000)
    return grid


def test_metrics_find_their_section_and_order() -> None:
    names = ["val/student/image_to_text_R@10", "val/teacher/image_to_text_R@5", "train/lr", "diag/kl",
             "train/contrastive", "train/loss", "custom", "val/student/image_to_text_R@5"]  # fmt: skip
    charts = sort_charts(chart_of(name) for name in names)
    assert [chart.id for chart in charts] == [
        "train/loss", "train/contrastive", "val/image_to_text_R@5", "val/image_to_text_R@10", "diag/kl", "train/lr",
        "custom",
    ]  # fmt: skip
    assert charts[2].kind == "share"
    assert charts[2].title == "Image → text R@5"
    assert [chart_of(f"val/student/{name}").kind for name in ("mean_recall", "top1")] == ["share", "share"]
    for metric, title in (
        ("system/gpu0_memory_gib", "GPU 0 memory (GiB)"),
        ("system/rank1/process_cpu_percent", "Rank 1 process CPU (%)"),
        ("system/disk_read_mb_per_s", "Disk read (MB/s)"),
    ):
        assert (chart_of(metric).section, chart_of(metric).title) == ("System", title)


def test_student_and_teacher_share_a_plot_and_validations_are_not_smoothed(grid: PlotGrid) -> None:
    assert grid.metrics() == ["train/loss", "val/image_to_text_R@1"]
    series = grid._cards["val/image_to_text_R@1"].canvas.series()  # type: ignore[union-attr]
    assert [curve.name for curve in series] == [
        "first, student",
        "first, teacher",
        "second, student",
        "second, teacher",
    ]
    assert [curve.style for curve in series][:2] == [Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine]
    assert [card.teacher_line.isVisible() for card in grid._cards.values()] == [False, True]
    grid.toolbar.smoothing.setValue(900)
    loss, recall = (next(iter(grid._cards[name].series.values())) for name in grid.metrics())
    assert not np.array_equal(loss.smoothed, loss.values)
    np.testing.assert_array_equal(recall.smoothed, recall.values)


def test_new_points_are_drawn_and_a_new_metric_gets_its_plot(grid: PlotGrid) -> None:
    loss = grid._cards["train/loss"].canvas
    assert loss is not None
    loss.redraw()
    grid.append("r1", "train/loss", 99, 0.5)
    assert loss._timer.isActive(), "it is drawn with its new point soon"
    grid.append("r1", "diag/teacher_entropy", 1, 6.9)
    assert "diag/teacher_entropy" in grid.metrics()
    with pytest.raises(KeyError):
        grid.append("nobody", "train/loss", 1, 1.0)


def click(grid: PlotGrid, row: int, x: int = 100, double: bool = False) -> None:
    """Click a row of the legend at ``x``; a double click is preceded by a click, as on a real screen."""
    viewport, rect = grid.legend.viewport(), grid.legend.visualItemRect(grid.legend.item(row))
    point = QPoint(rect.left() + x, rect.center().y())
    QTest.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=point)
    if double:
        position = QPointF(point)
        press = QMouseEvent(
            QEvent.Type.MouseButtonDblClick, position, viewport.mapToGlobal(position), Qt.MouseButton.LeftButton,
            Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier,
        )  # fmt: skip
        QApplication.sendEvent(viewport, press)


def test_hiding_and_removing_a_run(grid: PlotGrid) -> None:
    click(grid, 0)
    click(grid, 1, x=8)  # on the line
    click(grid, 1)
    for card in grid._cards.values():
        assert {series.group for series in card.series.values() if series.visible} == {"r2"}
    grid.append("r1", "train/contrastive", 1, 1.0)  # a hidden run stays hidden in new plots
    assert not next(iter(grid._cards["train/contrastive"].series.values())).visible
    grid.remove_run("r1")
    assert grid.runs() == ["r2"]
    assert all(series.group == "r2" for card in grid._cards.values() for series in card.series.values())


def test_solo_shows_one_run_and_then_all_again(grid: PlotGrid) -> None:
    def shown() -> set[str]:
        return {series.group for card in grid._cards.values() for series in card.series.values() if series.visible}

    click(grid, 1, double=True)
    assert shown() == {"r2"}
    grid.set_points("r1", "train/loss", [1, 2], [3.0, 4.0])  # replaced points stay hidden
    assert shown() == {"r2"}
    click(grid, 0, double=True)
    assert shown() == {"r1"}, "another run alone, not all"
    click(grid, 0, double=True)
    assert shown() == {"r1", "r2"}
    grid.legend.hovered.emit("r1")
    loss = grid._cards["train/loss"].canvas
    assert loss is not None
    assert loss._curves.highlighted == "r1"


def test_grouped_runs_are_one_curve_until_means_are_turned_off(grid: PlotGrid) -> None:
    means = grid.toolbar.means
    assert not means.isEnabled()
    grid.grouping.set_groups({"r1": "both", "r2": "both"})
    assert (means.isEnabled(), means.isChecked(), list(grid.legend._rows)) == (True, True, ["both"])
    grid.set_points("r2", "train/loss", np.arange(1, 50), 3.0 / np.arange(1, 50))

    def first_mean() -> float:
        grid.grouping._show_means()
        canvas = grid._cards["train/loss"].canvas
        assert canvas is not None
        (mean,) = canvas.series()
        return float(mean.values[0])

    assert first_mean() == 2.0
    grid.set_run_visible("r2", False)
    assert first_mean() == 1.0, "a run that is hidden does not count"
    grid.set_run_visible("r2", True)
    means.setChecked(False)
    assert list(grid.legend._rows) == ["r1", "r2"]
    grid.grouping.set_groups({"r1": "one", "r2": "two"})
    assert list(grid.legend._rows) == ["r1", "r2"], "they stay away"
    means.setChecked(True)
    assert list(grid.legend._rows) == ["one", "two"]
    grid.grouping.set_groups({})
    assert (means.isEnabled(), means.isChecked(), list(grid.legend._rows)) == (False, False, ["r1", "r2"])


def test_axes_are_linked(grid: PlotGrid, qtbot) -> None:
    loss, recall = (grid._cards[name].canvas for name in grid.metrics())
    assert loss is not None
    assert recall is not None
    qtbot.wait(20)
    for canvas in (loss, recall):
        canvas.redraw()
    assert recall.view_range()[0] == loss.view_range()[0]  # also while following
    loss.view_changed.emit(5.0, 9.0)
    assert recall.view_range()[0] == pytest.approx((5.0, 9.0))
    assert grid.toolbar.reset.isEnabled()
    grid.reset_view()
    recall.redraw()
    assert recall.view_range()[0][1] > 40
    assert not grid.toolbar.reset.isEnabled()
    loss.hovered.emit(7.0)
    assert recall._cross.isVisible()
    loss.hovered.emit(None)
    assert not recall._cross.isVisible()
    grid.set_points("r1", "train/loss", [1, 100], [2.0, 1.0], [1.0, 300.0])
    grid.set_points("r1", "val/student/image_to_text_R@1", [100], [0.5], [300.0])
    curves = [next(iter(card.series.values())) for card in grid._cards.values()]
    assert [curve.x("time").tolist() for curve in curves] == [[1.0, 300.0], [300.0]], "since the start of the run"


def test_one_plot_is_maximised_and_restored(grid: PlotGrid, qtbot) -> None:
    card = grid._cards["val/image_to_text_R@1"]
    grid.maximize("val/teacher/image_to_text_R@1")
    assert card.isVisible()
    assert not grid.page.isVisible()
    grid.maximize(None)
    qtbot.wait(20)
    assert grid.page.isVisible()
    assert card.isVisible()
    grid.maximize("val/teacher/image_to_text_R@1")
    grid.maximize("train/loss")
    loss = grid._cards["train/loss"]
    assert (loss.parent(), card.parent()) == (grid._maximized_page, grid.page.content), "one takes the other's place"
    grid.set_metrics(["val/student/image_to_text_R@1"])  # it goes away while it is maximised
    assert grid.page.isVisible()
    grid.set_metrics([])
    assert grid.empty.isVisible()


def test_log_time_and_export(grid: PlotGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid.toolbar.log.setChecked(True)
    grid.toolbar.x_mode.setCurrentIndex(1)
    for card in grid._cards.values():
        assert card.canvas is not None
        card.canvas.redraw()
    actions = {action.text().rpartition("(")[2][:3]: action for action in grid.toolbar.export_menu().actions()}
    typed = iter(["a.csv", "b", "b"])
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(tmp_path / next(typed)), ""))
    actions["CSV"].trigger()
    actions["CSV"].trigger()  # the suffix is added
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 49 + 2 * 2 * 2
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()
    actions["CSV"].trigger()  # the dialog asked about "b", not about the file that is there
    assert grid.message.text == f"Export failed: {tmp_path / 'b.csv'} already exists; choose another name."
