"""The plot as it is drawn: spikes by looking at pixels, gaps, log, hover, following, export."""

from __future__ import annotations

import csv
import gc
import re
import sys
from pathlib import Path

import numpy as np
import numpy.ma  # drawing loads it only once a curve has some 400 points: its own references to None would be counted
import pytest
from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QApplication

from sdgui.panels.runs.plots.canvas import PlotCanvas
from sdgui.panels.runs.plots.export import ShownPlots, save_csv, save_figure
from sdgui.panels.runs.plots.series import Series


@pytest.fixture
def plot(qtbot) -> PlotCanvas:
    plot = PlotCanvas()
    qtbot.addWidget(plot)
    plot.resize(680, 420)
    plot.show()
    qtbot.waitExposed(plot)
    return plot


def curve(plot: PlotCanvas, key: str, x, y, *, name: str = "", color: int | QColor = 0, times=None) -> Series:
    series = Series(key, name, color)
    series.replace(x, y, times)
    plot.put(series)
    return series


def draw(plot: PlotCanvas) -> QImage:
    plot.redraw()
    return plot.grab().toImage()


def rows_of(image: QImage, color: QColor) -> set[int]:
    """Pixel rows that hold the colour."""
    image = image.convertToFormat(QImage.Format.Format_RGB32)
    pixels = np.frombuffer(image.constBits(), np.uint32).reshape(image.height(), -1)[:, : image.width()]
    return set(np.flatnonzero((pixels == color.rgb()).any(axis=1)).tolist())


RED, BLUE = QColor("#ff0000"), QColor("#0000ff")


@pytest.mark.parametrize("spike", [1, 77_777])
@pytest.mark.parametrize("log", [False, True])
def test_a_spike_of_one_point_in_100000_is_visible(plot: PlotCanvas, spike: int, log: bool) -> None:
    y = np.full(100_000, 1.0)
    y[spike] = 10.0
    plot.set_log(log)
    curve(plot, "a", np.arange(100_000), y, color=RED)
    rows = rows_of(draw(plot), RED)
    assert max(rows) - min(rows) > 300  # from the bottom of the plot to its top, without a hole
    assert len(rows) > 0.9 * (max(rows) - min(rows))


def test_a_gap_has_no_line_and_marks_non_finite_values(plot: PlotCanvas) -> None:
    y = np.ones(1000)
    y[400:600] = np.inf
    curve(plot, "a", np.arange(1000), y, color=RED)
    image = draw(plot)
    box = plot._box.sceneBoundingRect()
    middle = int(box.center().x())
    column = {image.pixel(middle, row) for row in range(int(box.center().y()) - 20, int(box.center().y()) + 20)}
    assert RED.rgb() not in column
    marks = rows_of(image, RED)
    assert min(marks) < box.top() + 12  # the marks at the top edge


def test_a_log_scale_without_positive_values_works(plot: PlotCanvas, qtbot) -> None:
    plot.set_log(True)
    curve(plot, "a", np.arange(100), -np.ones(100), color=RED)
    draw(plot)
    assert "100 values" in plot._note.text()
    curve(plot, "b", [], [], color=BLUE)
    draw(plot)
    curve(plot, "c", np.arange(100), np.full(100, np.nan), color=BLUE)
    draw(plot)


def test_the_readout_follows_the_mouse(plot: PlotCanvas, qtbot) -> None:
    curve(plot, "a", [0, 10, 20], [1, 2, 3], name="first", color=RED)
    draw(plot)
    plot._on_mouse_moved(plot._box.sceneBoundingRect().center())
    assert plot._readout.isVisible()
    with qtbot.waitSignal(plot.hovered) as signal:
        QApplication.sendEvent(plot._view.viewport(), QEvent(QEvent.Type.Leave))
    assert signal.args == [None]
    assert not plot._readout.isVisible()
    inside, places = plot._box.sceneBoundingRect().center(), list[float | None]()
    plot.hovered.connect(places.append)
    for gone in (QPointF(-9, -9), inside):
        plot._on_mouse_moved(inside)
        assert plot._readout.isVisible()
        if gone is inside:
            plot.replace([])
        plot._on_mouse_moved(gone)
        assert not plot._readout.isVisible(), "beside the curves, or without any"
        assert places[-1] is None


def test_the_view_follows_data_until_zoomed_and_after_reset(plot: PlotCanvas, qtbot) -> None:
    series = curve(plot, "a", [0, 10], [1, 2])
    draw(plot)
    with qtbot.waitSignal(plot.zoomed) as signal:
        plot._box.wheelEvent(_Wheel(plot))
    assert signal.args == [True]
    series.append(1000, 5.0)
    draw(plot)
    assert plot.view_range()[0][1] < 100
    with qtbot.waitSignal(plot.zoomed) as signal:
        plot.follow()
    assert signal.args == [False]
    draw(plot)
    assert plot.view_range()[0][1] > 1000


