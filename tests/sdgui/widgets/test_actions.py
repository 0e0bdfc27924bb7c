"""Actions: from one record to button, context menu, shortcut and list."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLineEdit, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from sdgui.widgets.actions import Action, ActionButton, Actions, MenuItem, Section


@dataclass
class Lamp:
    """What the actions of these tests work on."""

    lit: bool = False
    did: list[str] = field(default_factory=list)

    def switch(self) -> None:
        self.lit = not self.lit


LAMP_ACTIONS = (
    Action[Lamp]("remove", "Lamp", "&Remove", "Take it down", lambda lamp: lamp.did.append("remove"), "Del",
                 menus=(MenuItem("lamp", Section.REMOVE),)),
    Action[Lamp]("switch", "Lamp", "&Switch", "On or off", Lamp.switch, ("Ctrl+L", "F3"), icon="ph.play",
                 current_title=lambda lamp: "Switch &off" if lamp.lit else "Switch &on",
                 menus=(MenuItem("lamp", Section.OPEN, 1),)),
    Action[Lamp]("dim", "Lamp", "&Dim", "Half the light", lambda lamp: lamp.did.append("dim"),
                 enabled=lambda lamp: lamp.lit, menus=(MenuItem("lamp", Section.OPEN),)),
    Action[Lamp]("help", "Other", "&Help", "What a lamp is", lambda lamp: lamp.did.append("help"), "F1"),
)  # fmt: skip


@pytest.fixture
def host(qtbot: QtBot) -> QWidget:
    host = QWidget()
    qtbot.addWidget(host)
    return host


def test_an_action_is_enabled_and_titled_by_the_state_of_its_target(host: QWidget) -> None:
    lamp, actions = Lamp(), Actions(host)
    actions.register(LAMP_ACTIONS, lamp)
    assert (actions["switch"].text(), actions["dim"].isEnabled()) == ("Switch &on", False)
    actions["dim"].trigger()
    actions["switch"].trigger()
    actions.update(lamp)
    assert (actions["switch"].text(), actions["dim"].isEnabled()) == ("Switch &off", True)
    actions["dim"].trigger()
    assert lamp.did == ["dim"], "a disabled action does nothing"


def test_an_update_leaves_other_actions_alone(host: QWidget) -> None:
    lamp, second, actions = Lamp(), Lamp(), Actions(host)
    actions.register(LAMP_ACTIONS, lamp)
    lamp.lit = True
    actions.update(second)
    assert not actions["dim"].isEnabled()


def test_a_button_follows_its_action(host: QWidget, qtbot: QtBot) -> None:
    lamp, actions = Lamp(), Actions(host)
    actions.register(LAMP_ACTIONS, lamp)
    button = ActionButton(actions["dim"], host)
    assert not button.isEnabled()
    lamp.lit = True
    actions.update(lamp)
    assert button.isEnabled()
    button.click()
    assert lamp.did == ["dim"]


def test_shortcuts_apply_within_their_scope(host: QWidget, qtbot: QtBot) -> None:
    inside, outside = QLineEdit(host), QLineEdit(host)
    box = QVBoxLayout(host)
    box.addWidget(inside)
    box.addWidget(outside)
    host.show()
    qtbot.waitExposed(host)
    host.activateWindow()
    lamp, actions = Lamp(), Actions(host)
    actions.register(LAMP_ACTIONS, lamp, scope=inside)
    outside.setFocus()
    qtbot.keyClick(outside, "L", modifier=Qt.KeyboardModifier.ControlModifier)
    assert not lamp.lit
    inside.setFocus()
    qtbot.waitUntil(inside.hasFocus)
    qtbot.keyClick(inside, "L", modifier=Qt.KeyboardModifier.ControlModifier)
    assert lamp.lit


def test_a_held_key_triggers_once(host: QWidget) -> None:
    actions = Actions(host)
    actions.register([Action("launch", "Run", "Launch", "Launch it", lambda _: None, "Ctrl+Return")], host)
    assert not actions["launch"].autoRepeat()
