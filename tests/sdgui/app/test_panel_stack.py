"""The stack of panels: each is built when it is first shown, and told when it is shown and left."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from sdgui.app import panel_stack
from sdgui.app.panel_stack import FIRST, PanelStack
from sdgui.shared.panel import Panel
from sdgui.shared.services import Selection


class Noted(Panel):
    """Notes what it is told."""

    def __init__(self, name: str, told: list[str], parent: QWidget) -> None:
        super().__init__(parent)
        self._name, self._told = name, told

    def select(self, selection: Selection) -> None:
        self._told.append(f"{self._name} select {selection.run_id}")

    def refresh(self) -> None:
        self._told.append(f"{self._name} refresh")

    def entered(self) -> None:
        self._told.append(f"{self._name} entered")

    def left(self) -> None:
        self._told.append(f"{self._name} left")


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def stack(qtbot: QtBot, told: list[str], monkeypatch: pytest.MonkeyPatch) -> PanelStack:
    def build(name: str) -> Callable[[object, QWidget], Panel]:
        return lambda _services, parent: Noted(name, told, parent)

    specs = {name: SimpleNamespace(build=build(name), tree=name != "three") for name in (FIRST, "two", "three")}
    monkeypatch.setattr(panel_stack, "_SPECS", specs)
    stack = PanelStack(cast(Any, None))
    qtbot.addWidget(stack)
    stack.built.connect(lambda name: told.append(f"{name} built"))
    return stack


def test_a_panel_is_built_once_and_told_when_it_is_shown_and_left(stack: PanelStack, told: list[str]) -> None:
    first = stack.show_panel(FIRST)
    assert told == [f"{FIRST} built", f"{FIRST} select None", f"{FIRST} entered"]
    told.clear()
    second = stack.show_panel("two")
    assert told == ["two built", "two select None", f"{FIRST} left", "two entered"]
    assert (stack.current, stack.currentWidget()) == ("two", second)
    told.clear()
    assert stack.show_panel("two") is second
    assert told == ["two entered"], "it was not left"
    assert stack.show_panel(FIRST) is first
    assert told == ["two entered", "two left", f"{FIRST} entered"]


def test_news_reach_every_panel_that_is_built(stack: PanelStack, told: list[str]) -> None:
    stack.show_panel(FIRST)
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
        assert told[:2] == [f"{FIRST} {word}", f"two {word}"]
        assert told[2:] == ([f"three {word}"] if word != "select 7" else [])


def test_a_panel_that_is_prepared_gets_the_selection_as_it_is_shown(stack: PanelStack, told: list[str]) -> None:
    stack.show_panel(FIRST)
    stack.prepare("two")
    stack.select(Selection(run_id=7))
    told.clear()
    stack.show_panel("two")
    assert told == ["two select 7", f"{FIRST} left", "two entered"]


def test_an_unknown_panel_is_the_first(stack: PanelStack) -> None:
    stack.restore("three")
    assert (stack.current, stack.panels) == ("three", {})
    stack.restore("of another version")
    assert stack.current == FIRST
