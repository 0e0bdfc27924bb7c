"""The window's messages stand above those of the panel, however many lines these have."""

from __future__ import annotations

from PySide6.QtWidgets import QApplication, QStackedWidget, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.layout import SIZE, fill_page, rail_beside, tree_beside
from sdgui.widgets.message import Message
from sdgui.widgets.message_bar import MessageBar


def settle() -> None:
    for _ in range(4):
        QApplication.processEvents()


def test_the_windows_message_stands_above_the_panels(qtbot: QtBot) -> None:
    page = QWidget()
    qtbot.addWidget(page)
    page.resize(800, 600)
    stack, panel = QStackedWidget(page), QWidget()
    column = QVBoxLayout(panel)
    column.addStretch(1)
    own = MessageBar(panel)
    column.addWidget(own)
    stack.addWidget(panel)
    bar = MessageBar(page)
    fill_page(page, stack, bar)
    page.show()
    bar.show_message(Message("info", "of the window"))
    settle()
    assert stack.size().toTuple() == (800, 600 - stack.y()), "the panel has all of the page"
    alone = bar.geometry().bottom()
    assert 600 - 80 < alone < 600
    own.show_message(Message("info", "\n".join(["a long message of the panel"] * 6)))
    settle()
    assert own.isVisible()
    assert bar.geometry().bottom() <= own.mapTo(page, own.rect().topLeft()).y()
    own.clear()
    settle()
    assert bar.geometry().bottom() == alone


def test_the_rail_keeps_its_width_and_neither_tree_nor_page_can_be_folded_away(qtbot: QtBot) -> None:
    tree, page, rail = QWidget(), QWidget(), QWidget()
    rail.setFixedWidth(130)  # as wide as its labels
    split = tree_beside(tree, page)
    frame = rail_beside(rail, split)
    qtbot.addWidget(frame)
    frame.resize(*SIZE)
    frame.show()
    assert [frame.widget(at) for at in range(2)] == [rail, split]
    assert [split.widget(at) for at in range(2)] == [tree, page]
    assert not frame.handle(1).isEnabled()
    assert not split.childrenCollapsible()
    width = tree.width()
    frame.resize(SIZE[0] + 200, SIZE[1])
    assert page.width() > SIZE[0] / 2
    assert abs(tree.width() - width) <= 2, "the page takes the room"
