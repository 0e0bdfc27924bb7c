"""Messages and requests of Search while models open, answer, fail and work, with answers given by the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication, QFileDialog
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.panels.search.collection import DATA, HELD_OUT, INDEX
from sdgui.panels.search.layout import EVALUATION, IMAGES_TAB, MAP
from sdgui.panels.search.model import Query
from sdgui.panels.search.panel import SearchPanel
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.shared.services import Services
from sdgui.store.records import Progress
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


def test_missing_choices_are_reported_with_a_button(
    qtbot: QtBot, search: SearchPanel, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    view, source, went = search.view, search.view.source, list[str]()
    monkeypatch.setattr(source.pickers[0], "open", lambda: went.append("model"))
    monkeypatch.setattr(source.collection, "ask_folder", lambda: went.append("folder"))
    monkeypatch.setattr(source.popover, "open", lambda: went.append("index"))
    monkeypatch.setattr("sdgui.panels.search.source.included_models", list)
    search.activateWindow()
    qtbot.waitUntil(search.isActiveWindow)
    if (focused := QApplication.focusWidget()) is not None:
        focused.clearFocus()
    search.entered()
    assert view.query.line.hasFocus(), "what is typed while the models open is a query"
    qtbot.waitUntil(lambda: empty(search) == ("No model to search with yet", "Choose a model …"))
    assert view.empty.accessibleDescription().startswith("Launch a run; once it has saved")
    view.empty.activated.emit()
    source.collection.set_kind(DATA)
    search.open(-1)
    assert empty(search)[0] == "No model to search with yet", "a model comes first"
    choose(search)
    assert empty(search) == ("No images are chosen", "Search a folder …   Ctrl+Alt+O")
    view.empty.activated.emit()
    source.collection.set_kind(INDEX)
    search.open(-1)
    assert empty(search) == ("No index is chosen", "What is searched …")
    view.empty.activated.emit()
    assert went == ["model", "folder", "index"]
    assert workers.get(ONE.model) is None, "no collection is open"
    source.collection.set_kind(HELD_OUT)
    search.open(-1)
    assert empty(search) == ("Opening the validation split", "")
    view.empty.activated.emit()
    assert went == ["model", "folder", "index"], "there is nothing to press"
    asked = workers[ONE.model].last("search_open")
    assert (asked["model"], asked["weights"], asked["data"], asked["index"]) == (ONE.model, "", "", "")
    assert Path(asked["keep"]).name == "searched"
    assert source.button.text() == "Validation split"
    search.view.source.collection.search_folder("/images/mine")
    assert empty(search)[0] == "Opening mine"
    assert workers[ONE.model].last("search_open")["data"] == "/images/mine"
    opened(search, workers)
    assert not view.empty.isVisible()
    assert source.button.text() == "mine · 3 images"
    assert source.button.toolTip() == "/val.csv\n3 images · 3 captions · exact, in memory"
    assert source.collection.facts.text() == "3 images · 3 captions · 8 dimensions\n/val.csv\nexact, in memory"
    assert view.sides[0].title.toolTip().startswith("ViT-B-32")
    count = workers[ONE.model].count("search_open")
    search.open(0)
    assert workers[ONE.model].count("search_open") == count, "it is open"
    assert workers[ONE.model].count("search_facets") == 1
    workers[ONE.model].answer("search_facets", {"folders": ["/p"], "labels": {"tone": ["dark"]}})
    assert search.view.filters.label.findData("tone") > 0


def test_jobs_are_named_in_the_strip_and_end_when_cancelled(search: SearchPanel, workers: Workers) -> None:
    strip, jobs = search.view.strip, search.view.jobs
    choose(search)
    worker = workers[ONE.model]
    for purpose in ("query", "facets", "evaluate", "compare", "why"):
        search._show_progress(0, purpose, "starting", 0, 0)
    search._show_progress(0, "ahead", "encoding", 1, 2)
    assert (jobs.running(), strip.isHidden()) == ([], True), "what takes a moment is not told"
    worker.progress.emit(worker.number("search_open"), "starting", 0, 0)
    assert (jobs.running(), strip.text) == (["open0"], "Opening")
    worker.progress.emit(worker.number("search_open"), "encoding images", 1, 4)
    assert strip.text.startswith("Encoding images · 25 %")
    strip.cancelled.emit()
    assert worker.given_up == ["search_open"]
    worker.fail("search_open", Cancelled())
    assert (strip.isHidden(), search.view.bar.text, search.view.bar._action.text()) == (
        True, "Opening was cancelled.", "Open",
    )  # fmt: skip
    assert empty(search) == ("Nothing is open", "")
    search.view.bar.press_remedy()
    assert worker.count("search_open") == 2
    worker.fail("search_open", Failure("It ended.", "a traceback"))
    assert (search.view.bar.text, search.view.bar._details.toPlainText()) == ("It ended.", "a traceback")
    search.view.bar.press_remedy()
    assert worker.count("search_open") == 3
    opened(search, workers)
    assert search.view.bar.message is None
    choose(search, ONE, TWO)
    search._show_progress(0, "map", "starting", 0, 0)
    assert strip.text == "ViT-B-32 · openai: computing the map" or strip.text.endswith(": computing the map")
    jobs.end("map0")
    search.view.indexing.emit("index", "encoding", 1, 2)
    assert (jobs.running(), strip.text.startswith("Encoding · 50 %")) == (["index"], True)
    search.view.sheet.finished.emit()
    assert jobs.running() == []


def test_two_incomparable_sides_give_the_reason(search: SearchPanel, workers: Workers) -> None:
    bar, source = search.view.bar, search.view.source
    choose(search, ONE, TWO)
    assert [side.isHidden() for side in search.view.sides] == [False, False]
    opened(search, workers, 0)
    assert bar.message is None
    opened(search, workers, 1, source="/other.csv", images=4, title="other.csv")
    assert bar.text == (
        "The two sides search different data (val.csv, 3 images; other.csv, 4 images): "
        "their ranks and recall are not compared."
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
    assert bar.text.startswith("Both sides are the same model: ViT-B-32")
    assert bar._action.isHidden(), "it has one network"
    source.compare.setChecked(False)
    assert bar.message is None
    assert search.view.sides[1].isHidden()
    source.show_index(0, "/made/here")
    opened(search, workers, 0, notes=["1 of 3 segments are damaged."], model="open_clip:RN50,openai", source="/pics")
    assert (bar.text, bar._action.text()) == ("1 of 3 segments are damaged.", "Refresh the index")
    assert (search.view.sheet.folder.text(), search.view.sheet.source.source()) == ("/made/here", "/pics")
    chosen = source.pickers[0].choice()
    assert chosen is not None
    assert chosen.model == TWO.model, "the model that made it"
    bar.press_remedy()
    assert workers["indexing"].last("search_index") == {"folder": "/made/here", "drop_missing": False}


def test_queries_are_answered_refused_and_tried_again(qtbot: QtBot, search: SearchPanel, workers: Workers) -> None:
    view, bar = search.view, search.view.bar
    choose(search)
    worker = opened(search, workers)
    assert view.sides[0].gallery._empty.text() == "Type a query or drop an image here."
    view.query.set_query(Query("moon"))
    assert search.queries._typing.isActive()
    assert not search.queries.answered
    search.queries.run()
    assert not search.queries._typing.isActive()
    asked = worker.last("search_query")
    assert (asked["texts"], asked["k"], asked["find"], asked["group"]) == (
        [{"text": "moon", "weight": 1.0}], 50, "images", True,
    )  # fmt: skip
    worker.answer("search_query", results())
    assert search.queries.answered
    assert len(view.sides[0].gallery.items()) == 3
    assert bar.text.startswith("1 of the found images are missing, such as /p/1.png. They are shown in grey;")
    view.score.setCurrentIndex(view.score.findData("softmax"))
    view.score.activated.emit(view.score.currentIndex())
    assert view.sides[0].gallery.items()[0].score == 0.5
    search.queries.run()
    worker.fail("search_query", Failure("It cannot be searched for."))
    assert (bar.message is not None and bar.message.level, bar.text) == ("warning", "It cannot be searched for.")
    count = worker.count("search_query")
    bar.press_remedy()
    assert worker.count("search_query") == count + 1
    worker.fail("search_query", Failure("It ended.", "a traceback"))
    assert bar.message is not None
    assert (bar.message.level, bar.message.details) == ("error", "a traceback")
    search.queries.run()
    worker.fail("search_query", Cancelled())
    assert bar.text == "It ended."
    search.queries.run()
    worker.answer("search_query", results(1))
    assert bar.message is None, "there are results again"
    view.show_message(Message("info", "Something else."))
    search.queries.run()
    worker.answer("search_query", results(1))
    assert bar.text == "Something else.", "what was said of something else stays"
    view.query.set_query(Query())
    search.queries.run()
    assert (view.sides[0].answer, view.sides[0].gallery.items()) == (None, [])
    view.tabs.setCurrentIndex(EVALUATION)
    assert view.sides[0].gallery._empty.text() == "Choose a query on the left, or type one."


def test_refused_drops_give_the_reason(search: SearchPanel) -> None:
    search.view.drop.refused.emit([("a.doc", "it is no image"), ("b.doc", "it is empty")])
    assert search.view.bar.text == "a.doc was not added: it is no image."
    assert search.view.bar._details.toPlainText() == "a.doc: it is no image\nb.doc: it is empty"
    search.view.drop.dropped.emit([f"/p/{number}.png" for number in range(8)])
    assert search.view.bar.text == "a.doc was not added: it is no image.", "all eight are used"
    assert len(search.view.query.chips.parts()) == 8
    search.view.drop.dropped.emit([f"/p/{number}.png" for number in range(10)])
    assert len(search.view.query.chips.parts()) == 16
    assert search.view.bar.text == "10 images were dropped; the first 8 are used."
    search.view.drop.folder_dropped.emit("/images")
    assert (search.view.source.kind, search.view.source.collection.data.source()) == (DATA, "/images")
    search.view.source.pickers[0].refused.emit("It is no model.")
    assert search.view.bar.text == "It is no model."


def test_a_run_is_searched_once_it_has_a_checkpoint_and_gives_the_reason_until_then(
    qtbot: QtBot, search: SearchPanel
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
        assert empty(search) == ("No model to search with yet", "Choose a model …")
    following = search.following
    following._run, following.run_id = None, None
    choose(search)
    following.begin()
    assert following._run is None, "a model was chosen"
    search.view.source.pickers[0]._entry = None
    following.begin()
    assert following._run is not None
    assert following._run.id == run.id, "the newest run"
    search._services.tailer.state_changed.emit(run.id + 1, RunState.DONE)
    assert not following._settle.isActive(), "another run's matter"
    search._services.tailer.state_changed.emit(run.id, RunState.DONE)
    assert following._settle.isActive()
    search.left()
    assert not following._settle.isActive()
    search.hide()
    search._services.tailer.state_changed.emit(run.id, RunState.DONE)
    assert not following._settle.isActive(), "nobody looks"


def test_evaluation_map_and_comparison_retry_after_a_failure(search: SearchPanel, workers: Workers) -> None:
    view, bar = search.view, search.view.bar
    choose(search, ONE, TWO)
    one, two = opened(search, workers, 0), opened(search, workers, 1)
    assert one.count("search_evaluate") == 0, "nobody looks at it"
    view.tabs.setCurrentIndex(EVALUATION)
    assert view.evaluation.isVisible()
    assert (one.count("search_evaluate"), two.count("search_evaluate")) == (1, 1)
    one.fail("search_evaluate", Failure("It has no captions."))
    assert (bar.message is not None and bar.message.level, bar.text) == ("warning", "It has no captions.")
    bar.press_remedy()
    assert one.count("search_evaluate") == 2
    search._show_progress(0, "evaluate", "judging", 1, 2)
    one.fail("search_evaluate", Cancelled())
    assert (view.jobs.running(), bar.message) == ([], None)
    view.compare_requested.emit(5)
    assert (one.last("search_compare")["a"], one.last("search_compare")["b"], one.last("search_compare")["k"]) == (
        ONE.model, TWO.model, 5,
    )  # fmt: skip
    one.fail("search_compare", Failure("It ended.", "more"))
    assert (bar.message is not None and bar.message.level, bar._action.text()) == ("error", "Try again")
    bar.press_remedy()
    assert one.last("search_compare")["k"] == 5
    search._show_progress(0, "compare", "comparing", 1, 2)
    assert view.jobs.running() == ["compare0"]
    counts = {"only_a": 0, "only_b": 0, "both": 2, "neither": 1}
    one.answer("search_compare", {"only_a": [], "only_b": [], "counts": counts})
    assert view.jobs.running() == []
    view.tabs.setCurrentIndex(MAP)
    assert view._pages.currentWidget() is view.map
    asked = one.last("search_map")
    assert (asked["captions"], asked["packed"], asked["shown"]) == (True, True, 100_000)
    assert one.count("search_map") == 1, "it is computed once"
    one.partial.emit(one.number("search_map"), {"method": "PCA", "images": [], "captions": []})
    one.fail("search_map", Failure("It ended."))
    view.map.captions.setChecked(False)
    assert one.last("search_map")["captions"] is False
    search._show_progress(0, "map", "laying out", 1, 2)
    one.answer("search_map", {"method": "t-SNE", "images": [], "captions": []})
    assert (view.jobs.running(), view.map.status.text()[:8]) == ([], "0 images")
    view.map_names_wanted.emit([3], [])
    view.map_names_wanted.emit([3, 4], [1])
    assert one.last("search_points")["rows"] == [3, 4]
    assert "search_points" not in one.given_up, "the mouse moves on while a lasso is answered"
    one.fail("search_points", Failure("It ended."))
    count = one.count("search_points")
    bar.press_remedy()
    assert one.count("search_points") == count + 1
    search.focus_search()
    assert view.tabs.currentIndex() == IMAGES_TAB


def test_unreadable_choices_are_ignored(search: SearchPanel, services: Services) -> None:
    for text in ("{", "[]", "5", '{"source": 5, "followed": "x", "filters": 3, "splits": 4, "tab": 9, "size": "x"}'):
        services.settings.setValue("search/state", text)
        search._restore()
        assert search.view.tabs.currentIndex() == IMAGES_TAB
        assert search.following.run_id is None
    assert search.view.sides[0].gallery.thumbnail_size() == 100
    services.settings.remove("search/state")
    search.left()
    assert services.settings.value("search/state") is None, "it was never shown"


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
    assert bar.text == "Run a search first; its results are saved at each step."
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
    search.view.time.play.setChecked(True)
    real(tmp_path / "found.webp")
    assert not search.view.time.play.isChecked(), "it is drawn of what is shown now"
    worker = workers[str(tmp_path / "run")]
    asked = worker.last("search_travel")
    assert (asked["title"], asked["query"]["texts"]) == ("moon", [{"text": "moon", "weight": 1.0}])
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
    assert (bar.text, search.view.jobs.running()) == ("3 steps saved as /found.webp.", [])
