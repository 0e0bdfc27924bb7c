"""What part of a confusion matrix is on screen: where a cell is, which cells are seen, and what is under a point."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QPointF, QRect, QRectF

from sdgui.panels.classify.tabs.matrix.view import Viewport

VIEW = Viewport(QRect(100, 50, 200, 120), size=30, scale=10.0, left=2.5, top=4.25)


def test_a_cell_is_drawn_where_it_is_found() -> None:
    assert VIEW.cell_rect(5, 3) == QRectF(105, 57.5, 10, 10)
    assert VIEW.cell_at(QPointF(105, 57.5)) == (3.0, 5.0)
    assert VIEW.cell_at(QPointF(0, 0)) == (-7.5, -0.75), "also outside"


def test_cells_seen_in_part_are_on_screen() -> None:
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
def test_there_is_none_beyond_the_last_class(x: float, y: float, found: tuple[int, int] | None) -> None:
    assert Viewport(QRect(0, 0, 200, 120), size=6, scale=10.0).position_at(QPointF(x, y)) == found


def test_there_is_none_before_the_first_class() -> None:
    pulled = Viewport(QRect(0, 0, 200, 120), size=6, scale=10.0, left=-1.0, top=-2.0)
    assert pulled.position_at(QPointF(5, 50)) is None
    assert pulled.position_at(QPointF(50, 5)) is None
    assert pulled.position_at(QPointF(15, 25)) == (0, 0)
