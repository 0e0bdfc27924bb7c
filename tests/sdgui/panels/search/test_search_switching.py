"""What Search shows while its models and its images change: nothing old under a new name, nothing typed is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QFileDialog, QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.main_window import MainWindow
from sdgui.panels.search.collection import DATA
from sdgui.panels.search.layout import EVALUATION
from sdgui.panels.search.panel import SearchPanel
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.widgets.message import info
from tests.sdgui.panels.search.conftest import OpenSearch, answered, leave_place, requests, type_words


def window_of(search: SearchPanel) -> MainWindow:
    window = search.window()
    assert isinstance(window, MainWindow)
    return window


def press(qtbot: QtBot, widget: QWidget) -> None:
    qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)


def focused() -> QWidget:
    widget = QApplication.focusWidget()
    assert widget is not None
    return widget


def test_keys_typed_while_search_opens_become_an_answered_query(
    qtbot: QtBot, open_search: OpenSearch, folder: Path
) -> None:
    search = open_search()
    window = window_of(search)
    models = [picker.text() for picker in search.view.source.pickers]
    window.show_panel("runs")
    search.view.source.collection.data.set_source("pause")
    search.view.source.collection.set_kind(DATA)
    window.show_panel("search")
    assert search.sessions[0].opening
    qtbot.keyClicks(focused(), "teacher moon")
    assert search.sessions[0].opening, "the keys came before the images"
    answered(qtbot, search, "teacher moon")
    assert [picker.text() for picker in search.view.source.pickers] == models


def test_no_score_stays_under_the_heading_of_another_model(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search()
    type_words(qtbot, search, "moon")
    side = search.view.sides[0]
    assert side.gallery.items()
    assert search.view.source.pickers[0].set_choice(ModelChoice("open_clip:ViT-B-32,openai", "", ""))
    assert side.title.text() == "ViT-B-32 · openai"
    assert side.gallery.items() == [], "those were the student's"
    answered(qtbot, search, "moon")
    assert search.view.sides[1].title.text().startswith("shapes · run 1")


def test_another_collection_ends_the_previous_evaluation(qtbot: QtBot, open_search: OpenSearch, tmp_path: Path) -> None:
    search = open_search()
    search.view.tabs.setCurrentIndex(EVALUATION)
    pane = search.view.evaluation
    qtbot.waitUntil(lambda: pane.model.columnCount() == 4 and pane.current() is not None, timeout=10000)
    assert search.view.query.query().caption == 5
    search.view.source.show_index(0, str(tmp_path / "stamps"))
    assert search.view.query.query().caption == -1, "its number means nothing there"
    assert pane.model.visible_queries == []
    assert pane.curve.lines() == []
    assert search.view.sides[0].gallery.items() == search.view.sides[1].gallery.items() == []
    search.view.source.show_index(1, str(tmp_path / "whole"))
    qtbot.waitUntil(
        lambda: all(session.facts is not None and not session.opening for session in search.sessions), timeout=10000
    )
    qtbot.waitUntil(lambda: bool(pane.curve.lines()), timeout=10000)
    qtbot.wait(50)
    assert len(pane.curve.lines()) == 2, "two data sets are not compared"
    assert pane.model.columnCount() == 2
    assert "stamps, 2 images" in search.view.bar.text.replace(str(tmp_path) + "/", "")
    assert "no caption" not in search.view.bar.text


def test_a_cached_evaluation_is_shown_after_a_restart_before_encoding(
    qtbot: QtBot, open_search: OpenSearch, folder: Path
) -> None:
    search = open_search()
    (folder / "pause").mkdir()
    search.view.source.collection.search_folder(str(folder / "pause"))
    search.view.tabs.setCurrentIndex(EVALUATION)
    qtbot.waitUntil(lambda: search.view.evaluation.model.columnCount() == 4, timeout=10000)
    before = [query.title for query in search.view.evaluation.model.visible_queries]
    leave_place(search)
    again = open_search(wait=False)
    assert again.sessions[0].opening
    pane = again.view.evaluation
    qtbot.waitUntil(lambda: "being re-evaluated" in pane.count_label.text(), timeout=10000)
    assert again.sessions[0].opening, "nothing is encoded yet"
    assert [query.title for query in pane.model.visible_queries] == before
    assert pane.isVisible()
    qtbot.waitUntil(
        lambda: "being re-evaluated" not in pane.count_label.text() and pane.model.columnCount() == 4, timeout=10000
    )


def test_one_model_on_both_sides_is_reported_with_a_remedy(
    qtbot: QtBot, open_search: OpenSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = open_search()
    source = search.view.source
    source.pickers[0].set_network("teacher")
    qtbot.waitUntil(lambda: "Both sides use the same model" in search.view.bar.text, timeout=10000)
    with monkeypatch.context() as only:
        only.setattr(source.pickers[0], "networks", lambda: ("student",))
        alone = search._comparison_problem()
        assert alone is not None
        assert alone.remedy is None, "there is no other to compare it with"
    search.view.bar.press_remedy()
    assert [picker.text().rpartition(" · ")[0] for picker in source.pickers] == [
        "shapes · run 1 · student",
        "shapes · run 1 · teacher",
    ]
    qtbot.waitUntil(
        lambda: all(session.facts is not None and not session.opening for session in search.sessions), timeout=10000
    )
    assert not search.view.bar.isVisible()


def test_images_take_seventy_percent_of_the_window_and_never_move(
    qtbot: QtBot, open_search: OpenSearch, folder: Path
) -> None:
    search = open_search()
    window = window_of(search)
    window.resize(1440, 900)
    type_words(qtbot, search, "moon")
    images = search.view.sides[0].gallery.view.viewport()

    def area() -> tuple[int, int]:
        QApplication.processEvents()
        return images.mapTo(window, QPoint(0, 0)).y(), images.height()

    before = area()
    assert before[1] >= 0.7 * window.height()
    search.view.query.add_image(str(folder / "images" / "2.png"))
    search.view.filters.set_filters({"min_size": "2 KB"}, False)
    search.queries.changed()
    press(qtbot, search.view.filter_button)
    search.view.strip.start("Encoding")
    search.view.show_message(info("Something happened."))
    assert area() == before
    assert search.view.filter_popover.isVisible()
    qtbot.keyClick(focused(), Qt.Key.Key_Escape)
    assert not search.view.filter_popover.isVisible()
    press(qtbot, search.view.source.button)
    assert search.view.source.popover.isVisible()
    press(qtbot, search.view.source.button)
    assert not search.view.source.popover.isVisible(), "the button closes what it opened"
    press(qtbot, search.view.more)
    window.show_panel("runs")
    assert not search.view.more_popover.isVisible(), "it belongs to the panel"


def test_from_own_folder_to_first_search_in_three_actions_by_mouse_and_keyboard(
    qtbot: QtBot, open_search: OpenSearch, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = open_search()
    chosen = str(folder / "images")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: chosen)
    press(qtbot, search.view.source.button)
    press(qtbot, search.view.source.collection.folder)
    qtbot.keyClicks(focused(), "moon")
    answered(qtbot, search, "moon")
    assert {request["data"] for request in requests(folder, "search_open")[-2:]} == {chosen}
    assert search.view.source.button.text() == "images · 6 images"
    search.view.source.collection.search_folder("good")
    window = window_of(search)
    window.show_panel("runs")
    qtbot.keyClick(window, Qt.Key.Key_6, Qt.KeyboardModifier.ControlModifier)
    keys = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier
    qtbot.keyClick(focused(), Qt.Key.Key_O, keys)
    qtbot.keyClicks(focused(), "star")
    answered(qtbot, search, "moonstar")
    assert search.view.source.button.text() == "images · 6 images"
