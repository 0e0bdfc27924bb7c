"""A row of the tree as it is painted: what stands where, and what is cut off."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QStyleOptionViewItem, QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.experiments.filter import Role
from sdgui.experiments.tree import ExperimentDelegate
from sdgui.widgets.style.theme import SPACE, theme

WIDTH, HEIGHT = 300, 48


class Row:
    """Paints one row with what it is told to hold."""

    def __init__(self, parent: QWidget) -> None:
        self._parent, self.delegate = parent, ExperimentDelegate(parent)

    def image(self, text: str = "name", **data: Any) -> QImage:
        model, item = QStandardItemModel(), QStandardItem(text)
        model.appendRow(item)
        for name, value in data.items():
            item.setData(value, Role[name])
        option = QStyleOptionViewItem()
        option.rect = QRect(0, 0, WIDTH, HEIGHT)  # type: ignore[attr-defined]
        option.widget = self._parent  # type: ignore[attr-defined]
        made = QImage(WIDTH, HEIGHT, QImage.Format.Format_RGB32)
        made.fill(Qt.GlobalColor.white)
        painter = QPainter(made)
        self.delegate.paint(painter, option, model.index(0, 0))
        painter.end()
        return made


@pytest.fixture
def row(qtbot: QtBot) -> Row:
    make_application()
    parent = QWidget()
    qtbot.addWidget(parent)
    return Row(parent)


def ink(image: QImage, left: int, top: int, right: int, bottom: int) -> int:
    white = QColor("white").rgb()
    return sum(image.pixel(x, y) != white for x in range(left, right) for y in range(top, bottom))


def same(one: QImage, two: QImage, left: int, right: int, top: int = 0, bottom: int = HEIGHT) -> bool:
    return all(one.pixel(x, y) == two.pixel(x, y) for x in range(left, right) for y in range(top, bottom))


def width(text: str, font: str) -> int:
    """Pixels that a text takes."""
    image = QImage(4, 4, QImage.Format.Format_RGB32)
    painter = QPainter(image)
    painter.setFont(theme().font(font))  # type: ignore[arg-type]
    found = painter.fontMetrics().horizontalAdvance(text)
    painter.end()
    return found


def test_a_title_is_cut_before_the_best_value_and_tags_stand_behind_it(row: Row) -> None:
    half, long = HEIGHT // 2, "w" * 90
    best = row.image(text="", BEST="41.2 %")
    reach = WIDTH - SPACE - width("41.2 %", "title")
    assert ink(best, reach - 2, 0, WIDTH, half) > 0
    assert ink(best, 0, 0, reach - 4, HEIGHT) == 0, "it stands at the right"
    both = row.image(text=long, BEST="41.2 %")
    assert same(best, both, reach - 2, WIDTH, bottom=half), "nothing is written over it"
    assert ink(both, reach - SPACE - 40, 0, reach - SPACE, half) > 0
    assert ink(row.image(text=long), reach, 0, WIDTH - SPACE, half) > 0, "without one the title has the room"
    plain, tagged = row.image(text="name"), row.image(text="name", TAGS="#paper")
    behind = SPACE // 2 + width("name", "title") + SPACE
    assert same(plain, tagged, 0, behind - 1)
    assert ink(tagged, behind, 0, behind + width("#paper", "small"), half) > 0
    assert ink(plain, behind, 0, WIDTH, half) == 0


def test_a_line_begins_behind_the_state(row: Row) -> None:
    half = HEIGHT // 2
    bare, with_state = row.image(text="", DETAIL="Running"), row.image(text="", DETAIL="Running", STATE="running")
    start = SPACE // 2
    assert ink(bare, start, half, start + 16, HEIGHT) > 0
    moved = 16 + SPACE // 2
    assert all(
        bare.pixel(x, y) == with_state.pixel(x + moved, y) for x in range(start, 80) for y in range(half, HEIGHT)
    ), "the icon stands before it"
    assert ink(with_state, start, half, start + 16, HEIGHT) > 0
