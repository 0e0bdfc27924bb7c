"""The Search panel as a whole: more results, images as queries, what is kept, and what the source bar chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, Qt, QUrl
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from sdgui.app.main_window import MainWindow
from sdgui.panels.search import queries as search_queries
from sdgui.panels.search.collection import DATA, HELD_OUT, INDEX
from sdgui.panels.search.layout import IMAGES_TAB, MAP
from sdgui.panels.search.model import Query
from sdgui.panels.search.tabs.known_queries import Known
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.worker.replies import Failure
from tests.sdgui.panels.search.conftest import (
    OpenSearch,
    answered,
    leave_place,
    requests,
    type_words,
)


def test_more_results_are_fetched_at_the_end_of_the_list_and_no_further(
    qtbot: QtBot, open_search: OpenSearch, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, number in (("_FIRST", 2), ("_FURTHER", 2)):
        monkeypatch.setattr(search_queries, name, number)
    search = open_search()
    side = search.view.sides[0]
    type_words(qtbot, search, "moon")
    assert len(side.gallery.items()) == 2
    side.gallery.view.setCurrentIndex(side.gallery.model.index(1))
    side.gallery.scrolled.emit(0.5)
    side.gallery.scrolled.emit(0.95)
    qtbot.waitUntil(lambda: all(len(side.gallery.items()) == 4 for side in search.view.sides))
    assert side.gallery.current() == 1, "where the user was"
    side.gallery.scrolled.emit(0.95)
    qtbot.waitUntil(lambda: all(len(side.gallery.items()) == 6 for side in search.view.sides))
    asked = len(requests(folder))
    side.gallery.scrolled.emit(0.95)  # there are no more than six
    type_words(qtbot, search, "star")
    assert [request["k"] for request in requests(folder)[asked:]] == [2, 2], "a new query begins small"
    monkeypatch.setattr(search_queries, "_MOST", 2)
    asked = len(requests(folder))
    side.more_wanted.emit()
    qtbot.wait(50)
    assert len(requests(folder)) == asked


def test_a_image_as_query_keeps_the_prompts_and_what_was_searched_before(
    qtbot: QtBot, open_search: OpenSearch, folder: Path
) -> None:
    search = open_search()
    type_words(qtbot, search, "moon")
    bar = search.view.query
    bar.prompts.setCurrentIndex(1)
    search.view.tabs.setCurrentIndex(MAP)
    search.view.like_asked.emit(str(folder / "images" / "2.png"), 2)
    assert search.view.tabs.currentIndex() == IMAGES_TAB
    assert bar.query().prompts == bar.prompts.itemData(1)
    assert [query.words for query in bar._history.recent] == ["moon"]
    answered(qtbot, search)
    side = search.view.sides[0]
    side.gallery.set_current(1)
    side.gallery.view.setFocus()
    keys = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier
    qtbot.keyClick(side.gallery.view, Qt.Key.Key_Minus, keys)
    assert [part.weight for part in bar.chips.parts()] == [1, -1]
    search.view.tabs.setCurrentIndex(MAP)
    search.focus_search()
    assert search.view.tabs.currentIndex() == IMAGES_TAB


def test_at_most_eight_dropped_images_are_searched_with(open_search: OpenSearch) -> None:
    search = open_search()
    search.view.drop.dropped.emit([f"/nowhere/{number}.png" for number in range(10)])
    assert len(search.view.query.chips.parts()) == 8
    assert search.view.bar.text == "10 images were dropped; the first 8 are used."


def test_a_known_image_is_looked_up_by_itself_and_left_by_clearing(
    qtbot: QtBot, open_search: OpenSearch, folder: Path
) -> None:
    search = open_search()
    path, bar = str(folder / "images" / "3.png"), search.view.query
    search.look_up(Known("a yellow moon", path, 3, 0, (1.0,)))
    assert bar.query().caption == 0
    assert not bar.star.isEnabled()
    qtbot.waitUntil(lambda: bar.true_image.isVisibleTo(search.view))
    bar.line.clear()
    assert bar.query().caption == -1
    qtbot.waitUntil(lambda: not bar.true_image.isVisibleTo(search.view))
    search.look_up(Known("a yellow moon", path, 3, -1, (1.0,)))
    assert bar.query().find == "captions"
    search.look_up(Known("a yellow moon", path, 3, 0, (1.0,)))
    bar.add_image(path)
    assert bar.query().caption == -1


def test_keys_of_the_search_box(qtbot: QtBot, open_search: OpenSearch, folder: Path) -> None:
    search = open_search()
    bar = search.view.query
    type_words(qtbot, search, "moon")
    qtbot.keyClick(bar.line, Qt.Key.Key_Return)
    qtbot.keyClicks(bar.line, "light")
    qtbot.keyClick(bar.line, Qt.Key.Key_Up)
    assert bar.line.text() == "moon"
    qtbot.keyClick(bar.line, Qt.Key.Key_Down)
    assert bar.line.text() == "moonlight", "what was being typed comes back"
    qtbot.keyClick(bar.line, Qt.Key.Key_Return, Qt.KeyboardModifier.AltModifier)
    assert [(part.words, part.weight) for part in bar.chips.parts()] == [("moonlight", 1)]
    bar.line.setText("x")
    bar.plus.click()
    assert bar.chips.parts()[1].weight == 1
    with qtbot.waitSignal(bar.paste_asked):
        QGuiApplication.clipboard().setImage(search.grab().toImage())
        qtbot.keyClick(bar.line, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    before, both = bar.line.text(), QMimeData()
    both.setUrls([QUrl.fromLocalFile("/p/a.png")])
    both.setText("/p/a.png")
    with qtbot.waitSignal(bar.paste_asked):
        QGuiApplication.clipboard().setMimeData(both)
        qtbot.keyClick(bar.line, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    assert bar.line.text() == before, "a file is no word"
    QGuiApplication.clipboard().clear()
    bar.set_query(Query("sun", prompts="/mine/own.txt"))
    assert bar.query().prompts == "/mine/own.txt"
    bar.star.click()
    assert bar.star.isChecked()
    bar.star.click()
    assert bar._history.saved == []


def test_the_layout_comes_back_as_it_was_left(qtbot: QtBot, open_search: OpenSearch, folder: Path) -> None:
    search = open_search()
    filters = {"labels": {"tone": ["dark"]}}
    view = search.view
    view.filters.set_filters(filters, False)
    view.query.prompts.setCurrentIndex(1)
    view.sides[0].gallery.set_thumbnail_size(160)
    view._sizes["not made"] = "a3ept"
    view.source.collection.search_folder(str(folder / "images"))
    leave_place(search)
    again = open_search().view
    assert again.filters.filters() == filters
    assert not again.filters.group.isChecked()
    assert again.filter_button.text() == "Filters (1)"
    assert again.query.prompts.currentIndex() == 1
    assert [side.gallery.thumbnail_size() for side in again.sides] == [160, 160]
    assert again._sizes["not made"] == "a3ept"
    assert (again.source.kind, again.source.collection.data.source()) == (DATA, str(folder / "images"))
    assert again.query.filtered_query().filters == filters, "which a saved search records"


def test_a_model_chosen_by_hand_stays_until_another_run_is_asked_for(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search()
    picker, other = search.view.source.pickers[0], "open_clip:ViT-B-32,openai"
    assert picker.set_choice(ModelChoice(other, "", "ViT-B-32"))
    search.following.follow()
    window = search.window()
    assert isinstance(window, MainWindow)
    window.experiments.select_run(window.services.store.runs()[0].id)
    choice = picker.choice()
    assert choice is not None
    assert choice.model == other, "selecting in the tree is no request"
    leave_place(search)
    again = open_search()
    picker = again.view.source.pickers[0]
    choice = picker.choice()
    assert choice is not None
    assert choice.model == other
    run = again._services.store.runs()[0]
    again.use_run(run.id)
    choice = picker.choice()
    assert choice is not None
    assert choice.run_id == run.id


def test_two_sides_scroll_and_zoom_together_and_choose_the_same(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search()
    type_words(qtbot, search, "moon")
    one, two = (side.gallery for side in search.view.sides)
    one._slider.setValue(200)
    assert two.thumbnail_size() == 200
    for gallery in (one, two):
        gallery.resize(240, 200)
        gallery.view.doItemsLayout()
    qtbot.waitUntil(lambda: two.view.verticalScrollBar().maximum() > 0 and one.view.verticalScrollBar().maximum() > 0)
    one.view.verticalScrollBar().setValue(one.view.verticalScrollBar().maximum())
    assert two.view.verticalScrollBar().value() == two.view.verticalScrollBar().maximum()
    two.view.setCurrentIndex(two.model.index(2))
    assert one.current() == 3
    search.view.query.line.setFocus()
    qtbot.keyClick(search.view.query.line, Qt.Key.Key_Down)
    assert one.current() == 3, "what is chosen stays chosen"


def test_of_a_second_collection_nothing_is_asked_by_the_rows_of_the_first(
    qtbot: QtBot, open_search: OpenSearch, folder: Path, tmp_path: Path
) -> None:
    search = open_search()
    search.view.source.show_index(0, str(tmp_path / "first"))
    search.view.source.show_index(1, str(tmp_path / "whole"))
    qtbot.waitUntil(lambda: all(session.facts is not None and not session.opening for session in search.sessions))
    before = len(requests(folder))
    search.search_like(str(folder / "images" / "2.png"), 2)
    qtbot.waitUntil(lambda: len(requests(folder)) >= before + 1 and all(side.answer for side in search.view.sides))
    asked = {request["key"]: request["texts"] for request in requests(folder)[before:]}
    by_index = [texts for key, texts in asked.items() if "whole" in key]
    assert by_index == [[{"image": str(folder / "images" / "2.png"), "weight": 1.0}]]


def test_choices_of_the_source_bar(
    qtbot: QtBot, open_search: OpenSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = open_search()
    source, run = search.view.source, search._services.store.runs()[0]
    for name in ("one", "two"):
        source.show_index(0, str(tmp_path / name))
    collection = source.collection
    assert collection._recent() == [str(tmp_path / "two"), str(tmp_path / "one")]
    chosen: list[str] = []
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "three"))
    monkeypatch.setattr(collection, "show_index", lambda side, folder: chosen.append(f"{side}"))
    collection.ask_index()
    assert chosen == ["1"], "the side that has none yet"
    target = source.target(0)
    assert target is not None
    assert (target.model, target.index) == ("", str(tmp_path / "two")), "its own model"
    assert source.pickers[0].set_choice(ModelChoice("open_clip:ViT-B-32,openai", "", "ViT-B-32"))
    target = source.target(0)
    assert target is not None
    assert target.model == "open_clip:ViT-B-32,openai", "the user's own model for this index"
    collection.indexes[0].setCurrentIndex(collection.indexes[0].findData(str(tmp_path / "one")))
    collection.indexes[0].activated.emit(collection.indexes[0].currentIndex())
    target = source.target(0)
    assert target is not None
    assert target.model == ""
    state = source.state()
    source.restore({})
    source.restore(state)
    assert (source.kind, collection.indexes[0].currentData()) == (INDEX, str(tmp_path / "one"))
    assert source.show_run(run.id, run.folder, "shapes", alive=True)
    assert source.kind == HELD_OUT
    choice = source.pickers[0].choice()
    assert choice is not None
    assert choice.model.endswith("@last"), "of a run that trains"
    source.compare.setChecked(False)
    source.pickers[1]._entry = None
    source.compare.setChecked(True)
    other = source.pickers[1].choice()
    assert other is not None
    assert {choice.weights, other.weights} == {"student", "teacher"}


def test_a_side_that_is_closed_or_failed_shows_nothing_more(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search()
    type_words(qtbot, search, "moon")
    search.view.source.compare.setChecked(False)
    assert search.view.sides[1].answer is None
    assert search.view.sides[0].gallery.items()[0].badge == "", "there is no other model to rank it"
    search._open_failed(0, Failure("It ended."))
    assert search.view.sides[0].gallery.items() == []
    search.queries._show_failure(0, search.queries.number - 1, Failure("Old."))
    assert search.view.bar.text == "It ended.", "of a query that is no longer asked nothing is said"


def test_the_sheet_asks_for_what_is_typed(
    qtbot: QtBot, open_search: OpenSearch, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = open_search()
    sheet, sent = search.view.sheet, list[tuple[str, dict[str, Any]]]()
    monkeypatch.setattr(
        sheet._calls, "ask", lambda purpose, verb, done, failed, partial, **asked: sent.append((verb.name, asked))
    )
    sheet.drop.setChecked(True)
    sheet.folder.setText(str(tmp_path / "made"))
    sheet.refresh.click()
    assert sent.pop() == ("search_index", {"folder": str(tmp_path / "made"), "drop_missing": True})
    assert not sheet.refresh.isEnabled()
    sheet._enable(True)
    sheet.drop.setChecked(False)
    sheet.refresh.click()
    assert sent.pop()[1]["drop_missing"] is False, "what is on an unplugged disk stays"
    sheet._enable(True)
    sheet.old.setText("/old")
    sheet.move_images.click()
    assert search.view.bar.text == "Give the old and the new folder of the images."
    sheet.new.setText("/new")
    sheet.move_images.click()
    assert sent.pop()[1] == {"folder": str(tmp_path / "made"), "old": "/old", "new": "/new"}
    sheet._enable(True)
    sheet.source.set_source(str(folder / "images"))
    sheet.build.click()
    assert sent.pop()[1]["weights"] == "student"
