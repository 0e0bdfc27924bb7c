"""Messages and requests of Search while models open, answer, fail and work, with answers given by the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.panels.search.collection import DATA, INDEX
from sdgui.panels.search.model import Query
from sdgui.panels.search.panel import SearchPanel
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.shared.services import Services
from sdgui.store.records import Progress, StoreError
from sdgui.widgets.message import Message
from sdgui.worker.replies import Cancelled, Failure
from tests.sdgui.panels.scripted_workers import Workers
from tests.sdgui.panels.search.scripted_answers import ONE, TWO, opened, results


@pytest.fixture
def search(qtbot: QtBot, workers: Workers, services: Services) -> Iterator[SearchPanel]:
    panel = SearchPanel(services)
    qtbot.addWidget(panel)
    panel.resize(1200, 700)
    panel.show()
    yield panel
    panel.view.drop.close_threads()
    for side in panel.view.sides:
        side.gallery.close_threads()
    if "map" in vars(panel.view):
        panel.view.map.gallery.close_threads()


def empty(panel: SearchPanel) -> tuple[str, str]:
    """Heading and button of the page that is there instead of results."""
    page = panel.view.empty
    assert page.isVisible()
    return page.accessibleName(), page._button.text()


def choose(panel: SearchPanel, one: ModelChoice = ONE, two: ModelChoice | None = None) -> None:
    assert panel.view.source.pickers[0].set_choice(one)
    if two is not None:
        assert panel.view.source.pickers[1].set_choice(two)
        panel.view.source.compare.setChecked(True)


def test_two_incomparable_sides_give_the_reason(
    search: SearchPanel, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    bar, source = search.view.bar, search.view.source
    choose(search, ONE, TWO)
    assert [side.isHidden() for side in search.view.sides] == [False, False]
    opened(search, workers, 0)
    assert bar.message is None
    opened(search, workers, 1, source="/other.csv", images=4, title="other.csv")
    assert bar.text == (
        "The two sides search different data (val.csv, 3 images; other.csv, 4 images), "
        "so ranks and recall are not compared."
    )
    search.open(1, reopen=True)
    assert bar.message is None, "it is being read anew"
    opened(search, workers, 1)
    assert bar.message is None
    search.open(1, reopen=True)
    opened(search, workers, 1, notes=["It is stale.", "It is old."])
    assert (bar.text, bar._action.isHidden()) == ("It is stale. It is old.", True)
    assert source.pickers[1].set_choice(ONE)
    opened(search, workers, 1)
    assert bar.text.startswith("Both sides use the same model: ViT-B-32")
    assert bar._action.isHidden(), "it has one network"
    monkeypatch.setattr(source.pickers[0], "networks", lambda: ("student", "teacher"))
    problem = search._comparison_problem()
    assert problem is not None
    assert problem.remedy is not None
    assert problem.remedy.do == source.student_against_teacher
    source.compare.setChecked(False)
    assert bar.message is None
    assert search.view.sides[1].isHidden()
    source.collection.show_index(0, "/made/here")
    opened(search, workers, 0, notes=["1 of 3 segments are damaged."], model="open_clip:RN50,openai", source="/pics")
    assert (bar.text, bar._action.text()) == ("1 of 3 segments are damaged.", "Refresh the index")
    assert (search.view.sheet.index_folder.text(), search.view.sheet.images.source()) == ("/made/here", "/pics")
    chosen = source.pickers[0].choice()
    assert chosen is not None
    assert chosen.model == TWO.model, "the model that made it"
    bar.press_remedy()
    assert workers["indexing"].last("search_index") == {"folder": "/made/here", "drop_missing": False}


def test_the_warning_about_equal_models_goes_when_one_of_them_changes(search: SearchPanel, workers: Workers) -> None:
    choose(search, ONE, ONE)
    opened(search, workers, 1)
    opened(search, workers, 0)
    assert search.view.bar.text.startswith("Both sides use the same model")
    assert search.view.source.pickers[1].set_choice(TWO)
    assert search.view.bar.message is None


def test_images_can_be_chosen_when_the_model_has_no_validation_data(
    search: SearchPanel, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[bool]()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_a, **_k: asked.append(True) or "")
    choose(search, ONE)
    workers[ONE.model].fail("search_open", Failure("The model has no validation data."))
    heading, button = empty(search)
    assert (heading, button.partition("…")[0]) == ("Nothing is open", "Search a folder")
    search.view.empty.activated.emit()
    assert asked == [True]


def test_without_an_index_one_can_be_chosen(search: SearchPanel) -> None:
    kinds = search.view.source.collection.kind_box
    kinds.setCurrentIndex(kinds.findData(INDEX))
    kinds.activated.emit(kinds.currentIndex())
    assert empty(search) == ("No index is chosen", "Search in…")
    search.view.empty.activated.emit()
    assert search.view.source.popover.isVisible()


def test_progress_keeps_the_spelling_of_the_models_name(search: SearchPanel) -> None:
    choose(search, ModelChoice("open_clip:ViT-B-32,openai", "", "emoji-clip"), TWO)
    search._show_progress(0, "open", "encoding images", 1, 2)
    assert search.view.strip._title.text() == f"Encoding images: {search.view.source.short_name(0)}"


def test_refused_drops_give_the_reason(search: SearchPanel) -> None:
    search.view.drop.refused.emit([("a.doc", "it is no image"), ("b.doc", "it is empty")])
    assert search.view.bar.text == "Not added: a.doc: it is no image. And 1 more."
    assert search.view.bar._details.toPlainText() == "a.doc: it is no image\nb.doc: it is empty"
    search.view.drop.dropped.emit([f"/p/{number}.png" for number in range(8)])
    assert search.view.bar.text.startswith("Not added"), "all eight are used"
    assert len(search.view.query.chips.parts()) == 8
    search.view.drop.dropped.emit([f"/p/{number}.png" for number in range(10)])
    assert len(search.view.query.chips.parts()) == 16
    assert search.view.bar.text == "You dropped 10 images; only the first 8 are used."
    search.view.drop.folder_dropped.emit("/images")
    assert (search.view.source.kind, search.view.source.collection.data.source()) == (DATA, "/images")
    search.view.source.pickers[0].refused.emit("It is no model.")
    assert search.view.bar.text == "It is no model."


def test_a_run_is_searched_once_it_has_a_checkpoint_and_gives_the_reason_until_then(
    qtbot: QtBot, search: SearchPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, told = search._services.store, list[Message]()
    search.message_requested.connect(told.append)
    search.use_run(99)
    assert [message.level for message in told] == ["error"]
    run = store.add_run(store.add_experiment(preset_config("clip", "tiny"), "shapes").id)
    run.dir.create()
    why = search.view.empty.accessibleDescription
    for state, text in (
        (RunState.QUEUED, "The run is queued."),
        (RunState.RUNNING, "The run has not saved a checkpoint yet."),
        (RunState.DONE, "This run ended before its first checkpoint."),
    ):
        store.record(run.id, Progress(state=state, offset=1))
        search.use_run(run.id)
        assert why().startswith(text)
        assert empty(search) == ("No model to search with yet", "Choose a model…")
    assert len(told) == 1
    following = search.following
    with monkeypatch.context() as patch:
        patch.setattr(store, "experiment", Mock(side_effect=StoreError("The registry cannot be reached.")))
        following.follow()
    assert told.pop().text == "The registry cannot be reached."
    following._run, following.selected_run_id = None, None
    choose(search)
    following.begin()
    assert following._run is None, "a model was chosen"
    search.use_run(run.id)
    assert [message.level for message in told] == ["error", "warning"]
    assert told.pop().text.endswith(f"or resume the run. Search still uses {search.view.source.name(0)}.")
    store.record(run.id, Progress(state=RunState.RUNNING, offset=1))
    search.use_run(run.id)
    assert told.pop().text.endswith(f"Until then, Search uses {search.view.source.name(0)}.")
    store.record(run.id, Progress(state=RunState.DONE, offset=1))
    following._run, following.selected_run_id = None, None
    search.view.source.pickers[0]._entry = None
    following.begin()
    assert following._run is not None
    assert following._run.id == run.id, "the newest run"
    search._services.follower.state_changed.emit(run.id + 1, RunState.DONE)
    assert not following._batch_timer.isActive(), "another run's matter"
    search._services.follower.state_changed.emit(run.id, RunState.DONE)
    assert following._batch_timer.isActive()
    search.on_leave()
    assert not following._batch_timer.isActive()
    search.hide()
    search._services.follower.state_changed.emit(run.id, RunState.DONE)
    assert not following._batch_timer.isActive(), "nobody looks"


def test_steps_are_saved_only_for_a_search_and_the_outcome_is_reported(
    search: SearchPanel, workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    travel, bar = search.travel, search.view.bar
    travel.ask_where()
    travel.save(tmp_path / "x.webp")
    assert (bar.message, search.view.time.isVisible()) == (None, False), "there is no run"
    choose(search)
    opened(search, workers)
    chip, run = search.view.source.pickers[0], tmp_path / "run"
    monkeypatch.setattr(search.view.source, "run", lambda: run)
    for steps, seen in (((3,), False), ((3, 6), True)):
        monkeypatch.setattr(chip, "steps", lambda steps=steps: steps)
        monkeypatch.setattr(chip, "step", lambda: 3)
        travel.follow()
        assert search.view.time.isVisible() is seen, "a single step is no way"
    assert search.view.time.steps == (3, 6)
    travel.ask_where()
    assert bar.text == "Run a search first. Its results are then saved for each step."
    search.view.query.set_query(Query("moon"))
    search.queries.run()
    starts: list[str] = []
    saved: list[Path] = []

    def ask(_over: Any, _title: str, start: str, _kind: str) -> tuple[str, str]:
        starts.append(start)
        return str(tmp_path / "found"), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", ask)
    real = travel.save
    monkeypatch.setattr(travel, "save", saved.append)
    travel.ask_where()
    assert (starts, saved) == ([str(tmp_path / "steps.webp")], [tmp_path / "found.webp"])
    real(tmp_path / "found.webp")
    worker = workers[str(tmp_path / "run")]
    asked = worker.last("search_travel")
    assert (asked["title"], asked["query"]["texts"]) == ("moon", [{"text": "moon", "weight": 1.0}])
    assert (asked["steps"], asked["to"]) == ([3, 6], str(tmp_path / "found.webp"))
    worker.progress.emit(worker.number("search_travel"), "drawing", 1, 4)
    assert search.view.strip.text.startswith("Drawing · 25 %")
    search.view.strip.cancelled.emit()
    assert worker.given_up == ["search_travel"]
    worker.fail("search_travel", Cancelled())
    assert (bar.text, search.view.strip.isHidden()) == ("Saving was cancelled.", True)
    real(tmp_path / "found.webp")
    worker.fail("search_travel", Failure("The disk is full.", "more"))
    assert (bar.text, bar._details.toPlainText()) == ("The disk is full.", "more")
    real(tmp_path / "found.webp")
    worker.answer("search_travel", {"path": "/found.webp", "frames": 3})
    assert (bar.text, list(search.view.jobs._jobs)) == ("3 steps saved as /found.webp.", [])


def test_missing_images_can_be_relocated(search: SearchPanel, workers: Workers) -> None:
    search.view.query.set_query(Query("moon"))
    search.view.source.collection.show_index(0, "/made/here")
    worker = opened(search, workers)
    worker.answer("search_query", results())
    assert [item.missing for item in search.view.sides[0].gallery.items()] == [False, True, False]
    assert search.view.bar.text.startswith("1 image file is missing: /p/1.png.")
    search.view.bar.press_remedy()
    assert (search.view.sheet.index_folder.text(), search.view.sheet.old_folder.text()) == ("/made/here", "/p")
    assert not search.view.sheet.isHidden()


def test_an_invalid_answer_is_reported_and_can_be_requested_again(search: SearchPanel, workers: Workers) -> None:
    choose(search)
    workers[ONE.model].answer("search_open", {"key": 5})
    assert "answer cannot be read" in search.view.bar.text
    assert (search.view.strip.isHidden(), search.view.bar._action.text()) == (True, "Try again")
    search.view.bar.press_remedy()
    worker = opened(search, workers)
    assert search.view.bar.message is None
    search.view.query.set_query(Query("moon"))
    search.queries.run()
    worker.answer("search_query", {"rows": 5})
    assert "answer cannot be read" in search.view.bar.text
    search.view.bar.press_remedy()
    worker.answer("search_query", results(1))
    assert search.view.bar.message is None
