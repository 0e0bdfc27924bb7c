"""The three starts: as cards of an empty home and as buttons in a row, the first of each the page's primary."""

from __future__ import annotations

from typing import cast

import pytest
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QPushButton, QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.panels.home.view import STARTS, StartCards, StartRow
from sdgui.widgets.actions import Actions
from sdgui.widgets.plain_text import PlainLabel


class Offered:
    """The actions of a window, and which were triggered."""

    def __init__(self, parent: QWidget) -> None:
        self.triggered: list[str] = []
        self.actions: dict[str, QAction] = {}
        for name in STARTS:
            action = QAction(name, parent)
            action.setObjectName(name)
            action.setShortcut(f"Ctrl+{name[0].upper()}")
            action.triggered.connect(lambda _=False, name=name: self.triggered.append(name))
            self.actions[name] = action


@pytest.fixture
def page(qtbot: QtBot) -> QWidget:
    make_application()
    page = QWidget()
    qtbot.addWidget(page)
    return page


def test_each_start_has_a_card_with_what_comes_of_it(page: QWidget) -> None:
    offered, cards = Offered(page), StartCards(page)
    cards.set_actions(cast(Actions, offered.actions))
    assert list(cards.buttons) == ["demo", "new_from_folder", "pretrained"]
    assert [button.property("role") for button in cards.buttons.values()] == ["primary", None, None]
    assert all(button.autoDefault() for button in cards.buttons.values())
    for button in cards.buttons.values():
        button.click()
    assert offered.triggered == list(STARTS)
    for name, button in cards.buttons.items():
        card = button.parentWidget()
        texts = [label.text() for label in card.findChildren(PlainLabel)]
        assert card.property("role") == "card"
        assert STARTS[name][1] in texts
        assert f"Ctrl+{name[0].upper()}" in texts
        assert any(not label.pixmap().isNull() for label in card.findChildren(PlainLabel)), "and an image"


def test_the_row_ends_with_its_primary(page: QWidget) -> None:
    offered, row = Offered(page), StartRow(page)
    row.set_actions(cast(Actions, offered.actions))
    layout = row.layout()
    assert layout is not None
    buttons = [cast(QPushButton, layout.itemAt(index).widget()) for index in range(layout.count())]  # type: ignore[union-attr]
    assert [button.text() for button in buttons] == ["demo", "pretrained", "new_from_folder"]
    assert [button.property("role") for button in buttons] == [None, None, "primary"]
    buttons[1].click()
    assert offered.triggered == ["pretrained"]
