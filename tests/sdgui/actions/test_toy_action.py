"""An action of one record is in every list, and enabled when its record says so."""

from __future__ import annotations

from PySide6.QtWidgets import QMenu
from pytestqt.qtbot import QtBot

from core.spec.run.status import RunState
from sdgui.actions.menus import palette_entries
from sdgui.actions.shortcuts import ShortcutsDialog
from sdgui.shared.menus import RUN_MENU
from tests.sdgui.driving import OpenWindow, add, states


def test_a_toy_action_is_everywhere_and_enabled_for_finished_runs_only(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window("--steps", "40", "--delay", "0.05")
    add(window)
    actions, toy = window.window_actions, window.window_actions["celebrate"]
    assert not toy.isEnabled()
    actions["launch"].trigger()
    qtbot.waitUntil(lambda: states(window) == [RunState.RUNNING])
    assert not toy.isEnabled()
    qtbot.waitUntil(lambda: states(window) == [RunState.DONE])
    qtbot.waitUntil(toy.isEnabled)
    (bar_menu,) = [one.menu() for one in window.menuBar().actions() if one.text() == "&Run"]
    assert isinstance(bar_menu, QMenu)
    assert toy in bar_menu.actions()
    menu = QMenu(window)
    actions.fill_menu(menu, RUN_MENU)
    assert toy in menu.actions()
    entries = palette_entries(
        actions, window.experiments.model, window.experiment_commands.new, lambda _: None, lambda _: None
    )
    (entry,) = [entry for entry in entries if entry.title == "Celebrate"]
    actions["shortcuts"].trigger()
    (dialog,) = window.findChildren(ShortcutsDialog)
    rows = [row.text(0) for _, rows in dialog._rows for row in rows]
    assert "Celebrate" in rows
    entry.run()
    assert window.status.currentMessage() == "Congratulations!"
