"""The parts of the window: its rail, its stack of panels and where its message stands."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QApplication, QHBoxLayout, QStackedWidget, QToolButton, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from sdgui.app import panel_stack
from sdgui.app.layout import INITIAL_SIZE, fill_page, rail_beside, tree_beside
from sdgui.app.panel_stack import FIRST_PANEL, PanelStack
from sdgui.app.rail import Rail
from sdgui.panels.registry import PANELS
from sdgui.shared.panel import Panel
from sdgui.shared.services import Selection
from sdgui.widgets.message import Message
from sdgui.widgets.message_bar import MessageBar


def settle() -> None:
    for _ in range(4):
        QApplication.processEvents()


def test_the_windows_message_is_above_the_panels(qtbot: QtBot) -> None:
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


def test_the_rail_keeps_its_width_and_neither_tree_nor_page_collapses(qtbot: QtBot) -> None:
    tree, page, rail = QWidget(), QWidget(), QWidget()
    rail.setFixedWidth(130)  # as wide as its labels
    split = tree_beside(tree, page)
    frame = rail_beside(rail, split)
    qtbot.addWidget(frame)
    frame.resize(*INITIAL_SIZE)
    frame.show()
    assert [frame.widget(at) for at in range(2)] == [rail, split]
    assert [split.widget(at) for at in range(2)] == [tree, page]
    assert not frame.handle(1).isEnabled()
    assert not split.childrenCollapsible()
    width = tree.width()
    frame.resize(INITIAL_SIZE[0] + 200, INITIAL_SIZE[1])
    assert page.width() > INITIAL_SIZE[0] / 2
    assert abs(tree.width() - width) <= 2, "the page takes the room"


def test_no_label_is_cut_in_a_narrow_window(qtbot: QtBot) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    rail, beside = Rail(window), QWidget(window)
    for spec in PANELS:
        rail.add_panel(QAction(spec.title, window), spec.group)
    beside.setMinimumWidth(300)
    row = QHBoxLayout(window)
    row.addWidget(rail)
    row.addWidget(beside, 1)
    window.resize(320, 500)
    window.show()
    QApplication.processEvents()
    buttons = rail.findChildren(QToolButton)
    assert [one.text() for one in buttons] == [spec.title for spec in PANELS]
    assert [one.text() for one in buttons if one.width() < one.sizeHint().width()] == []


class Noted(Panel):
    """Notes what it is told."""

    def __init__(self, name: str, told: list[str], parent: QWidget) -> None:
        super().__init__(parent)
        self._name, self._told = name, told

    def select(self, selection: Selection) -> None:
        self._told.append(f"{self._name} select {selection.run_id}")

    def refresh(self) -> None:
        self._told.append(f"{self._name} refresh")

    def on_enter(self) -> None:
        self._told.append(f"{self._name} entered")

    def on_leave(self) -> None:
        self._told.append(f"{self._name} left")


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def stack(qtbot: QtBot, told: list[str], monkeypatch: pytest.MonkeyPatch) -> PanelStack:
    def build(name: str) -> Callable[[object, QWidget], Panel]:
        return lambda _services, parent: Noted(name, told, parent)

    specs = {
        name: SimpleNamespace(build=build(name), shows_tree=name != "three") for name in (FIRST_PANEL, "two", "three")
    }
    monkeypatch.setattr(panel_stack, "_SPECS", specs)
    stack = PanelStack(cast(Any, None))
    qtbot.addWidget(stack)
    stack.built.connect(lambda name: told.append(f"{name} built"))
    return stack


def test_a_panel_is_built_once_and_notified_when_shown_and_left(stack: PanelStack, told: list[str]) -> None:
    first = stack.show_panel(FIRST_PANEL)
    assert told == [f"{FIRST_PANEL} built", f"{FIRST_PANEL} select None", f"{FIRST_PANEL} entered"]
    told.clear()
    second = stack.show_panel("two")
    assert told == ["two built", "two select None", f"{FIRST_PANEL} left", "two entered"]
    assert (stack.current, stack.currentWidget()) == ("two", second)
    told.clear()
    assert stack.show_panel("two") is second
    assert told == ["two entered"], "it was not left"
    assert stack.show_panel(FIRST_PANEL) is first
    assert told == ["two entered", "two left", f"{FIRST_PANEL} entered"]


def test_news_reaches_every_built_panel(stack: PanelStack, told: list[str]) -> None:
    stack.show_panel(FIRST_PANEL)
    stack.show_panel("two")
    stack.show_panel("three")  # without the tree beside it
    tells: list[tuple[Callable[[], object], str]] = [
        (lambda: stack.select(Selection(run_id=7)), "select 7"),
        (stack.refresh, "refresh"),
        (stack.leave, "left"),
    ]
    for tell, word in tells:
        told.clear()
        tell()
        assert told[:2] == [f"{FIRST_PANEL} {word}", f"two {word}"]
        assert told[2:] == ([f"three {word}"] if word != "select 7" else [])
