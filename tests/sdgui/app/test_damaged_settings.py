"""A damaged window.ini: every value that a panel restores is replaced, and the window opens all the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PySide6.QtCore import QByteArray, QSettings
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from core.spec.children import SOURCE_FOLDER
from sdgui.panels.registry import PANELS
from tests.sdgui.conftest import OpenWindow, settle
from tests.sdgui.driving import add

_KEY = re.compile(r'"([a-z_]+/[a-z_/]+)"')


def saved_keys(home: Path) -> set[str]:
    """The keys in window.ini, and all texts in the source code that look like one."""
    sources = (SOURCE_FOLDER / "sdgui").rglob("*.py")
    named = {key for source in sources for key in _KEY.findall(source.read_text(encoding="utf-8"))}
    return named | set(QSettings(str(home / "window.ini"), QSettings.Format.IniFormat).allKeys())


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "x",
        "-1",
        "1.5",
        "9" * 30,
        "²",
        "[",
        "{}",
        '["x", {"a": [1]}, null, -1]',
        '{"a": null, "model": 5, "columns": 5, "source": []}',
        ["x", "y"],
        QByteArray(b"\x00\xff\x01"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_window_with_damaged_settings_opens(
    qtbot: QtBot, open_window: OpenWindow, home: Path, damaged: object
) -> None:
    window = open_window()
    add(window)
    for spec in PANELS:
        window.show_panel(spec.name)
    window.close()
    settle(window)
    settings = QSettings(str(home / "window.ini"), QSettings.Format.IniFormat)
    for key in saved_keys(home):
        settings.setValue(key, damaged)
    settings.sync()
    window = open_window()
    for spec in PANELS:
        window.show_panel(spec.name)
        QApplication.processEvents()
    assert len(window.services.store.experiments()) == 1
    window.close()
