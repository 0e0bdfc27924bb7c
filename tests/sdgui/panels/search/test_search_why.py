"""*Why this match?* shows nothing of other data or of another model."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from sdgui.panels.search.panel import SearchPanel
from tests.sdgui.panels.search.conftest import OpenSearch, type_words


def told(search: SearchPanel) -> list[str]:
    return [side.why.accessibleDescription() for side in search.view.sides]


def test_nothing_of_other_data_or_another_model_stays(qtbot: QtBot, open_search: OpenSearch, folder: Path) -> None:
    search = open_search()
    type_words(qtbot, search, "a star")
    one = search.view.sides[0]
    one.gallery.set_current(2)
    one.gallery.view.setFocus()
    qtbot.keyClick(one.gallery.view, Qt.Key.Key_W)
    qtbot.waitUntil(lambda: "star 100 %" in told(search)[0], timeout=10000)
    search.view.source.collection.search_folder(str(folder / "pause"))
    assert search.sessions[0].opening
    assert (one.why.image.path, one.why.image._heat) == (None, None)
    assert told(search)[0] == "Opening the model…"
    qtbot.waitUntil(lambda: search.sessions[0].facts is not None, timeout=10000)
    qtbot.waitUntil(lambda: told(search)[0] != "Opening the model…", timeout=10000)
