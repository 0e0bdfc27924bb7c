"""Buttons of the Study panel by themselves: where a study is trained, what is opened, which buttons are there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QFileDialog, QWidget
from pytestqt.qtbot import QtBot

from core.spec.machines.machine import Machine, this_computer
from core.spec.study.machines import ANY, HERE
from sdgui.panels.study.open_menu import SHIPPED, OpenMenu
from sdgui.panels.study.toolbar import MachinesButton


def listing(*names: str) -> Any:
    return SimpleNamespace(listing=lambda: [this_computer(), *(Machine(name=name, host="x") for name in names)])


@pytest.fixture
def button(qtbot: QtBot) -> MachinesButton:
    button = MachinesButton()
    qtbot.addWidget(button)
    button.set_hosts(listing("r&d", "far"))
    return button


def choices(button: MachinesButton) -> dict[str, QAction]:
    return {str(action.data()): action for action in button.machines.actions() if action.isCheckable()}


def ticked(button: MachinesButton) -> list[str]:
    return [name for name, action in choices(button).items() if action.isChecked()]


def test_several_machines_can_be_ticked_and_exclusive_ones_stand_alone(button: MachinesButton) -> None:
    received: list[list[str]] = []
    button.machines_chosen.connect(received.append)
    button.machines.aboutToShow.emit()
    texts = [action.text() for action in button.machines.actions() if not action.isSeparator()]
    assert texts == ["This computer", "r&&d", "far", "Any free machine"]
    assert ticked(button) == [HERE]
    steps = (
        ("r&d", [HERE, "r&d"], "2 machines"),
        (HERE, ["r&d"], "r&&d"),
        (ANY, [ANY], "Any machine"),
        ("far", ["far"], "far"),
        ("far", [HERE], "This computer"),
        (ANY, [ANY], "Any machine"),
        (ANY, [HERE], "This computer"),
    )
    for name, on, text in steps:
        choices(button)[name].trigger()
        assert (received[-1], ticked(button), button.text()) == (on, on, text), name
    assert len(received) == len(steps)


def test_shipped_studies_files_and_folders_are_opened(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    parent, paths = QWidget(), list[Path]()
    qtbot.addWidget(parent)
    menu = OpenMenu(parent)
    menu.path_chosen.connect(paths.append)
    bundled = sorted(SHIPPED.glob("*.json"))
    actions = [action for action in menu.actions() if not action.isSeparator()]
    assert [action.text() for action in actions[:-2]] == [f"Bundled: {path.stem}" for path in bundled]
    actions[0].trigger()
    assert paths == bundled[:1]
    answers = ["", "/a/study.json", "", "/a"]
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (answers.pop(0), ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: answers.pop(0))
    for action in (actions[-2], actions[-2], actions[-1], actions[-1]):
        action.trigger()
    assert paths[1:] == [Path("/a/study.json"), Path("/a")], "nothing is opened where nothing was chosen"
