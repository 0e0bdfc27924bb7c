"""Buttons of the Study panel by themselves: where a study is trained, what is opened, which buttons are there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QAction, QMouseEvent
from PySide6.QtWidgets import QApplication, QFileDialog, QWidget
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from core.spec.machines.machine import Machine, this_computer
from core.spec.study.machines import ANY, HERE
from sdgui.panels.study.ending import StudyEnding
from sdgui.panels.study.open_menu import SHIPPED, OpenMenu
from sdgui.panels.study.toolbar import MachinesButton, StudyToolbar
from sdgui.runs.study_status import StudySnapshot
from sdgui.store.studies import StudyRecord
from tests.sdgui.panels.study.studying import a_study


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
    assert texts == ["This computer", "r&&d", "far", "Any that is free"]
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


def test_the_button_names_the_machines_of_a_study(button: MachinesButton) -> None:
    assert button.text() == "This computer"
    local_icon = button.icon().cacheKey()
    button.show_chosen(["far"])
    assert (button.text(), button.icon().cacheKey() != local_icon) == ("far", True)
    assert button.accessibleName() == "Where the study is trained: far"
    button.show_chosen(["far", HERE])
    assert button.text() == "2 machines"
    assert "far, This computer" in button.toolTip()
    button.show_chosen([])
    assert button.text() == "This computer"
    for name, text in (("x" * 20, "x" * 20), ("x" * 21, "x" * 19 + "…")):
        button.show_chosen([name])
        assert button.text() == text


def test_without_other_machines_the_menu_links_to_where_they_are_added(qtbot: QtBot, button: MachinesButton) -> None:
    def disabled() -> list[str]:
        button.fill()
        return [
            action.text() for action in button.machines.actions() if not action.isEnabled() and not action.isSeparator()
        ]

    assert disabled() == []
    button.set_hosts(listing())
    assert disabled() == ["Add others in Machines (Ctrl+4)"]

    def broken() -> list[Machine]:
        raise UserError("The list cannot be read.")

    button.set_hosts(cast(Any, SimpleNamespace(listing=broken)))
    assert disabled() == ["The list cannot be read.", "Add others in Machines (Ctrl+4)"]
    bare = MachinesButton()
    qtbot.addWidget(bare)
    bare.fill()
    assert list(choices(bare)) == [HERE, ANY]


def test_the_menu_stays_open_while_machines_are_ticked(qtbot: QtBot, button: MachinesButton) -> None:
    button.show()
    menu = button.machines
    menu.popup(button.mapToGlobal(button.rect().bottomLeft()))
    qtbot.waitUntil(menu.isVisible)
    far = choices(button)["far"]
    menu.setActiveAction(far)
    position = QPointF(menu.actionGeometry(far).center())
    left_button, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    release = QMouseEvent(
        QEvent.Type.MouseButtonRelease,
        position,
        menu.mapToGlobal(position),
        left_button,
        none,
        Qt.KeyboardModifier.NoModifier,
    )
    QApplication.sendEvent(menu, release)
    assert (far.isChecked(), menu.isVisible()) == (True, True)
    received: list[list[str]] = []
    button.machines_chosen.connect(received.append)
    button.set_hosts(listing())
    button.fill()
    hint = next(action for action in menu.actions() if not action.isEnabled() and not action.isSeparator())
    menu.setActiveAction(hint)
    QApplication.sendEvent(menu, release)
    assert received == [], "an entry that only says something is no machine"
    menu.close()


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


def test_buttons_are_shown_by_state(qtbot: QtBot, tmp_path: Path) -> None:
    toolbar, ending = StudyToolbar(), StudyEnding(cast(Any, None))
    qtbot.addWidget(toolbar)
    toolbar.show()
    record = StudyRecord(id=1, name="mine", folder=tmp_path, created=0.0, arms={})
    names = ("box", "machines", "begin", "pause", "stop", "export", "more", "folder", "bin", "new", "open_button")

    def shown(study: StudyRecord | None, state: Any, editing: bool = False) -> list[str]:
        look = None if state is None else StudySnapshot(tmp_path, state, a_study(), on=("far",))
        toolbar.show_state(study, look, editing, ending)
        return [name for name in names if getattr(toolbar, name).isVisible()]

    assert toolbar.new.shortcut().toString() == "Ctrl+Shift+N"
    toolbar.show_studies([record])
    assert toolbar.box.itemData(0, Qt.ItemDataRole.ToolTipRole) == str(tmp_path)
    every = list(names)
    assert shown(record, "not started") == [name for name in every if name != "pause"]
    assert toolbar.machines.text() == "far"
    assert toolbar.machines.isEnabled()
    assert shown(record, "running") == [name for name in every if name != "begin"]
    assert not toolbar.machines.isEnabled()
    assert shown(None, None) == ["new", "open_button"]
    assert toolbar.machines.text() == "This computer"
    assert shown(record, "done", editing=True) == ["box"]
    assert not toolbar.box.isEnabled()
