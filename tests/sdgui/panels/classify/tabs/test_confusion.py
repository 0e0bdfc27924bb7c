"""The confusion matrix: its pixels against a plain loop, the way about it by keys and mouse, what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from pytestqt.qtbot import QtBot

from sdgui.panels.classify.tabs.matrix.cells import COLOUR_LEVELS, ConfusionCells
from sdgui.panels.classify.tabs.matrix.matrix import ConfusionMatrix
from sdgui.panels.classify.tabs.matrix.paint import label_step

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
    found = cells.levels(left, top, scale, width, height, mistakes_only=False)
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
    assert np.array_equal(np.where(found > COLOUR_LEVELS, found - COLOUR_LEVELS, found), expected)


def test_mistakes_have_their_own_scale_and_can_be_shown_alone() -> None:
    cells = ConfusionCells(2, [0, 0, 1], [0, 1, 1], [1, 1, 3])
    levels = cells.levels(0, 0, 1, 2, 2, mistakes_only=False)
    assert 0 < levels[0, 0] < COLOUR_LEVELS < levels[0, 1]
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
    assert matrix.current_classes() == (0, 1)
    assert "cat predicted as Große Katze: 2 of 10 (20.0 %)" in matrix.accessibleDescription()
    qtbot.keyClick(matrix, Qt.Key.Key_N)
    assert matrix.current_classes() == (2, 3)
    qtbot.keyClick(matrix, Qt.Key.Key_P)
    assert matrix.current_classes() == (0, 1)
    qtbot.keyClick(matrix, Qt.Key.Key_End)
    assert matrix.current_classes() == (0, 3)


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
    every = np.arange(1000)
    matrix.set_matrix([f"class {i}" for i in every], every, (every + 1) % 1000, np.ones(1000, dtype=int))
    for width, height in ((500, 700), (700, 500), (700, 700)):
        matrix.resize(width, height)
        matrix.fit()
        area = matrix.viewport().area
        assert matrix.viewport().scale * 1000 == pytest.approx(min(area.width(), area.height()))
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
    assert matrix.current_classes() == (2, 3)
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
