"""*Why this match?* by keys: both models, while one types, and off again."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from pytestqt.qtbot import QtBot

from sdgui.panels.search.panel import SearchPanel
from tests.sdgui.panels.search.conftest import OpenSearch, requests, type_words


def told(search: SearchPanel) -> list[str]:
    return [side.why.accessibleDescription() for side in search.view.sides]


def test_patches_and_words_of_both_models_follow_the_query(qtbot: QtBot, open_search: OpenSearch, folder: Path) -> None:
    search = open_search()
    type_words(qtbot, search, "a star")
    one, two = search.view.sides
    assert not one.why.isVisible()
    one.gallery.set_current(2)
    one.gallery.view.setFocus()
    qtbot.keyClick(one.gallery.view, Qt.Key.Key_W)
    wanted = ["star 100 %", "a 100 %"]
    qtbot.waitUntil(lambda: all(word in text for word, text in zip(wanted, told(search), strict=True)), timeout=10000)
    assert one.why.isVisible()
    assert two.why.isVisible()
    assert [text.rpartition(": ")[2] for text in told(search)] == ["upper left.", "lower right."]
    image = str(folder / "images" / "2.png")
    assert {(asked["path"], asked["text"]) for asked in requests(folder, "search_why")} == {(image, "a star")}

    qtbot.waitUntil(lambda: one.why.image._image is not None)
    shown = one.why.image.grab().toImage()
    hot, cold = QColor(shown.pixel(5, 5)), QColor(shown.pixel(shown.width() - 6, shown.height() - 6))
    assert hot.saturation() > 100 > 5 > cold.saturation(), "heat over grey"

    type_words(qtbot, search, "a star wrong")  # the same image, other words
    qtbot.waitUntil(lambda: "choose such a model" in told(search)[0], timeout=10000)
    search.focus_search()
    qtbot.keyClick(search.view.query.line, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: told(search)[0] == "Type words to see what they rest on.", timeout=10000)

    type_words(qtbot, search, "green")
    one.gallery.set_current(0)
    one.gallery.view.setFocus()
    qtbot.keyClick(one.gallery.view, Qt.Key.Key_W)
    assert not one.why.isVisible()


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
    assert told(search)[0] == "Opening the model …"
    qtbot.waitUntil(lambda: search.sessions[0].facts is not None, timeout=10000)
    qtbot.waitUntil(lambda: told(search)[0] != "Opening the model …", timeout=10000)
