"""Parts that are made after their owner is shown."""

from __future__ import annotations

import weakref
from functools import cached_property

import shiboken6
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QLabel, QTabWidget, QWidget
from pytestqt.qtbot import QtBot

from sdgui.widgets.late_parts import is_made, make_in_turns, replace_page


class Owner(QWidget):
    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    @cached_property
    def first(self) -> str:
        self.order.append("first")
        return "first"

    @cached_property
    def second(self) -> str:
        self.order.append("second")
        return "second"


def test_parts_are_created_later_and_once(qtbot: QtBot) -> None:
    owner = Owner()
    qtbot.addWidget(owner)
    make_in_turns(owner, ("first", "second"))
    assert not owner.order
    assert not is_made(owner, "second")
    assert owner.second  # asked for before its turn
    qtbot.waitUntil(lambda: is_made(owner, "first"))
    assert owner.order == ["second", "first"]


def test_an_owner_without_other_references_is_not_freed_by_its_last_part(qapp: QApplication) -> None:
    owner = Owner()
    freed = list[bool]()
    owner.destroyed.connect(lambda: freed.append(True))
    make_in_turns(owner, ("first", "second"))
    timer = owner.findChildren(QTimer)[0]
    reference = weakref.ref(owner)
    del owner
    assert freed == [True], "no connection keeps it alive"
    assert reference() is None
    assert not shiboken6.isValid(timer)


def test_a_page_replaces_its_placeholder(qtbot: QtBot) -> None:
    tabs = QTabWidget()
    qtbot.addWidget(tabs)
    for text in ("&One", "&Two", "&Three"):
        tabs.setTabToolTip(tabs.addTab(QWidget(), text), f"tip of {text}")
    tabs.setTabEnabled(1, False)
    tabs.setCurrentIndex(2)
    changes: list[int] = []
    tabs.currentChanged.connect(changes.append)
    pages = QLabel("one"), QLabel("two"), QLabel("three")
    for number, page in enumerate(pages):
        replace_page(tabs, number, page)
    assert [tabs.widget(number) for number in range(tabs.count())] == list(pages)
    assert tabs.tabText(1) == "&Two"
    assert tabs.tabToolTip(1) == "tip of &Two"
    assert not tabs.isTabEnabled(1)
    assert tabs.currentWidget() is pages[2]
    assert not changes
