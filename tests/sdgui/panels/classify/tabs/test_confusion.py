"""The confusion matrix: its pixels against a plain loop, the way about it by keys and mouse, what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QApplication, QToolTip
from pytestqt.qtbot import QtBot

from sdgui.panels.classify.tabs.matrix.cells import STEPS, ConfusionCells
from sdgui.panels.classify.tabs.matrix.matrix import ConfusionMatrix
from sdgui.panels.classify.tabs.matrix.paint import label_step
from sdgui.panels.classify.tabs.matrix.view import Viewport

NAMES = ["cat", "Große Katze", "snow_leopard", "🐯 tiger"]
#         true       predicted    count
CELLS = ([0, 0, 1, 2, 3], [0, 1, 1, 3, 0], [8, 2, 5, 4, 1])


@st.composite
def views(draw: st.DrawFn) -> tuple[int, np.ndarray, list[int], float, float, float]:
    size = draw(st.integers(1, 9))
    counts = np.array(draw(st.lists(st.integers(0, 4), min_size=size * size, max_size=size * size)))
    order = draw(st.permutations(range(size)))
    scale = draw(st.sampled_from([0.3, 0.5, 0.9, 1.0, 1.7, 4.0]))
    return size, counts.reshape(size, size), order, scale, draw(st.floats(0, 3)), draw(st.floats(0, 3))


@settings(max_examples=25, deadline=None)
@given(views())
def test_every_pixel_shows_the_strongest_cell_it_covers(
    view: tuple[int, np.ndarray, list[int], float, float, float],
) -> None:
    size, counts, order, scale, left, top = view
    true, predicted = counts.nonzero()
    cells = ConfusionCells(size, true, predicted, counts[true, predicted])
    cells.set_order(order)
    width, height = 11, 7
    found = cells.levels(left, top, scale, width, height)
    expected = np.zeros((height, width), dtype=int)
    for y in range(height):
        for x in range(width):
            for row in range(size):
                for column in range(size):
                    if scale >= 1:
                        on = (
                            math.floor(top + (y + 0.5) / scale) == row
                            and math.floor(left + (x + 0.5) / scale) == column
                        )
                    else:
                        on = math.floor((row - top) * scale) == y and math.floor((column - left) * scale) == x
                    number, total = counts[order[row], order[column]], counts[order[row]].sum()
                    if on and number:
                        level = round((0.18 + 0.82 * (number / total) ** 0.5) * 255)
                        expected[y, x] = max(expected[y, x], level)
    assert np.array_equal(np.where(found > STEPS, found - STEPS, found), expected)


def test_mistakes_have_their_own_scale_and_can_be_shown_alone() -> None:
    cells = ConfusionCells(2, [0, 0, 1], [0, 1, 1], [1, 1, 3])
    levels = cells.levels(0, 0, 1, 2, 2)
    assert 0 < levels[0, 0] < STEPS < levels[0, 1]
    assert levels[1, 0] == 0
    assert cells.levels(0, 0, 1, 2, 2, mistakes_only=True)[0, 0] == 0


@pytest.mark.parametrize(("true", "predicted"), [([2], [0]), ([0], [-1]), ([0, 1], [0])])
def test_cells_beyond_the_classes_are_refused(true: list[int], predicted: list[int]) -> None:
    with pytest.raises(ValueError, match="class"):
        ConfusionCells(2, true, predicted, [1] * len(true))


def test_an_order_must_name_every_class_once() -> None:
    with pytest.raises(ValueError, match="once"):
        ConfusionCells(2, [0], [0], [1]).set_order([0, 0])


@pytest.fixture
def matrix(qtbot: QtBot) -> ConfusionMatrix:
    made = ConfusionMatrix()
    qtbot.addWidget(made)
    made.resize(500, 500)
    made.set_matrix(NAMES, *CELLS)
    made.show()
    qtbot.waitExposed(made)
    return made


def test_keys_move_between_cells_and_describe_each(qtbot: QtBot, matrix: ConfusionMatrix) -> None:
    assert "cat: 8 of 10 correct (80.0 %)" in matrix.accessibleDescription()
    qtbot.keyClick(matrix, Qt.Key.Key_Right)
    assert matrix.current() == (0, 1)
    assert "cat predicted as Große Katze: 2 of 10 (20.0 %)" in matrix.accessibleDescription()
    qtbot.keyClick(matrix, Qt.Key.Key_N)
    assert matrix.current() == (2, 3)
    qtbot.keyClick(matrix, Qt.Key.Key_P)
    assert matrix.current() == (0, 1)
    qtbot.keyClick(matrix, Qt.Key.Key_End)
    assert matrix.current() == (0, 3)


def test_an_empty_cell_is_described_as_empty(qtbot: QtBot, matrix: ConfusionMatrix) -> None:
    qtbot.keyClick(matrix, Qt.Key.Key_End)
    assert matrix.current() == (0, 3)
    assert "0 of 10" in matrix.accessibleDescription()
    assert [matrix.cells.count_at(1, predicted) for predicted in range(4)] == [0, 5, 0, 0]
    without = ConfusionCells(4, [0], [1], [5])
    assert without.count_at(3, 3) == 0, "after the last that is not empty"


def test_enter_and_a_click_select_a_cell_and_a_drag_does_not(qtbot: QtBot, matrix: ConfusionMatrix) -> None:
    with qtbot.waitSignal(matrix.cell_chosen) as chosen:
        qtbot.keyClick(matrix, Qt.Key.Key_Return)
    assert chosen.args == [0, 0]
    place = matrix.viewport().cell_rect(2, 3).center().toPoint()
    with qtbot.waitSignal(matrix.cell_chosen) as chosen:
        qtbot.mouseClick(matrix, Qt.MouseButton.LeftButton, pos=place)
    assert chosen.args == [2, 3]
    matrix.zoom(1.2)
    left = matrix.viewport().left
    with qtbot.assertNotEmitted(matrix.cell_chosen):
        qtbot.mousePress(matrix, Qt.MouseButton.LeftButton, pos=place)
        qtbot.mouseMove(matrix, place + QPoint(-40, 0))
        qtbot.mouseRelease(matrix, Qt.MouseButton.LeftButton, pos=place + QPoint(-40, 0))
    assert matrix.viewport().left >= left


def test_a_thousand_classes_fit_and_zooming_keeps_the_point_under_the_mouse(qtbot: QtBot) -> None:
    matrix = ConfusionMatrix()
    qtbot.addWidget(matrix)
    matrix.resize(700, 700)
    every = np.arange(1000)
    matrix.set_matrix([f"class {i}" for i in every], every, (every + 1) % 1000, np.ones(1000, dtype=int))
    area = matrix.viewport().area
    assert matrix.viewport().scale * 1000 <= min(area.width(), area.height()) + 1
    point = QPointF(area.x() + 0.4 * area.width(), area.y() + 0.6 * area.height())
    before = matrix.viewport().position_at(point)
    for _ in range(20):
        matrix.zoom(1.25, point)
    assert matrix.viewport().scale > 14
    after = matrix.viewport().position_at(point)
    assert before is not None
    assert after is not None
    assert abs(after[0] - before[0]) <= 3
    assert abs(after[1] - before[1]) <= 3
    assert label_step(14, matrix.viewport().scale) == 1
    matrix.fit()
    assert label_step(14, matrix.viewport().scale) >= 20


def test_another_order_keeps_the_selected_cell(matrix: ConfusionMatrix) -> None:
    matrix.set_current(2, 3)
    said = matrix.sentence()
    matrix.set_order([3, 2, 1, 0])
    assert matrix.current() == (2, 3)
    assert matrix.scene().current == (1, 0)
    assert matrix.sentence() == said


def test_a_wheel_notch_is_one_zoom_step(matrix: ConfusionMatrix) -> None:
    every = np.arange(100)
    matrix.set_matrix([f"class {i}" for i in every], every, every, np.ones(100, dtype=int))
    matrix.zoom(2.0)
    before = matrix.viewport().scale
    for notches, factor in ((1, 1.25), (-1, 1.0), (0.5, math.sqrt(1.25))):
        turn = QPoint(0, round(120 * notches))
        centre = QPointF(matrix.rect().center())
        keys = (Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase)
        matrix.wheelEvent(QWheelEvent(centre, centre, QPoint(), turn, *keys, False))
        assert matrix.viewport().scale == pytest.approx(before * factor)


def large(matrix: ConfusionMatrix, size: int = 60) -> None:
    """A matrix of which a part is in view: all are correct but for the last class."""
    every = np.arange(size)
    matrix.set_matrix([f"class {i}" for i in every], every, np.minimum(every, size - 2), np.full(size, 3))
    matrix.zoom(3.0, QPointF(matrix.viewport().area.topLeft()))


def test_keys_page_zoom_and_with_control_move_the_view(qtbot: QtBot, matrix: ConfusionMatrix) -> None:
    large(matrix)
    view, control = matrix.viewport(), Qt.KeyboardModifier.ControlModifier
    screen = int(view.area.height() / view.scale) - 1
    assert screen > 2
    qtbot.keyClick(matrix, Qt.Key.Key_PageDown)
    assert matrix.current() == (screen, 0)
    for key, expected in (
        (Qt.Key.Key_Down, (screen + 1, 0)), (Qt.Key.Key_Right, (screen + 1, 1)), (Qt.Key.Key_Left, (screen + 1, 0)),
        (Qt.Key.Key_Left, (screen + 1, 0)), (Qt.Key.Key_Up, (screen, 0)), (Qt.Key.Key_PageUp, (0, 0)),
        (Qt.Key.Key_Up, (0, 0)),
    ):  # fmt: skip
        qtbot.keyClick(matrix, key)
        assert matrix.current() == expected
    assert (matrix.viewport().left, matrix.viewport().top) == (0, 0)
    pace = max(1.0, 24 / view.scale)
    for key, left, top in (
        (Qt.Key.Key_Right, pace, 0), (Qt.Key.Key_Down, pace, pace), (Qt.Key.Key_Left, 0, pace), (Qt.Key.Key_Up, 0, 0),
    ):  # fmt: skip
        qtbot.keyClick(matrix, key, control)
        assert (matrix.viewport().left, matrix.viewport().top) == pytest.approx((left, top))
    assert matrix.current() == (0, 0)
    scale = matrix.viewport().scale
    for key, factor in ((Qt.Key.Key_Plus, 1.25), (Qt.Key.Key_Equal, 1.25**2), (Qt.Key.Key_Minus, 1.25)):
        qtbot.keyClick(matrix, key)
        assert matrix.viewport().scale == pytest.approx(scale * factor)
    assert matrix.viewport().left < 1, "around the current cell"
    view = matrix.viewport()
    across, down = view.area.width() / view.scale, view.area.height() / view.scale
    for cell, left, top in (((30, 35), 36.5 - across, 31.5 - down), ((29, 34), 36.5 - across, 31.5 - down),
                            ((5, 6), 5.5, 4.5), ((5, 7), 5.5, 4.5)):  # fmt: skip
        matrix.set_current(*cell)
        assert (matrix.viewport().left, matrix.viewport().top) == pytest.approx((left, top)), cell
    matrix.set_current(0, 0)
    qtbot.keyClick(matrix, Qt.Key.Key_0)
    assert matrix.viewport().scale * 60 <= matrix.viewport().area.height() + 1
    chosen: list[tuple[int, int]] = []
    matrix.cell_chosen.connect(lambda *cell: chosen.append(cell))
    for key in (Qt.Key.Key_Space, Qt.Key.Key_Enter):
        qtbot.keyClick(matrix, key)
    qtbot.keyClick(matrix, Qt.Key.Key_Return, control)
    other = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Q, Qt.KeyboardModifier.NoModifier)
    matrix.keyPressEvent(other)
    assert (chosen, other.isAccepted()) == ([(0, 0)] * 2, False), "other keys are for what is around it"
    for _ in range(2):
        matrix.next_mistake()
        assert matrix.current() == (59, 58), "the only one"
    every = np.arange(3)
    matrix.set_matrix("abc", every, every, every + 1)
    matrix.next_mistake()
    assert matrix.current() == (0, 0), "there is no mistake"
    matrix.set_matrix([], [], [], [])
    qtbot.keyClick(matrix, Qt.Key.Key_Right)
    matrix.zoom(1.25)
    assert (matrix.current(), matrix.sentence()) == (None, "The matrix is empty.")


def test_the_view_is_dragged_hovered_cells_are_described_and_a_resize_keeps_the_zoom(
    qtbot: QtBot, matrix: ConfusionMatrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    tips: list[str] = []
    monkeypatch.setattr(QToolTip, "showText", lambda _at, text, _over: tips.append(text))
    large(matrix)
    chosen: list[tuple[int, int]] = []
    matrix.cell_chosen.connect(lambda *cell: chosen.append(cell))
    left, middle, none = Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton, Qt.MouseButton.NoButton
    press, move, release = QEvent.Type.MouseButtonPress, QEvent.Type.MouseMove, QEvent.Type.MouseButtonRelease

    def mouse(kind: QEvent.Type, at: QPointF, button: Qt.MouseButton) -> None:
        there = QPointF(matrix.mapToGlobal(at.toPoint()))
        held = none if kind == release else button
        event = QMouseEvent(kind, at, there, none if kind == move else button, held, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(matrix, event)

    start, drawn = matrix.viewport().cell_rect(6, 7).center(), list[None]()
    monkeypatch.setattr(matrix, "update", lambda: drawn.append(None))
    mouse(move, start, none)
    mouse(move, start + QPointF(1, 1), none)
    assert len(drawn) == 1, "drawn anew for another cell alone"
    assert (matrix.scene().hovered, tips[-1]) == ((6, 7), "class 6 predicted as class 7: 0 of 3 (0.0 %)")
    mouse(move, QPointF(1, 1), none)
    assert (matrix.scene().hovered, tips[-1]) == (None, "")
    mouse(move, start, none)
    QApplication.sendEvent(matrix, QEvent(QEvent.Type.Leave))
    assert (matrix.scene().hovered, len(drawn)) == (None, 4)
    mouse(press, start, left)
    mouse(move, start + QPointF(2, 1), left)
    mouse(release, start + QPointF(2, 1), left)
    assert (chosen, matrix.current()) == ([(6, 7)], (6, 7)), "a hand is never quite still"
    scale = matrix.viewport().scale
    for button in (left, middle):
        matrix.pan(-60, -60)
        mouse(press, start, button)
        mouse(move, start - QPointF(30, 20), button)
        mouse(move, start - QPointF(31, 20), button)
        assert matrix.cursor().shape() == Qt.CursorShape.ClosedHandCursor
        mouse(release, start - QPointF(31, 20), button)
        assert matrix.cursor().shape() == Qt.CursorShape.ArrowCursor
        view = matrix.viewport()
        assert (view.left * scale, view.top * scale) == pytest.approx((31, 20))
    mouse(press, start, middle)
    mouse(release, start, middle)
    mouse(press, start, Qt.MouseButton.RightButton)
    mouse(move, start - QPointF(30, 20), Qt.MouseButton.RightButton)
    mouse(release, start, Qt.MouseButton.RightButton)
    mouse(press, start, left)
    mouse(QEvent.Type.MouseButtonDblClick, start, left)
    mouse(release, start, left)
    assert (len(chosen), matrix.viewport().left * scale) == (1, pytest.approx(31))
    keys = (none, Qt.KeyboardModifier.ShiftModifier, Qt.ScrollPhase.NoScrollPhase)
    for turn in (QPoint(0, -120), QPoint(-120, 0)):
        before = matrix.viewport()
        QApplication.sendEvent(matrix, QWheelEvent(start, start, QPoint(), turn, *keys, False))
        after = matrix.viewport()
        assert (after.left - before.left, after.top) == (pytest.approx(48 / scale), before.top), "Shift: sideways"
    matrix.resize(480, 470)
    assert matrix.viewport().scale == scale
    matrix.fit()
    matrix.resize(400, 390)
    assert matrix.viewport().scale * 60 <= matrix.viewport().area.width() + 1


VIEW = Viewport(QRect(100, 50, 200, 120), size=30, scale=10.0, left=2.5, top=4.25)


def test_a_cell_is_drawn_where_it_is_hit() -> None:
    assert VIEW.cell_rect(5, 3) == QRectF(105, 57.5, 10, 10)
    assert VIEW.cell_at(QPointF(105, 57.5)) == (3.0, 5.0)
    assert VIEW.cell_at(QPointF(0, 0)) == (-7.5, -0.75), "also outside"


def test_partly_visible_cells_are_on_screen() -> None:
    assert VIEW.visible() == (range(4, 17), range(2, 23))
    assert Viewport(QRect(0, 0, 200, 120), size=6, scale=10.0).visible() == (range(6), range(6))


@pytest.mark.parametrize(
    ("x", "y", "found"),
    [
        (100, 50, (4, 2)),
        (104.9, 57.4, (4, 2)),
        (105, 57.5, (5, 3)),
        (299, 169, (16, 22)),
        (300, 169, None),
        (299, 170, None),
        (99, 60, None),
        (120, 49, None),
    ],
)
def test_the_cell_under_a_point(x: float, y: float, found: tuple[int, int] | None) -> None:
    assert VIEW.position_at(QPointF(x, y)) == found


@pytest.mark.parametrize(("x", "y", "found"), [(5, 5, (0, 0)), (59, 59, (5, 5)), (60, 5, None), (5, 60, None)])
def test_no_cell_beyond_the_last_class(x: float, y: float, found: tuple[int, int] | None) -> None:
    assert Viewport(QRect(0, 0, 200, 120), size=6, scale=10.0).position_at(QPointF(x, y)) == found


def test_no_cell_before_the_first_class() -> None:
    pulled = Viewport(QRect(0, 0, 200, 120), size=6, scale=10.0, left=-1.0, top=-2.0)
    assert pulled.position_at(QPointF(5, 50)) is None
    assert pulled.position_at(QPointF(50, 5)) is None
    assert pulled.position_at(QPointF(15, 25)) == (0, 0)
