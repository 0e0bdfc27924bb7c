"""Layouts that go on in the next line: chips that keep their widths, and cards that share a line evenly."""

from __future__ import annotations

from itertools import pairwise

import pytest
from PySide6.QtCore import QRect
from PySide6.QtWidgets import QFrame, QWidget
from pytestqt.qtbot import QtBot

from sdgui.widgets.layouts.flow_layout import EvenFlowLayout, FlowLayout


def filled(qtbot: QtBot, layout: FlowLayout, number: int) -> tuple[QWidget, list[QFrame]]:
    host = QWidget()
    qtbot.addWidget(host)
    layout.setSpacing(10)
    cards = [QFrame(host) for _ in range(number)]
    for height, card in enumerate(cards):
        card.setMinimumSize(100, 40 + height)
        layout.addWidget(card)
    host.setLayout(layout)
    host.show()
    return host, cards


@pytest.mark.parametrize(("width", "columns"), [(100, 1), (209, 1), (210, 2), (325, 3), (1000, 9)])
def test_cards_fill_the_width_in_as_many_columns_as_fit(qtbot: QtBot, width: int, columns: int) -> None:
    layout = EvenFlowLayout(100)
    _, cards = filled(qtbot, layout, 5)
    layout.setGeometry(QRect(3, 7, width, 500))
    places = [card.geometry() for card in cards]
    lines = [places[first : first + columns] for first in range(0, len(places), columns)]
    for line in lines:
        assert (line[0].left(), len({place.top() for place in line})) == (3, 1)
        gaps = [after.left() - before.right() - 1 for before, after in pairwise(line)]
        assert gaps == [10] * (len(line) - 1)
        assert [place.left() for place in line] == [place.left() for place in lines[0]][: len(line)], "in columns"
    if columns <= 5:
        assert lines[0][-1].right() + 1 == 3 + width, "nothing is left over at the right"
        assert max(place.width() for place in places) - min(place.width() for place in places) <= 1
    assert layout.heightForWidth(width) == places[-1].bottom() + 1 - 7


def test_what_is_hidden_takes_no_place_and_no_card_no_height(qtbot: QtBot) -> None:
    layout = EvenFlowLayout(100)
    _, cards = filled(qtbot, layout, 3)
    cards[0].hide()
    layout.setGeometry(QRect(0, 0, 210, 500))
    assert [card.geometry().left() for card in cards[1:]] == [0, 110]
    for card in cards:
        card.hide()
    assert layout.heightForWidth(210) == 0


def test_chips_keep_their_widths_and_go_on_below(qtbot: QtBot) -> None:
    layout = FlowLayout()
    _, chips = filled(qtbot, layout, 3)
    layout.setGeometry(QRect(0, 0, 219, 500))
    assert [(chip.x(), chip.width()) for chip in chips] == [(0, 100), (110, 100), (0, 100)]
    assert chips[2].y() == 41 + 10, "below the highest of the line before"
    assert layout.heightForWidth(219) == 41 + 10 + 42
