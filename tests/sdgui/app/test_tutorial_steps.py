"""The tutorial walked in the real window: every button that it names, in its order, is found by eye and clicked.

The trainer, the worker and the demo's data are programs in miniature; the page's commands, and a search with a real
model, are tests/integration/test_tutorial.py.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QFileDialog, QWidget
from pytestqt.qtbot import QtBot

from core.spec.run.status import RunState
from sdgui.actions.palette import CommandPalette
from sdgui.app.main_window import MainWindow
from sdgui.panels.registry import PANELS
from tests.sdgui.conftest import settle
from tests.sdgui.driving import OpenWindow, states

TUTORIAL = Path(__file__).parents[3] / "docs" / "tutorial.md"
_NAMED = re.compile(r"\*\*([^*]+)\*\*(?:\s+\((Ctrl\+[^)]+|F\d+)\))?")
_LEADS_TO = {
    "Launch": RunState.RUNNING,
    "Pause": RunState.PAUSED,
    "Resume": RunState.RUNNING,
    "Stop": RunState.STOPPED,
}
_SHOWN_BY_ITSELF = {"Search": "open", "Runs": "Launch"}  # panels that the page says the window switches to
_OPENS: dict[str, Callable[[MainWindow], bool]] = {
    "Import a run folder…": lambda window: len(window.services.store.runs()) == 2,
    "Go to…": lambda window: any(palette.isVisible() for palette in window.findChildren(CommandPalette)),
}
_TITLES = {panel.title: panel.name for panel in PANELS}


def named_in(page: Path) -> list[tuple[str, str]]:
    """What a page has in bold, in its order, each with the shortcut that stands behind it."""
    return [(name, keys) for name, keys in _NAMED.findall(page.read_text(encoding="utf-8"))]


def test_every_button_of_the_tutorial_exists_and_works_as_described(
    qtbot: QtBot, open_window: OpenWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = open_window("--steps", "100000", "--delay", "0.01")
    window.experiment_commands.add_demo("search")
    named, before = named_in(TUTORIAL), "open"
    assert {*_SHOWN_BY_ITSELF, *_LEADS_TO, *_OPENS} <= {name for name, _ in named}
    for name, keys in named:
        if _SHOWN_BY_ITSELF.get(name) == before:
            qtbot.waitUntil(partial(_shown, window, _TITLES[name]))
            qtbot.waitUntil(lambda: window.selection.experiment_id is not None)
        elif name in _TITLES:
            _click(qtbot, window.rail, name)
            qtbot.waitUntil(partial(_shown, window, _TITLES[name]))
        elif name in _LEADS_TO:
            if before not in (*_LEADS_TO, *_TITLES):
                _click(qtbot, window.rail, "Runs")
            _click(qtbot, window, name)
            qtbot.waitUntil(partial(_reached, window, _LEADS_TO[name]))
        else:
            assert keys, f"{name}: neither a panel nor a button of a run; say by which keys it opens"
            copy = shutil.copytree(window.services.store.runs()[0].folder, tmp_path / "first", dirs_exist_ok=True)
            monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_args, copy=copy: str(copy))
            action = _action(window, name)
            assert action.shortcut() == QKeySequence(keys), f"{name} has {action.shortcut().toString()}"
            QTest.keySequence(window, QKeySequence(keys))
            qtbot.waitUntil(partial(_OPENS[name], window))
        settle(window)
        before = name


def _shown(window: MainWindow, panel: str) -> bool:
    return window.panel_name == panel and window.panels[panel].isVisible()


def _reached(window: MainWindow, state: RunState) -> bool:
    return states(window) == [state] and (state is not RunState.RUNNING or window.services.store.runs()[0].step > 0)


def _click(qtbot: QtBot, inside: QWidget, name: str) -> None:
    """Click the one button that says ``name``, once it may be clicked."""

    def buttons() -> list[QAbstractButton]:
        found = inside.findChildren(QAbstractButton)
        return [one for one in found if one.isVisible() and one.text().replace("&", "") == name]

    with suppress(TimeoutError):
        qtbot.waitUntil(lambda: len(buttons()) == 1 and buttons()[0].isEnabled())
    assert [one.isEnabled() for one in buttons()] == [True], f"{len(buttons())} buttons say {name}"
    qtbot.mouseClick(buttons()[0], Qt.MouseButton.LeftButton)


def _action(window: MainWindow, name: str) -> QAction:
    found = [one for one in window.findChildren(QAction) if one.text().replace("&", "") == name]
    assert len(found) == 1, f"{len(found)} actions are called {name}"
    return found[0]
