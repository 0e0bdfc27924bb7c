"""Parallel coordinates, scatter and axes by themselves: brushes by mouse and keys, signals, drawing."""

from __future__ import annotations

import math

import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QHelpEvent, QMouseEvent
from PySide6.QtWidgets import QApplication, QToolTip
from pytestqt.qtbot import QtBot

from core.spec.run.metric_names import is_share
from sdgui.panels.runs.relations.axes import MOST_WORDS, Axis, axis_of
from sdgui.panels.runs.relations.scatter import Scatter
from sdgui.store.run_table.fields import Field, fact, metric, setting
from sdgui.widgets.relations.parallel import ParallelCoordinates, scale_color

RATE, RECALL, PRESET = setting("optim.learning_rate"), metric("val/student/mean_recall"), setting("preset")
LEFT, NONE = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
SHIFT = Qt.KeyboardModifier.ShiftModifier


def axis(field: Field, values: list[object]) -> Axis:
    axis = axis_of(field, values)
    assert axis is not None
    return axis


def mouse(widget: ParallelCoordinates, kind: QEvent.Type, position: QPoint, button: Qt.MouseButton = LEFT) -> None:
    place = QPointF(position)
    held = NONE if kind == QEvent.Type.MouseMove else button
    event = QMouseEvent(kind, place, widget.mapToGlobal(place), held, held, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(widget, event)


@pytest.fixture
def lines(qtbot: QtBot) -> ParallelCoordinates:
    """Three runs over a rate, a recall (one without it) and a preset."""
    lines = ParallelCoordinates()
    qtbot.addWidget(lines)
    lines.resize(700, 400)
    axes = [axis(RATE, [1.0, 2.0, 3.0]), axis(RECALL, [0.1, None, 0.3]), axis(PRESET, ["clip", "coca", "clip"])]
    lines.show_axes(axes, ["a", "b", "c"])
    lines.show()
    return lines


def test_dragging_along_an_axis_brushes_and_a_click_clears(lines: ParallelCoordinates) -> None:
    received: list[list[int]] = []
    lines.brushed.connect(lambda runs: received.append(runs.tolist()))
    press, move, release = QEvent.Type.MouseButtonPress, QEvent.Type.MouseMove, QEvent.Type.MouseButtonRelease
    x = int(lines._x(0))
    mouse(lines, press, QPoint(x, int(lines._y(0.4))), Qt.MouseButton.RightButton)
    mouse(lines, move, QPoint(x, int(lines._y(1.0))))
    assert (lines.brushes, received) == ({}, [])
    assert lines.cursor().shape() is Qt.CursorShape.SplitVCursor
    mouse(lines, press, QPoint(x, int(lines._y(0.4))))
    mouse(lines, move, QPoint(x, int(lines._y(1.2))))
    mouse(lines, release, QPoint(x, int(lines._y(1.2))))
    assert lines.brushed_runs().tolist() == received[-1] == [1, 2]
    low, high = lines.brushes[0]
    assert (low, high) == (pytest.approx(0.4, abs=0.02), 1.0), "no further than its end"
    assert lines.accessibleDescription() == "3 axes; 2 of 3 runs within the brushes"
    mouse(lines, move, QPoint(x, int(lines._y(0.0))))
    assert lines.brushes[0] == (low, high), "it is let go"
    mouse(lines, press, QPoint(x, int(lines._y(0.4))))
    mouse(lines, release, QPoint(x, int(lines._y(0.4))))
    assert (lines.brushes, received[-1]) == ({}, [0, 1, 2])


def test_keys_move_between_axes_and_move_the_ends_of_a_brush(qtbot: QtBot, lines: ParallelCoordinates) -> None:
    def press(*keys: Qt.Key, by: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        for key in keys:
            qtbot.keyClick(lines, key, by)

    press(Qt.Key.Key_Left)
    assert lines._current == 2, "it goes round"
    press(Qt.Key.Key_Right)
    assert lines._current == 0
    press(*[Qt.Key.Key_Up] * 3)
    assert lines.brushes[0] == pytest.approx((0.15, 1.0))
    press(Qt.Key.Key_Down, by=SHIFT)
    assert lines.brushes[0] == pytest.approx((0.15, 0.95))
    press(Qt.Key.Key_Down)
    assert lines.brushes[0] == pytest.approx((0.1, 0.95))
    press(*[Qt.Key.Key_Down] * 4)
    assert lines.brushes[0][0] == 0.0
    press(Qt.Key.Key_Right, Qt.Key.Key_Up)
    assert set(lines.brushes) == {0, 1}
    assert lines.brushed_runs().tolist() == [], "b has no recall, a is below, c is above"
    press(Qt.Key.Key_Backspace)
    assert set(lines.brushes) == {0}
    lines.clear()
    assert lines.brushes == {}
    assert lines.condition() == ""


def test_brushes_stay_with_their_axes_and_are_the_filter(lines: ParallelCoordinates) -> None:
    lines.set_brush(0, (1.5, 0.25))
    lines.set_brush(2, (-0.1, 0.4))
    assert lines.brushes == {0: (0.25, 1.0), 2: (0.0, 0.4)}
    assert lines.condition() == 'optim.learning_rate >= 1.5 optim.learning_rate <= 3 preset in ("clip")'
    assert lines.brushed_runs().tolist() == [2]
    swapped = [lines.axes[2], lines.axes[1], axis(setting("seed"), [1, 2, 3])]
    lines.show_axes(swapped, ["a", "b", "c"])
    assert lines.brushes == {0: (0.0, 0.4)}, "the rate is no axis now"
    lines.show_axes([], [])
    assert lines.brushed_runs().tolist() == []
    assert lines.accessibleDescription() == "0 axes; 0 of 0 runs within the brushes"
    assert lines.grab().toImage().width() > 0


def test_lines_outside_a_brush_fade(lines: ParallelCoordinates) -> None:
    middle = QPoint(int((lines._x(0) + lines._x(1)) / 2), int(lines._y(0.0)))
    every = lines.grab().toImage()
    line = [every.pixel(middle.x(), middle.y() + by) for by in range(-2, 3)]
    lines.set_brush(0, (0.5, 1.0))
    lines._restyle()
    faded = lines.grab().toImage()
    assert [faded.pixel(middle.x(), middle.y() + by) for by in range(-2, 3)] != line
    x = int(lines._x(0))
    within, without = (faded.pixel(x + 4, int(lines._y(place))) for place in (0.75, 0.25))
    assert within != without, "the brush is seen"


def test_the_tooltip_names_the_line_or_the_nearest_on_an_axis(lines: ParallelCoordinates) -> None:
    x = int(lines._x(0))
    assert lines._tip(QPoint(x, int(lines._y(0.9)))) == f"c\n{lines.axes[0].title}: 3"
    assert lines._tip(QPoint(int(lines._x(1)), int(lines._y(0.6)))).startswith("c\n"), "b has no value there"
    between = int((lines._x(0) + lines._x(1)) / 2)
    assert lines._tip(QPoint(between, int(lines._y(0.0)))) == "a"
    assert lines._tip(QPoint(between, int(lines._y(0.5)))) == "Drag along an axis to brush; click it to end that"
    asks = QHelpEvent(QEvent.Type.ToolTip, QPoint(between, int(lines._y(0.0))), QPoint(5, 5))
    assert lines.event(asks)
    assert QToolTip.text() == "a"
    QToolTip.hideText()
    lines.set_brush(0, (0.1, 0.2))
    assert lines._tip(QPoint(x, int(lines._y(0.9)))) == "", "no run is within"


def test_the_hovered_line_is_released_when_the_mouse_leaves(lines: ParallelCoordinates) -> None:
    emitted: list[int] = []
    lines.run_clicked.connect(emitted.append)
    between = QPoint(int((lines._x(0) + lines._x(1)) / 2), int(lines._y(0.0)))
    mouse(lines, QEvent.Type.MouseMove, between)
    assert lines._under == 0
    mouse(lines, QEvent.Type.MouseButtonPress, between, Qt.MouseButton.RightButton)
    assert emitted == []
    mouse(lines, QEvent.Type.MouseButtonPress, between)
    assert emitted == [0]
    QApplication.sendEvent(lines, QEvent(QEvent.Type.Leave))
    assert lines._under is None
    mouse(lines, QEvent.Type.MouseMove, between)
    lines.show_axes(lines.axes, ["a", "b", "c"])
    assert lines._under is None, "other runs may be shown"


def test_the_colour_scale_goes_from_blue_to_yellow() -> None:
    assert [scale_color(share).getRgb()[:3] for share in (0.0, 1 / 3, 2 / 3, 1.0)] == [
        (68, 84, 160), (33, 145, 140), (94, 201, 98), (253, 200, 37)
    ]  # fmt: skip
    assert scale_color(1 / 6).getRgb()[:3] == (50, 114, 150)


def test_axes_of_numbers_categories_and_neither() -> None:
    assert is_share("val/student/mean_recall")
    rate = axis(RATE, [1e-4, 1e-2])
    assert rate.log
    assert not axis(RATE, [1e-4, 9e-3]).log, "within two decades"
    assert not axis(RATE, [0.0, 1e-2]).log
    assert not axis(metric("train/loss"), [1e-4, 1.0]).log, "of settings alone"
    assert (rate.text_at(0.5), rate.condition(0.0, 1.0)) == (
        "0.001", "optim.learning_rate >= 0.0001 optim.learning_rate <= 0.01"
    )  # fmt: skip
    recall = axis(RECALL, [0.25, 0.5, math.nan, math.inf])
    assert recall.scaled()[:2].tolist() == [25.0, 50.0]
    assert (recall.ends(), recall.condition(0.0, 0.5)) == (
        (25.0, 50.0), "val/student/mean_recall >= 0.25 val/student/mean_recall <= 0.375"
    )  # fmt: skip
    flags = axis(setting("preset"), [True, False, None])
    assert (flags.words, flags.condition(0.4, 0.6)) == (("false", "true"), "preset in ()")
    single = axis(PRESET, ["clip", "clip"])
    assert (single.places().tolist(), single.condition(0.4, 0.6)) == ([0.5, 0.5], 'preset in ("clip")')
    tags = axis(fact("tag"), [["a", "b"], [], ["a"]])
    assert tags.words == ("#a", "#a #b")
    assert axis_of(PRESET, [str(number) for number in range(MOST_WORDS)]) is not None
    assert axis_of(PRESET, [str(number) for number in range(MOST_WORDS + 1)]) is None
    assert axis_of(PRESET, [None, []]) is None


def test_a_scatter_counts_missing_values_and_draws_ticked_runs_larger(qtbot: QtBot) -> None:
    scatter = Scatter()
    qtbot.addWidget(scatter)
    scatter.resize(500, 400)
    scatter.show()
    assert scatter.nearest(QPointF(10, 10)) is None
    x, y = axis(RATE, [1e-4, 1e-2, 1.0]), axis(PRESET, ["clip", "coca", None])
    scatter.show_axes(x, y, ["a", "b", "c"], [None, 4, None])
    assert scatter.note.text() == "2 runs; 1 lack one of the two values"
    assert scatter.accessibleDescription() == f"{y.title} over {x.title}: 2 runs; 1 lack one of the two values"
    assert sorted(scatter._points.data["size"].tolist()) == [7, 12]
    assert scatter._bottom.tickStrings([-4.0, 0.0], 1, 1) == ["0.0001", "1"]
    assert scatter._left.tickStrings([0.5], 1, 1) == ["0.5"]
    box = scatter.plot.getViewBox()
    place = box.mapViewToScene(QPointF(-2.0, 1.0))
    assert scatter.nearest(place) == 1
    assert scatter.nearest(place + QPointF(11, 0)) == 1
    assert scatter.nearest(place + QPointF(14, 0)) is None
    scatter._mouse_moved(place)
    assert scatter.plot.cursor().shape() is Qt.CursorShape.PointingHandCursor
    assert scatter.plot.toolTip() == scatter.describe_run(1) == f"b · {y.title}: coca · {x.title}: 0.01"
    scatter._mouse_moved(QPointF(-99, -99))
    assert (scatter.plot.cursor().shape(), scatter.plot.toolTip()) == (Qt.CursorShape.ArrowCursor, "")
    clicked: list[int] = []
    scatter.run_clicked.connect(clicked.append)
    for pressed in ([], scatter._points.points()[1:2]):
        scatter._points.sigClicked.emit(scatter._points, pressed, None)
    assert clicked == [1]
    scatter.show_axes(axis(RATE, [1.0, 2.0]), axis(RECALL, [0.1, 0.2]), ["a", "b"], [None, None])
    assert scatter.note.text() == "2 runs"
