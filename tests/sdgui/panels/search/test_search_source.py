"""The models and collections that Search opens: indexes, moved images, checkpoints, failures."""

from __future__ import annotations

from pathlib import Path

from pytestqt.qtbot import QtBot

from sdgui.panels.search.collection import DATA, INDEX
from sdgui.panels.search.model import Query
from tests.sdgui.panels.search.conftest import (
    OpenSearch,
    add_checkpoint,
    answered,
    requests,
    type_words,
)


def test_an_index_names_its_model_and_another_models_is_refused(
    qtbot: QtBot, open_search: OpenSearch, tmp_path: Path
) -> None:
    search = open_search()
    search.view.source.compare.setChecked(False)
    search.view.source.show_index(0, str(tmp_path / "damaged"))
    qtbot.waitUntil(lambda: "damaged" in search.view.bar.text, timeout=10000)
    assert search.view.source.kind == INDEX
    choice = search.view.source.pickers[0].choice()
    assert choice is not None
    assert choice.model == "open_clip:ViT-B-32,openai"
    search.view.source.show_index(0, str(tmp_path / "other"))
    qtbot.waitUntil(lambda: "built with open_clip:A" in search.view.bar.text, timeout=10000)
    assert "not open_clip:B" in search.view.bar.text
    assert search.view.empty.isVisible()


def test_images_that_are_gone_are_grey_and_can_be_relocated(
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


def test_an_index_is_built_with_progress_and_can_be_stopped(
    qtbot: QtBot, open_search: OpenSearch, folder: Path, tmp_path: Path
) -> None:
    search = open_search()
    sheet = search.view.sheet
    search.view.source.collection.sheet.setChecked(True)
    sheet.start()
    assert "Choose the images" in search.view.bar.text
    sheet.source.set_source("slow")
    sheet.start()
    assert "Choose the folder of the index" in search.view.bar.text
    sheet.folder.setText(str(tmp_path / "made"))
    sheet.build.click()
    qtbot.waitUntil(lambda: "Encoding images" in search.view.strip.text, timeout=10000)
    search.view.strip.cancelled.emit()
    qtbot.waitUntil(lambda: "encoded images are kept" in search.view.bar.text, timeout=10000)
    sheet.source.set_source("quick")
    sheet.build.click()
    qtbot.waitUntil(lambda: search.view.source.kind == INDEX, timeout=10000)
    assert [request["source"] for request in requests(folder, "search_index")] == ["slow", "quick"]


def test_opening_can_be_cancelled_and_data_that_cannot_be_read_say_why(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search()
    search.view.source.compare.setChecked(False)
    search.view.source.collection.set_kind(DATA)
    box = search.view.source.collection
    assert (box.data.isHidden(), box.indexes[0].isHidden(), box.browse.isHidden()) == (False, True, True)
    search.view.source.collection.data.set_source("slow")
    qtbot.waitUntil(lambda: "Encoding images" in search.view.strip.text, timeout=10000)
    search.view.strip.cancelled.emit()
    qtbot.waitUntil(lambda: "cancelled" in search.view.bar.text, timeout=10000)
    assert not search.view.strip.isVisible()
    search.view.source.collection.data.set_source("broken")
    qtbot.waitUntil(lambda: "no column filepath" in search.view.bar.text, timeout=10000)


def test_a_newer_checkpoint_is_opened_by_itself(qtbot: QtBot, open_search: OpenSearch, folder: Path) -> None:
    search = open_search()
    type_words(qtbot, search, "moon")
    run = search._services.store.runs()[0]
    add_checkpoint(run.dir.checkpoints / "step-00000009")
    before = len(requests(folder, "search_open"))
    for picker in search.view.source.pickers:
        picker.refresh()
    qtbot.waitUntil(lambda: len(requests(folder, "search_open")) == before + 2, timeout=10000)
    answered(qtbot, search, "moon")


def test_a_run_without_a_checkpoint_says_so(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search(checkpoint=False)
    assert search.view.empty.isVisible()
    qtbot.waitUntil(lambda: "checkpoint" in search.view.empty.accessibleDescription())
    assert search._services.pool.states() == []


def test_what_one_side_has_to_say_stays_when_the_other_side_opens(
    qtbot: QtBot, open_search: OpenSearch, tmp_path: Path
) -> None:
    search = open_search()
    search.view.source.show_index(0, str(tmp_path / "damaged"))
    qtbot.waitUntil(lambda: "damaged" in search.view.bar.text)
    search.view.source.show_index(1, str(tmp_path / "other"))
    qtbot.waitUntil(lambda: "built with open_clip:A" in search.view.bar.text)
    assert "1 of 3 segments are damaged." in search.view.bar.text, "both are said"
    search.view.source.show_index(1, str(tmp_path / "whole"))
    qtbot.waitUntil(lambda: search.sessions[1].facts is not None and not search.sessions[1].opening)
    assert search.view.bar.text == "1 of 3 segments are damaged."
    assert search.view.bar._action.text() == "Refresh the index"
    search.view.source.show_index(1, str(tmp_path / "other"))
    qtbot.waitUntil(lambda: "built with open_clip:A" in search.view.bar.text)
    with qtbot.waitSignal(search.sessions[0].collection_opened):
        search.view.source.show_index(0, str(tmp_path / "whole"))
    assert search.view.bar.text.startswith("the index other was built with open_clip:A")
    with qtbot.waitSignal(search.sessions[1].failed):
        search.view.bar.press_remedy()
    assert search.view.bar.text.startswith("the index other was built with open_clip:A"), "tried again"
    search.view.source.compare.setChecked(False)
    assert not search.view.bar.isVisible(), "the side that it was about is gone"


def test_a_closed_message_stays_closed_when_the_other_side_opens(
    qtbot: QtBot, open_search: OpenSearch, tmp_path: Path
) -> None:
    search = open_search()
    search.view.source.show_index(0, str(tmp_path / "damaged"))
    qtbot.waitUntil(lambda: "damaged" in search.view.bar.text)
    search.view.bar._close.click()
    with qtbot.waitSignal(search.sessions[1].collection_opened):
        search.view.source.show_index(1, str(tmp_path / "whole"))
    assert not search.view.bar.isVisible()


def test_a_worker_that_went_is_replaced_by_the_next_question(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search()
    type_words(qtbot, search, "moon")
    search._services.pool.shutdown()
    type_words(qtbot, search, "star")
    assert len(search.view.sides[0].gallery.items()) == 6


def test_a_worker_that_answers_garbage_is_said_so_and_asked_again(qtbot: QtBot, open_search: OpenSearch) -> None:
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
