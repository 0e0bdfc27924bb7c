"""The Search panel over a worker: queries, filters, what is kept, and the models and images that it opens."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QFileDialog, QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.main_window import MainWindow
from sdgui.panels.search.layout import EVALUATION, IMAGES_TAB
from sdgui.widgets.gallery.items import describe_item
from sdgui.widgets.message import info
from tests.sdgui.panels.search.conftest import (
    OpenSearch,
    answered,
    requests,
    type_words,
)


def press(qtbot: QtBot, widget: QWidget) -> None:
    qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)


def focused() -> QWidget:
    widget = QApplication.focusWidget()
    assert widget is not None
    return widget


def test_words_are_searched_while_typing_and_a_saved_search_restores_its_filters(
    qtbot: QtBot, open_search: OpenSearch, folder: Path
) -> None:
    search = open_search()
    assert [side.title.text() for side in search.view.sides] == ["Student", "Teacher"]
    type_words(qtbot, search, "moon")
    student, teacher = (side.gallery.items() for side in search.view.sides)
    assert (student[0].caption, student[0].badge, teacher[0].caption) == ("a red circle", "▲ 5", "a white line")
    assert "5 ranks higher than with Teacher" in describe_item(student[0])
    assert "2 above the cut-off 0.750" in search.view.sides[0].cutoff_label.text()
    filters = {"labels": {"tone": ["cold"]}, "min_size": "1 KB"}
    search.view.filters.set_filters(filters, group=False)
    search.view.filters.changed.emit()
    qtbot.waitUntil(lambda: requests(folder)[-1]["filters"] == filters)
    search.view.query.save_button.click()
    search.view.filters.clear_button.click()
    assert not search.view.query.save_button.isChecked(), "without the filters it is another search"
    type_words(qtbot, search, "star")
    qtbot.waitUntil(lambda: (requests(folder)[-1]["filters"], requests(folder)[-1]["group"]) == ({}, True))
    saved = next(action for action in search.view.query.history_menu().actions() if action.text().startswith("moon"))
    assert "(filtered, ungrouped)" in saved.text()
    saved.trigger()
    qtbot.waitUntil(lambda: requests(folder)[-1]["texts"][0]["text"] == "moon")
    assert requests(folder)[-1]["filters"] == filters
    assert not requests(folder)[-1]["group"]
    assert not search.view.filters.group.isChecked()


def test_from_own_folder_to_first_search_in_three_actions_and_images_never_move(
    qtbot: QtBot, open_search: OpenSearch, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = open_search()
    window, source, chosen = search.window(), search.view.source, str(folder / "images")
    assert isinstance(window, MainWindow)
    window.resize(1440, 900)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: chosen)
    press(qtbot, source.button)
    press(qtbot, source.collection.folder_button)
    qtbot.keyClicks(focused(), "moon")
    answered(qtbot, search, "moon")
    assert {request["data"] for request in requests(folder, "search_open")[-2:]} == {chosen}
    assert source.button.text() == "images · 6 images"

    # By keys; what is typed while the images are opened becomes the query.
    source.collection.search_folder("pause")
    window.show_panel("runs")
    qtbot.keyClick(window, Qt.Key.Key_6, Qt.KeyboardModifier.ControlModifier)
    assert search.sessions[0].opening
    keys = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier
    qtbot.keyClick(focused(), Qt.Key.Key_O, keys)
    qtbot.keyClicks(focused(), "star")
    answered(qtbot, search, "moonstar")

    # The images have most of the window, and no message, strip or popover moves them.
    images = search.view.sides[0].gallery.view.viewport()

    def area() -> tuple[int, int]:
        QApplication.processEvents()
        return images.mapTo(window, QPoint(0, 0)).y(), images.height()

    before = area()
    assert before[1] >= 0.7 * window.height()
    search.view.query.add_image(str(folder / "images" / "2.png"))
    search.view.filters.set_filters({"min_size": "2 KB"}, False)
    search.queries.schedule()
    press(qtbot, search.view.filter_button)
    search.view.strip.start("Encoding")
    search.view.bar.show_message(info("Something happened."))
    assert area() == before
    assert search.view.filter_popover.isVisible()
    qtbot.keyClick(focused(), Qt.Key.Key_Escape)
    assert not search.view.filter_popover.isVisible()
    press(qtbot, source.button)
    assert source.popover.isVisible()
    press(qtbot, source.button)
    assert not source.popover.isVisible(), "the button closes what it opened"
    for key, tab in ((Qt.Key.Key_V, EVALUATION), (Qt.Key.Key_G, IMAGES_TAB)):
        qtbot.keyClick(search.view.query.line, key, Qt.KeyboardModifier.AltModifier)
        assert search.view.tabs.currentIndex() == tab
    press(qtbot, search.view.more)
    window.show_panel("runs")
    assert not search.view.more_popover.isVisible(), "it belongs to the panel"
