"""The box beside the mouse, and what a canvas does with wheel, redraws and values that no log scale has."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QWheelEvent
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from sdgui.panels.runs.plots.canvas import PlotCanvas
from sdgui.panels.runs.plots.readout import Reading, Readout, position_text
from sdgui.panels.runs.plots.series import Series

RED = QColor("#ff0000")
NONE = Qt.KeyboardModifier.NoModifier


def reading(name: str = "first", at: float = 10.0, value: float = 0.25, smooth: float | None = None) -> Reading:
    return Reading(name, RED, at, value, smooth)


@pytest.fixture
def plot(qtbot: QtBot) -> PlotCanvas:
    window = QWidget()
    qtbot.addWidget(window)
    window.resize(900, 500)
    plot = PlotCanvas(parent=window)
    plot.setGeometry(100, 100, 400, 300)
    window.show()
    qtbot.waitExposed(window)
    plot.window_kept = window  # type: ignore[attr-defined]
    return plot


def line(key: str, y: list[float]) -> Series:
    series = Series(key, key, RED)
    series.replace(np.arange(len(y)), y)
    return series


def test_steps_and_times_as_text() -> None:
    assert [position_text("step", 1200.0), position_text("time", 70.0)] == ["step 1\u2009200", "after 1:10"]


def test_the_readout_shows_values_averages_and_other_steps(plot: PlotCanvas) -> None:
    box = Readout(plot)
    mouse = QPoint(50, 50)
    box.show_readings("step", 10.0, [], "value", mouse)
    assert not box.isVisible()
    lifted = Reading("third", RED, 12.0, 0.5, None, lifted=True)
    box.show_readings("step", 10.4, [reading("<b>one</b>"), reading("x" * 41, smooth=0.5), lifted], "share", mouse)
    text = box.text()
    assert "<b>step 10</b>" in text
    assert "&lt;b&gt;one" in text
    assert "x" * 39 + "…" in text
    assert "x" * 40 not in text
    assert "<b>third</b>" in text
    assert "<i>step 12</i>" in text
    assert text.count("<i>") == 1, "only a point at another step names its step"
    assert "25.0" in text
    assert "(25.0" in text, "the raw value beside the average"
    assert box.isVisible()
    box.show_readings("step", 10.0, [reading(f"run {number}") for number in range(14)], "value", mouse)
    assert "more" not in box.text()
    box.show_readings("step", 10.0, [reading(f"run {number}") for number in range(16)], "value", mouse)
    assert "and 2 more" in box.text()
    assert "run 13" in box.text()
    assert "run 14" not in box.text()
    box.show_readings("step", 10.0, [], "value", mouse)
    assert not box.isVisible()


def test_the_wheel_scrolls_the_page_unless_ctrl_is_held_or_the_plot_is_maximised(plot: PlotCanvas) -> None:
    def taken(modifier: Qt.KeyboardModifier) -> bool:
        place = QPointF(50, 50)
        wheel = QWheelEvent(
            place,
            place,
            QPoint(),
            QPoint(0, 120),
            Qt.MouseButton.NoButton,
            modifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        return plot.eventFilter(plot._view.viewport(), wheel)

    plot.set_wheel_needs_ctrl(True)
    assert taken(NONE), "it goes on to the page"
    assert not taken(Qt.KeyboardModifier.ControlModifier)
    plot.set_wheel_needs_ctrl(False)
    assert not taken(NONE)
    assert not plot.eventFilter(plot._view.viewport(), QEvent(QEvent.Type.Enter))


def test_values_missing_on_a_log_scale_are_counted(plot: PlotCanvas) -> None:
    plot.put(line("a", [1.0, 0.0, -1.0, 10.0]))
    plot.redraw()
    assert plot._note.isHidden()
    plot.set_log(True)
    plot.redraw()
    assert (plot._note.text(), plot._note.isVisible()) == ("2 values ≤ 0 are not shown on a log scale", True)
    plot.set_log(False)
    plot.redraw()
    assert plot._note.isHidden()


def test_a_plot_without_points_shows_what_it_waits_for(plot: PlotCanvas) -> None:
    plot.set_empty_text("No steps yet.")
    plot.redraw()
    assert (plot._empty.isVisible(), plot.accessibleDescription()) == (True, "No steps yet.")
    plot.put(line("a", [1.0, 2.0]))
    plot.put(line("b", [1.0, 3.0]))
    plot.redraw()
    assert not plot._empty.isVisible()
    assert plot.accessibleDescription() == "2 curves. Latest values: a: 2; b: 3"
    plot.remove("nobody")
    plot.put(line("a", [5.0]))
    assert [series.key for series in plot.series()] == ["b", "a"], "in the order in which they were put"


def test_constant_and_missing_curves_have_a_default_range(plot: PlotCanvas) -> None:
    plot.redraw()
    assert plot.view_range()[0] == pytest.approx((-0.02, 1.02))
    plot.put(line("a", [4.0]))
    plot.redraw()
    (left, right), (low, high) = plot.view_range()
    assert (left, right) == pytest.approx((-0.5, 0.5))
    assert (low, high) == pytest.approx((3.8, 4.2))
    plot.replace([line("zero", [0.0, 0.0])])
    plot.redraw()
    assert plot.view_range()[1] == pytest.approx((-0.5, 0.5))
    plot.set_shared_extent((0.0, 100.0))
    plot.redraw()
    assert plot.view_range()[0] == pytest.approx((-2.0, 102.0))
    plot.set_shared_extent(None)
    plot.redraw()
    assert plot.view_range()[0] == pytest.approx((-0.02, 1.02))


def test_hidden_plots_are_redrawn_when_shown_again(qtbot: QtBot, plot: PlotCanvas) -> None:
    qtbot.waitUntil(lambda: not plot._timer.isActive())
    drawn: list[None] = []
    plot.redrawn.connect(lambda: drawn.append(None))
    plot.hide()
    plot.refresh()
    qtbot.waitUntil(lambda: plot._waiting)
    assert drawn == []
    plot.wake()
    assert plot._timer.isActive()
    plot.show()
    qtbot.waitUntil(lambda: bool(drawn))
    assert not plot._waiting
    qtbot.waitUntil(lambda: not plot._timer.isActive())
    plot.wake()
    assert not plot._timer.isActive(), "nothing was put off"


def test_any_change_of_a_plot_schedules_a_redraw(qtbot: QtBot, plot: PlotCanvas) -> None:
    series = line("a", [1.0, 2.0])
    changes: list[tuple[str, Callable[[], object], bool]] = [
        ("another curve", lambda: plot.put(series), True),
        ("other curves", lambda: plot.replace([series]), True),
        ("a log scale", lambda: plot.set_log(True), True),
        ("averages", lambda: plot.set_smooth(True), True),
        ("over time", lambda: plot.set_x_mode("time"), True),
        ("one is lifted", lambda: plot.set_lifted("a"), True),
        ("it is lifted already", lambda: plot.set_lifted("a"), False),
        ("the range of all", lambda: plot.set_shared_extent((0.0, 9.0)), True),
        ("the same range", lambda: plot.set_shared_extent((0.0, 9.0)), False),
        ("a part of it", lambda: plot.show_x(0.0, 1.0), True),
        ("everything again", plot.follow, True),
        ("another size", lambda: plot.resize(300, 200), True),
        ("a curve less", lambda: plot.remove("a"), True),
        ("no curve less", lambda: plot.remove("a"), False),
        ("it is shown", lambda: (plot.hide(), plot.redraw(), plot.show()), True),
    ]
    for name, change, again in changes:
        plot.redraw()
        change()
        assert plot._timer.isActive() is again, name


def test_a_zoom_by_the_user_is_announced_and_kept(plot: PlotCanvas) -> None:
    plot.put(line("a", [1.0, 2.0, 3.0]))
    plot.redraw()
    zoomed, seen = list[bool](), list[tuple[float, ...]]()
    plot.zoomed.connect(zoomed.append)
    plot.view_changed.connect(lambda *x: seen.append(x))
    plot._box.setXRange(0.5, 1.5, padding=0)
    plot._box.moved.emit(False, True)
    assert (zoomed, seen) == ([True], []), "across nothing has moved"
    assert plot._timer.isActive(), "it is drawn again soon"
    plot._box.moved.emit(True, False)
    assert (zoomed, seen) == ([True, True], [pytest.approx((0.5, 1.5))])
    plot.set_log(True)
    plot.redraw()
    assert plot.view_range()[0] == pytest.approx((0.5, 1.5))
    assert plot.view_range()[1][1] < 1, "up and down it follows the data again"
    plot.set_x_mode("time")
    plot.redraw()
    assert plot.view_range()[0] != pytest.approx((0.5, 1.5))
    assert zoomed == [True, True, False]
