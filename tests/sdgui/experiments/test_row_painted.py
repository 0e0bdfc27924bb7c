"""A row of the tree as it is painted: what stands where, what is cut off, and the colours of state and tick."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QStyleOptionViewItem, QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.experiments.delegate import ExperimentDelegate
from sdgui.experiments.filter import Role
from sdgui.shared.run_colors import RunColors
from sdgui.widgets.style.theme import SPACE, theme

WIDTH, HEIGHT = 300, 48


class Row:
    """Paints one row with what it is told to hold."""

    def __init__(self, parent: QWidget) -> None:
        self.colors, self._parent = RunColors(), parent
        self.delegate = ExperimentDelegate(self.colors, parent)

    def image(self, run: int | None = None, ticked: bool = False, text: str = "name", **data: Any) -> QImage:
        model, item = QStandardItemModel(), QStandardItem(text)
        model.appendRow(item)
        item.setCheckable(run is not None)
        if run is not None:
            item.setData(run, Role.RUN)
            item.setCheckState(Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)
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


def test_a_line_is_cut_before_the_time_and_begins_behind_the_state(row: Row) -> None:
    half, long = HEIGHT // 2, "w" * 90
    timed = row.image(text="", TIME="15 min left")
    reach = WIDTH - SPACE - width("15 min left", "small")
    assert ink(timed, reach - 2, half, WIDTH, HEIGHT) > 0
    both = row.image(text="", TIME="15 min left", DETAIL=long)
    assert same(timed, both, reach - 2, WIDTH, top=half), "nothing is written over it"
    assert ink(both, reach - SPACE - 40, half, reach - SPACE, HEIGHT) > 0
    bare, with_state = row.image(text="", DETAIL="Running"), row.image(text="", DETAIL="Running", STATE="running")
    start = SPACE // 2
    assert ink(bare, start, half, start + 16, HEIGHT) > 0
    moved = 16 + SPACE // 2
    assert all(
        bare.pixel(x, y) == with_state.pixel(x + moved, y) for x in range(start, 80) for y in range(half, HEIGHT)
    ), "the icon stands before it"
    assert ink(with_state, start, half, start + 16, HEIGHT) > 0


def test_how_far_a_live_run_is_is_a_bar_below_it(row: Row) -> None:
    left, right, bottom = SPACE // 2, WIDTH - SPACE, HEIGHT - SPACE // 2
    accent, rest = theme().color("accent"), theme().color("border")
    for done, filled in ((0.5, 0.5), (0.0, 0.0), (3.0, 1.0)):
        image = row.image(text="", SHARE=done)
        colors = [image.pixelColor(x, bottom + 1) for x in range(left + 1, right - 1)]
        assert colors.count(accent) == pytest.approx(filled * (right - left), abs=3)
        assert colors.count(rest) == pytest.approx((1 - filled) * (right - left), abs=3)
    assert ink(row.image(text=""), 0, 0, WIDTH, HEIGHT) == 0, "of a run that is over there is none"


def test_a_tick_has_the_runs_colour_while_it_is_overlaid(row: Row) -> None:
    inside = (SPACE // 2 + 8, HEIGHT // 2 - 4)
    edge = (SPACE // 2 + 8, (HEIGHT - 16) // 2 + 1)
    row.colors.show({7: 3})
    ticked = row.image(7, ticked=True, text="")
    assert ticked.pixelColor(*inside) == theme().run_color(3)
    empty = row.image(7, text="")
    assert empty.pixelColor(*inside) == QColor("white")
    assert empty.pixelColor(*edge) == theme().run_color(3)
    assert row.image(8, text="").pixelColor(*edge) == theme().color("strong_border")
    check = [ticked.pixelColor(x, y) for x in range(SPACE // 2 + 3, SPACE // 2 + 13) for y in range(19, 29)]
    assert max(color.lightness() for color in check) > theme().run_color(3).lightness() + 60, "and a check in it"
    name = row.image(8, text="name")
    assert ink(name, SPACE // 2 + 16 + 2, 0, SPACE // 2 + 16 + SPACE, HEIGHT // 2) == 0
    assert ink(name, SPACE // 2 + 16 + SPACE, 0, 120, HEIGHT // 2) > 0, "its name stands beside it"