class _Wheel:
    """What pyqtgraph's view box needs of a wheel event."""

    def __init__(self, plot: PlotCanvas) -> None:
        self._position = plot._box.rect().center()

    def delta(self) -> int:
        return 120

    def pos(self):
        return self._position

    def accept(self) -> None: ...


def test_many_changes_are_one_redraw(plot: PlotCanvas, qtbot) -> None:
    series = curve(plot, "a", [0], [1.0])
    draws: list[int] = []
    plot.redrawn.connect(lambda: draws.append(1))
    with qtbot.waitSignal(plot.redrawn, timeout=2000):
        for i in range(200):
            series.append(i, i)
            plot.refresh()
    qtbot.wait(120)
    assert len(draws) <= 3


def test_png_svg_and_csv_exports(plot: PlotCanvas, tmp_path: Path) -> None:
    series = curve(plot, "a", [1, 2, 3], [1.5, np.nan, 2.5], name="run, a", color=RED, times=[7.0, 8.0, 9.0])
    series.set_weight(0.5)
    plot.set_smooth(True)
    curve(plot, "b", [1, 3], [1.0, 2.0], color=BLUE).style = Qt.PenStyle.DashLine
    draw(plot)
    save_csv([("Loss", series)], str(tmp_path / "a.csv"))
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["curve"], row["step"], row["value"], row["time"]) for row in rows] == [
        ("run, a", "1", "1.5", "7.0"), ("run, a", "2", "nan", "8.0"), ("run, a", "3", "2.5", "9.0"),
    ]  # fmt: skip
    save_csv([("Loss", plot.series()[1])], str(tmp_path / "b.csv"))
    assert (tmp_path / "b.csv").read_text().splitlines()[1] == "b,Loss,1,,1.0,1.0", "no time is known"
    assert float(rows[2]["smoothed"]) == pytest.approx((0.5 * 1.5 * 0.5 + 0.5 * 2.5) / 0.75)
    plots = ShownPlots([], [("Loss", plot)], [])
    save_figure(plots, str(tmp_path / "a.png"), "png")
    assert QImage(str(tmp_path / "a.png")).width() >= 2 * plot.width()
    save_figure(plots, str(tmp_path / "a.svg"), "svg")
    text = (tmp_path / "a.svg").read_text()
    assert "#0000ff" in text
    assert "stroke-dasharray" in text
    assert re.search(r'<svg width="[\d.]+mm" height="[\d.]+mm"\s+viewBox="0 0 \d+ \d+"', text)
    assert "polyline" in text or "path" in text
    plot.show_x(1.5, 2.5)
    draw(plot)
    save_figure(plots, str(tmp_path / "near.svg"), "svg")
    lines = re.findall(r'points="([^"]+)"', (tmp_path / "near.svg").read_text())
    ends = [float(pair.split(",")[0]) for pair in " ".join(lines).split()]
    assert max(ends) <= plot.width(), "no line leaves the plot"
    assert min(ends) >= -1
    with pytest.raises(OSError, match=r"No such file.*nowhere/a.png"):
        save_figure(plots, str(tmp_path / "nowhere" / "a.png"), "png")


def test_no_reference_to_none_is_leaked(qtbot, qapp: QApplication) -> None:
    """PySide6 6.12 loses one with each void call on Python 3.11 and ends the process after minutes of plotting."""
    canvas = PlotCanvas()
    qtbot.addWidget(canvas)
    canvas.resize(240, 160)
    canvas.show()
    curves = [Series("a", color=0), Series("b", color=1)]
    for curve in curves:
        curve.set_weight(0.5)
        canvas.put(curve)
    canvas.set_smooth(True)

    def update(step: int) -> None:
        for curve in curves:
            curve.append(step, 1.0 / (1 + step))
        canvas.redraw()
        canvas.grab()
        if step % 50 == 0:
            qapp.processEvents()

    def references() -> int:
        gc.collect()
        return sys.getrefcount(None)

    for step in range(50):
        update(step)
    before = references()
    for step in range(50, 90):
        update(step)
    assert abs(references() - before) < 100  # each redraw has several void calls; other threads hold a few meanwhile


def test_panning_one_axis_keeps_the_other_automatic(plot: PlotCanvas) -> None:
    series = curve(plot, "a", [0, 10], [1, 2])
    draw(plot)
    plot._on_user_moved(True, False)  # x is the user's now
    series.append(1000, 3.0)
    curve(plot, "b", [1, 9], [500, 500])
    draw(plot)
    (_, right), (_, top) = plot.view_range()
    assert right < 100
    assert top > 400
    plot._on_user_moved(False, True)
    curve(plot, "c", [1, 9], [9000, 9000])
    draw(plot)
    assert plot.view_range()[1][1] < 1000
