"""The Search panel over a worker: queries, filters, what is kept, and the models and images that it opens."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QMimeData, Qt, QUrl
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from sdgui.app.main_window import MainWindow
from sdgui.panels.search.collection import DATA
from sdgui.panels.search.model import Query
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.widgets.gallery.items import describe_item
from sdgui.widgets.message import Message
from tests.sdgui.panels.search.conftest import (
    OpenSearch,
    add_checkpoint,
    answered,
    leave_place,
    requests,
    type_words,
)


def test_words_are_searched_while_typing_by_both_networks(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search()
    assert search.view.source.comparing
    assert [side.title.text() for side in search.view.sides] == ["Student", "Teacher"]
    type_words(qtbot, search, "moon")
    student, teacher = (side.gallery.items() for side in search.view.sides)
    assert [item.rank for item in student] == [1, 2, 3, 4, 5, 6]
    assert student[0].caption == "a red circle"
    assert teacher[0].caption == "a white line"
    assert student[0].badge == "▲ 5"
    assert "5 ranks higher than with Teacher" in describe_item(student[0])
    assert student[5].badge == "▼ 5"
    assert "2 above the cut-off 0.750" in search.view.sides[0].line.text()
    assert [item.faint for item in student] == [False, False, True, True, True, True]
    assert [item.line for item in student] == [False, False, True, False, False, False]


def test_queries_with_and_without_weights(qtbot: QtBot, open_search: OpenSearch, folder: Path) -> None:
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


def test_a_saved_search_restores_its_filters(qtbot: QtBot, open_search: OpenSearch, folder: Path) -> None:
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
    with qtbot.waitSignal(bar.paste_requested):
        QGuiApplication.clipboard().setImage(search.grab().toImage())
        qtbot.keyClick(bar.line, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    before, both = bar.line.text(), QMimeData()
    both.setUrls([QUrl.fromLocalFile("/p/a.png")])
    both.setText("/p/a.png")
    with qtbot.waitSignal(bar.paste_requested):
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


def test_a_manually_chosen_model_stays_until_another_run_is_opened(qtbot: QtBot, open_search: OpenSearch) -> None:
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
    store, messages = again._services.store, list[Message]()
    again.message_requested.connect(messages.append)
    again.use_run(store.add_run(run.experiment_id).id)
    assert picker.choice() == choice, "a run without a checkpoint changes nothing ..."
    assert [message.level for message in messages] == ["warning"], "... and that is said"
    assert f"Search uses {again.view.source.name(0)}" in messages[0].text


def test_two_sides_scroll_zoom_and_select_together(qtbot: QtBot, open_search: OpenSearch) -> None:
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


def test_missing_images_are_grey_and_can_be_relocated(
    qtbot: QtBot, open_search: OpenSearch, folder: Path, tmp_path: Path
) -> None:
    search = open_search()
    search.view.source.compare.setChecked(False)
    search.view.query.set_query(Query("moon"))
    search.view.source.show_index(0, str(tmp_path / "moved"))
    qtbot.waitUntil(lambda: "moved or deleted" in search.view.bar.text, timeout=10000)
    assert all(item.missing for item in search.view.sides[0].gallery.items())
    search.view.bar.press_remedy()
    assert search.view.sheet.isVisible()
    assert search.view.sheet.old.text() == str(folder / "gone")
    search.view.sheet.new.setText(str(folder / "images"))
    search.view.sheet.move_images.click()
    qtbot.waitUntil(lambda: bool(requests(folder, "search_relocate")), timeout=10000)
    assert requests(folder, "search_relocate")[0]["new"] == str(folder / "images")


def test_a_newer_checkpoint_is_opened_automatically(qtbot: QtBot, open_search: OpenSearch, folder: Path) -> None:
    search = open_search()
    type_words(qtbot, search, "moon")
    run = search._services.store.runs()[0]
    add_checkpoint(run.dir.checkpoints / "step-00000009")
    before = len(requests(folder, "search_open"))
    for picker in search.view.source.pickers:
        picker.refresh()
    qtbot.waitUntil(lambda: len(requests(folder, "search_open")) == before + 2, timeout=10000)
    answered(qtbot, search, "moon")


def test_a_dead_worker_is_replaced_at_the_next_query(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search()
    type_words(qtbot, search, "moon")
    search._services.pool.shutdown()
    type_words(qtbot, search, "star")
    assert len(search.view.sides[0].gallery.items()) == 6


def test_an_invalid_answer_is_reported_and_the_query_retried(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search()
    search.view.source.compare.setChecked(False)
    search.view.source.collection.set_kind(DATA)
    search.view.source.collection.data.set_source("garbage")
    qtbot.waitUntil(lambda: "answer cannot be read" in search.view.bar.text)
    assert not search.view.strip.isVisible()
    assert search.view.bar._action.text() == "Try again"
    search.view.source.collection.data.set_source("good")
    qtbot.waitUntil(lambda: search.sessions[0].facts is not None)
    assert not search.view.bar.isVisible()
    search.view.query.set_query(Query("garbage"))
    qtbot.waitUntil(lambda: "answer cannot be read" in search.view.bar.text)
    search.view.query.set_query(Query("moon"))
    qtbot.waitUntil(lambda: search.view.sides[0].query.words == "moon" and not search.view.bar.isVisible())
