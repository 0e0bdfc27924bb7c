"""A damaged window.ini: every value that a panel restores is replaced, and the window opens all the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QByteArray, QSettings
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from core.spec.children import SOURCE_FOLDER
from sdgui.panels.clean.panel import CleanPanel
from sdgui.panels.registry import PANELS
from sdgui.panels.search.panel import SearchPanel
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


def test_damaged_parts_of_the_saved_state_of_search_and_clean_are_ignored(
    qtbot: QtBot, open_window: OpenWindow
) -> None:
    window = open_window()
    settings = window.services.settings
    search, clean = window.show_panel("search"), window.show_panel("clean")
    assert isinstance(search, SearchPanel)
    assert isinstance(clean, CleanPanel)
    for damaged in (None, -1, 10**30, "\ud800", [], {}):
        for variant in _with_damage(_SEARCH_STATE, damaged):
            settings.setValue("search/state", json.dumps(variant))
            search._restore()
        for variant in _with_damage({"model": _MODEL, "data": "a.csv", "both": True}, damaged):
            clean.view.source.restore(json.dumps(variant))


_MODEL = {"model": "open_clip:ViT-B-32", "network": "student", "title": "x", "run_id": 1}
_SEARCH_STATE = {
    "source": {"models": [_MODEL], "compare": True, "where": "index", "data": "a.csv", "indexes": ["a", "b"]},
    "followed": 1,
    "tab": 1,
    "score": "a",
    "filters": {"folders": ["a"], "labels": {"colour": ["red"]}, "min_size": "1 KB"},
    "group": True,
    "prompts": "photo",
    "size": 100,
}


def _with_damage(stored: Any, damaged: object) -> Iterator[Any]:
    """``stored`` with each of its parts in turn replaced by ``damaged``."""
    yield damaged
    parts = stored.items() if isinstance(stored, dict) else enumerate(stored) if isinstance(stored, list) else ()
    for key, part in parts:
        for variant in _with_damage(part, damaged):
            copy = stored.copy()
            copy[key] = variant
            yield copy
