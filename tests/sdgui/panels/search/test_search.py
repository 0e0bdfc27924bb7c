"""Queries in Search: words, images, weights, filters, history."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, Qt, QUrl
from pytestqt.qtbot import QtBot

from sdgui.panels.search.layout import EVALUATION, IMAGES_TAB
from sdgui.panels.search.model import Query
from sdgui.widgets.gallery.items import spoken
from tests.sdgui.panels.search.conftest import (
    OpenSearch,
    answered,
    leave_place,
    requests,
    type_words,
)


def test_words_are_searched_as_one_types_by_both_networks(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search()
    assert search.view.source.comparing
    assert [side.title.text() for side in search.view.sides] == ["Student", "Teacher"]
    type_words(qtbot, search, "moon")
    student, teacher = (side.gallery.items() for side in search.view.sides)
    assert [item.rank for item in student] == [1, 2, 3, 4, 5, 6]
    assert student[0].caption == "a red circle"
    assert teacher[0].caption == "a white line"
    assert student[0].badge == "▲ 5"
    assert "5 ranks higher than with Teacher" in spoken(student[0])
    assert student[5].badge == "▼ 5"
    assert "2 above the cut-off 0.750" in search.view.sides[0].line.text()
    assert [item.faint for item in student] == [False, False, True, True, True, True]
    assert [item.line for item in student] == [False, False, True, False, False, False]


def test_questions_that_are_overtaken_are_never_sent(qtbot: QtBot, open_search: OpenSearch, folder: Path) -> None:
    search = open_search()
    search.view.query.set_query(Query("slow"))
    qtbot.waitUntil(lambda: len(requests(folder)) >= 1)
    for words in ("s", "su", "sun", "sunn", "sunny"):
        search.view.query.line.setText(words)
        search.queries.run()
    answered(qtbot, search, "sunny")
    asked = [request["texts"][0]["text"] for request in requests(folder)]
    assert asked.count("sunny") == 2
    assert not {"s", "su", "sun"} & set(asked)


def test_parts_with_weights_and_without(qtbot: QtBot, open_search: OpenSearch, folder: Path) -> None:
    search = open_search()
    type_words(qtbot, search, "people")
    qtbot.keyClick(search.view.query.line, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(folder / "images" / "2.png"))])
    search.view.drop.take(data)
    qtbot.waitUntil(lambda: len(search.view.query.chips.parts()) == 2)
    qtbot.keyClicks(search.view.query.line, "at night")
    search.view.query.chips.chips()[1]._weight.setValue(2.0)
    answered(qtbot, search, "at night")
    qtbot.waitUntil(lambda: len(requests(folder)[-1]["texts"]) == 2 and requests(folder)[-1]["texts"][1]["weight"] == 2)
    last = requests(folder)[-1]
    assert last["texts"] == [
        {"text": "at night", "weight": 1.0},
        {"image": str(folder / "images" / "2.png"), "weight": 2.0},
    ]
    assert last["minus"] == [{"text": "people", "weight": 1.0}]
    assert search.view.query.query().title == "at night − people + 2.png ×2"
    qtbot.keyClick(search.view.query.chips.chips()[0], Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: requests(folder)[-1]["minus"] == [])


def test_more_like_a_result_and_its_captions(qtbot: QtBot, open_search: OpenSearch, folder: Path) -> None:
    search = open_search()
    type_words(qtbot, search, "moon")
    view = search.view.sides[1].gallery.view
    qtbot.keyClick(search.view.query.line, Qt.Key.Key_Down)
    assert search.view.sides[0].gallery.current() == 0
    assert search.view.sides[1].gallery.current() == 5  # the same image there
    view.setFocus()
    view.setCurrentIndex(search.view.sides[1].gallery.model.index(1))
    qtbot.keyClick(view, Qt.Key.Key_M)
    qtbot.waitUntil(lambda: requests(folder)[-1]["texts"] == [{"row": 4, "weight": 1.0}])
    answered(qtbot, search)
    search.view.sides[0].captions_asked.emit(str(folder / "images" / "3.png"), 3)
    qtbot.waitUntil(lambda: search.view.sides[0].query.find == "captions")
    items = search.view.sides[0].gallery.items()
    assert [item.correct for item in items] == [None, None, None, True, None, None]
    assert "rank 4 of 6" in search.view.sides[0].true.text()


def test_filters_pass_what_they_say(qtbot: QtBot, open_search: OpenSearch, folder: Path) -> None:
    search = open_search()
    type_words(qtbot, search, "moon")
    row = search.view.filters
    qtbot.waitUntil(lambda: row.label.findData("tone") > 0)
    row.label.setCurrentIndex(row.label.findData("tone"))
    row.label.activated.emit(row.label.currentIndex())
    row.value.setCurrentIndex(row.value.findData("dark"))
    row.value.activated.emit(row.value.currentIndex())
    qtbot.waitUntil(lambda: len(search.view.sides[0].gallery.items()) == 2)
    assert search.view.filter_button.text() == "Filters (1)"
    row.fields["min_size"].setText("2 KB")
    row.fields["min_size"].setModified(True)
    row.fields["min_size"].editingFinished.emit()
    qtbot.waitUntil(lambda: requests(folder)[-1]["filters"].get("min_size") == "2 KB")
    row.clear_button.click()
    qtbot.waitUntil(lambda: len(search.view.sides[0].gallery.items()) == 6)


def test_history_saved_searches_and_the_place_are_remembered(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search()
    for words in ("moon", "star"):
        type_words(qtbot, search, words)
        qtbot.keyClick(search.view.query.line, Qt.Key.Key_Return)
    search.view.query.star.click()
    search.view.query.line.clear()
    qtbot.keyClick(search.view.query.line, Qt.Key.Key_Up)
    assert search.view.query.line.text() == "star"
    qtbot.keyClick(search.view.query.line, Qt.Key.Key_Up)
    assert search.view.query.line.text() == "moon"
    qtbot.keyClick(search.view.query.line, Qt.Key.Key_Down)
    assert search.view.query.line.text() == "star"
    search.view.score.setCurrentIndex(search.view.score.findData("rank"))
    search.view.tabs.setCurrentIndex(EVALUATION)
    search.view.source.compare.setChecked(False)
    leave_place(search)
    again = open_search()
    assert again.view.tabs.currentIndex() == EVALUATION
    assert again.view.score.currentData() == "rank"
    assert not again.view.source.comparing
    titles = [action.text() for action in again.view.query.past_menu().actions()]
    assert titles[:5] == ["Saved", "star", "Recent", "star", "moon"]


def test_a_saved_search_comes_back_with_its_filters(qtbot: QtBot, open_search: OpenSearch, folder: Path) -> None:
    search = open_search()
    type_words(qtbot, search, "moon")
    filters = {"labels": {"tone": ["cold"]}, "min_size": "1 KB"}
    search.view.filters.set_filters(filters, group=False)
    search.view.filters.changed.emit()
    qtbot.waitUntil(lambda: requests(folder)[-1]["filters"] == filters)
    search.view.query.star.click()
    search.view.filters.clear_button.click()
    assert not search.view.query.star.isChecked(), "without the filters it is another search"
    type_words(qtbot, search, "star")
    qtbot.waitUntil(lambda: (requests(folder)[-1]["filters"], requests(folder)[-1]["group"]) == ({}, True))
    saved = next(action for action in search.view.query.past_menu().actions() if action.text().startswith("moon"))
    assert "(filtered, ungrouped)" in saved.text()
    saved.trigger()
    qtbot.waitUntil(lambda: requests(folder)[-1]["texts"][0]["text"] == "moon")
    assert requests(folder)[-1]["filters"] == filters
    assert not requests(folder)[-1]["group"]
    assert not search.view.filters.group.isChecked()


def test_wrong_queries_long_ones_and_none_are_told_in_words(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search()
    search.view.query.set_query(Query("wrong"))
    qtbot.waitUntil(lambda: "cancel out" in search.view.bar.text)
    type_words(qtbot, search, "moon")
    assert not search.view.bar.isVisible()
    search.view.query.set_query(Query("x" * 10_000))
    qtbot.waitUntil(lambda: search.view.sides[0].line.text().startswith("the query is long."))
    search.view.query.set_query(Query("луна 月"))
    answered(qtbot, search, "луна 月")
    search.view.query.set_query(Query())
    qtbot.waitUntil(lambda: search.view.sides[0].answer is None)
    gallery = search.view.sides[0].gallery
    assert gallery.items() == []
    assert gallery._empty.text() == "Type a query or drop an image here."
    search.view.tabs.setCurrentIndex(EVALUATION)
    assert gallery._empty.text() == "Choose a query on the left, or type one."
    search.view.tabs.setCurrentIndex(IMAGES_TAB)
    assert gallery._empty.text() == "Type a query or drop an image here."


def test_an_answer_to_a_question_that_is_no_longer_asked_is_not_shown(
    qtbot: QtBot, open_search: OpenSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = open_search()
    shown: list[object] = []
    answers: list[tuple[int, object]] = []
    side = search.view.sides[0]
    show = side.show_answer
    monkeypatch.setattr(side, "show_answer", lambda answer, *rest: (shown.append(answer), show(answer, *rest)))
    search.sessions[0].answered.connect(lambda number, answer: answers.append((number, answer)))
    search.view.query.set_query(Query("slow"))
    search.queries.run()
    overtaken = search.queries.number
    search.view.query.line.setText("star")
    search.queries.run()
    answered(qtbot, search, "star")
    qtbot.waitUntil(lambda: search.queries.number in [number for number, _ in answers])
    late = [answer for number, answer in answers if number <= overtaken]
    assert late, "the worker did answer it"
    assert shown
    assert not any(one is two for one in shown for two in late)


def test_a_filter_on_a_label_that_the_collection_lacks_is_seen_and_asked_with(
    qtbot: QtBot, open_search: OpenSearch, folder: Path
) -> None:
    search = open_search()
    search.view.filters.set_filters({"labels": {"group": ["animals"]}}, True)
    search.open(0, reopen=True)
    qtbot.waitUntil(lambda: search.view.filters.label.findData("tone") > 0 and not search.sessions[0].opening)
    type_words(qtbot, search, "moon")
    assert requests(folder)[-1]["filters"] == {"labels": {"group": ["animals"]}} == search.view.filters.filters()
    assert search.view.filters.label.currentText() == "group"
    assert search.view.filter_button.text() == "Filters (1)"


def test_typing_ends_the_question_after_a_known_caption(qtbot: QtBot, open_search: OpenSearch, folder: Path) -> None:
    search = open_search()
    search.view.tabs.setCurrentIndex(EVALUATION)
    qtbot.waitUntil(lambda: bool(search.view.evaluation.model.visible_queries), timeout=10000)
    search.view.evaluation.choose_first()
    qtbot.waitUntil(lambda: bool(requests(folder)) and requests(folder)[-1].get("caption") == 5)
    search.view.query.line.setFocus()
    search.view.query.line.end(False)
    qtbot.keyClicks(search.view.query.line, " at night")
    qtbot.waitUntil(lambda: "texts" in requests(folder)[-1])
    assert requests(folder)[-1]["texts"][0]["text"] == "a white line at night"
    assert search.view.query.query().caption < 0


def test_weighing_what_is_excluded_leaves_it_excluded(qtbot: QtBot, open_search: OpenSearch, folder: Path) -> None:
    search = open_search()
    type_words(qtbot, search, "people")
    qtbot.keyClick(search.view.query.line, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClicks(search.view.query.line, "at night")
    search.view.query.chips.chips()[0]._weight.setValue(2.5)
    qtbot.waitUntil(lambda: requests(folder)[-1]["minus"] == [{"text": "people", "weight": 2.5}])
    assert [request["text"] for request in requests(folder)[-1]["texts"]] == ["at night"]
