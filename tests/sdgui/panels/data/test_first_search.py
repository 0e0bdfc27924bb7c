"""From an empty home and a folder of one's own to a search in it: name the folder, *Search these images*, type."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QFileDialog, QMenu
from pytestqt.qtbot import QtBot

from sdgui.panels.data.panel import DataPanel
from sdgui.panels.search.panel import SearchPanel
from tests.core.data.samples import write_image
from tests.sdgui.conftest import OpenWindow


@pytest.mark.parametrize("by", ["mouse", "keys"])
def test_a_folder_is_searched_from_data(
    open_window: OpenWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    write_image(tmp_path / "mine" / "a.png", 1)
    window = open_window()
    qtbot.keyClick(window, Qt.Key.Key_5, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: window.panel == "data")
    data = window.panels["data"]
    assert isinstance(data, DataPanel)
    button = data.view.empty._button
    assert [widget.isVisible() for widget in (button, data.view.save, data.view.subset)] == [True, False, False]
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "mine"))
    if by == "mouse":
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    else:
        qtbot.keyClick(button, Qt.Key.Key_Space)
    opening = QApplication.activePopupWidget()
    assert isinstance(opening, QMenu)
    assert [action.text() for action in opening.actions() if action.text()][-1].endswith("&demo's images")
    qtbot.keyClick(opening, Qt.Key.Key_O)  # a folder
    assert data.view.source.source() == str(tmp_path / "mine")
    assert data.view.save.isVisible()
    data.view.show_controls(True)
    if by == "mouse":
        qtbot.mouseClick(data.view.more, Qt.MouseButton.LeftButton)
    else:
        qtbot.keyClick(data.view.more, Qt.Key.Key_Space)
    menu = QApplication.activePopupWidget()
    assert isinstance(menu, QMenu)
    first = menu.actions()[0]
    assert first.text() == "Search &these images"
    if by == "mouse":
        qtbot.mouseClick(menu, Qt.MouseButton.LeftButton, pos=menu.actionGeometry(first).center())
    else:
        qtbot.keyClick(menu, Qt.Key.Key_T)
    qtbot.waitUntil(lambda: window.panel == "search")
    search = window.panels["search"]
    assert isinstance(search, SearchPanel)
    assert search.view.source.kind == "data"
    assert search.view.source.collection.data.source() == str(tmp_path / "mine")
    qtbot.waitUntil(lambda: search.view.query.line.hasFocus())
    qtbot.keyClicks(search.view.query.line, "a red kite")
    assert search.view.query.line.text() == "a red kite"
