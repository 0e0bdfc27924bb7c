"""Two models side by side by hand: what is asked of each, what is chosen on both, why a match, what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from sdgui.panels.search import queries as search_queries
from sdgui.panels.search.layout import EVALUATION, IMAGES_TAB, MAP
from sdgui.panels.search.model import Part, Query
from sdgui.panels.search.panel import SearchPanel
from sdgui.panels.search.tabs.known_queries import KnownQuery
from sdgui.panels.search.work import same_collection
from sdgui.shared.services import Services
from sdgui.worker.replies import Cancelled, Failure
from tests.sdgui.panels.scripted_workers import Worker, Workers
from tests.sdgui.panels.search.scripted_answers import ONE, TWO, a_map, opened, packed_map, results, shown, side_of


@pytest.fixture
def search(qtbot: QtBot, workers: Workers, services: Services) -> Iterator[SearchPanel]:
    """Both models are open over the same images."""
    panel = SearchPanel(services)
    qtbot.addWidget(panel)
    panel.resize(1200, 700)
    panel.show()
    panel.activateWindow()
    assert panel.view.source.pickers[0].set_choice(ONE)
    assert panel.view.source.pickers[1].set_choice(TWO)
    panel.view.source.compare.setChecked(True)
    for side in (0, 1):
        opened(panel, workers, side)
    yield panel
    panel.view.drop.close_threads()
    for one in panel.view.sides:
        one.gallery.close_threads()


def ask(panel: SearchPanel, workers: Workers, query: Query, *answers: Any) -> list[Worker]:
    """Search for ``query``; the models answer."""
    panel.view.query.set_query(query)
    panel.queries.run()
    both = [workers[ONE.model], workers[TWO.model]]
    for worker, answer in zip(both, answers, strict=False):
        worker.answer("search_query", answer)
    return both


def test_both_sides_show_rank_changes_and_select_the_same_image(
    qtbot: QtBot, search: SearchPanel, workers: Workers
) -> None:
    one, two = search.view.sides
    assert [side.title.text() for side in (one, two)] == ["ViT-B-32 · openai", "RN50 · openai"]
    backwards = results()
    backwards["rows"] = [{**row, "rank": at + 1} for at, row in enumerate(reversed(backwards["rows"]))]
    ask(search, workers, Query("moon"), results())
    assert [item.badge for item in one.gallery.items()] == ["", "", ""], "the other has not answered"
    workers[TWO.model].answer("search_query", backwards)
    assert [item.badge for item in one.gallery.items()] == ["▲ 2", "", "▼ 2"]
    assert [item.badge for item in two.gallery.items()] == ["▲ 2", "", "▼ 2"]
    ask(search, workers, Query("sun"), results())
    assert [item.badge for item in one.gallery.items()] == ["", "", ""], "what the other found was of another query"
    assert not search.queries.answered
    workers[TWO.model].answer("search_query", backwards)
    assert search.queries.answered
    one.gallery.view.setCurrentIndex(one.gallery.model.index(0))
    assert two.gallery.current() == 2
    two.gallery.view.setCurrentIndex(two.gallery.model.index(1))
    assert one.gallery.current() == 1
    one.gallery._slider.setValue(200)
    assert two.gallery.thumbnail_size() == 200
    one.gallery.scrolled.emit(1.0)
    scroll = two.gallery.view.verticalScrollBar()
    assert scroll.value() == scroll.maximum()
    one.gallery.set_current(-1)
    search.view.query.results_focus_requested.emit()
    assert (one.gallery.current(), one.gallery.view.hasFocus()) == (0, True), "Down goes into the results"
    one.gallery.view.setCurrentIndex(one.gallery.model.index(2))
    search.view.query.results_focus_requested.emit()
    assert one.gallery.current() == 2, "what is chosen stays"
    search.view.source.compare.setChecked(False)
    assert [item.badge for item in one.gallery.items()] == ["", "", ""], "there is nothing to compare with"
    assert (two.isHidden(), two.answer) == (True, None)


def test_sides_share_row_numbers_only_in_the_same_collection(
    search: SearchPanel, workers: Workers, tmp_path: Path
) -> None:
    part = Part(image="/p/2.png", row=12)
    one, two = ask(search, workers, Query(parts=(part,)))
    assert [worker.last("search_query")["texts"] for worker in (one, two)] == [[{"row": 12, "weight": 1.0}]] * 2
    assert [search.queries.row_of(side, 12) for side in (0, 1)] == [12, 12]
    for session in search.sessions:
        assert session.target is not None
        session.target = replace(session.target, data=str(tmp_path), index="")
    assert [search.queries.row_of(side, 12) for side in (0, 1)] == [12, -1], "each index of a folder grows by itself"
    search.open(1, reopen=True)
    opened(search, workers, 1, source="/other.csv")
    assert [search.queries.row_of(side, 12) for side in (0, 1)] == [12, -1]
    ask(search, workers, Query(parts=(part,)))
    assert two.last("search_query")["texts"] == [{"image": "/p/2.png", "weight": 1.0}]
    assert not same_collection(search.sessions)
    search.view.sides[1].like_requested.emit("/p/1.png", 11)
    assert search.view.query.query().parts == (Part(image="/p/1.png"),), "its number means nothing to the first"
    search.view.sides[0].like_requested.emit("/p/1.png", 11)
    assert search.view.query.query().parts == (Part(image="/p/1.png", row=11),)
    search.view.sides[0].part_requested.emit("/p/2.png", 12, -1.0)
    assert search.view.query.query().parts[1] == Part(image="/p/2.png", row=12, weight=-1.0)
    search.view.sides[0].captions_requested.emit("/p/2.png", 12)
    asked = search.view.query.query()
    assert (asked.find, asked.true_path, asked.parts) == ("captions", "/p/2.png", (Part(image="/p/2.png", row=12),))


def test_the_newest_query_waits_for_the_running_one_and_others_are_skipped(
    search: SearchPanel, workers: Workers
) -> None:
    one, _ = ask(search, workers, Query("a"))
    count = one.count("search_query")
    for words in ("ab", "abc", "abcd"):
        search.view.query.line.setText(words)
        search.queries.run()
    assert one.count("search_query") == count, "one at a time"
    one.answer("search_query", results(1))
    assert search.view.sides[0].answer is None, "it is of a query that is no longer asked"
    assert one.last("search_query")["texts"][0]["text"] == "abcd"
    search.view.query.line.setText("abcde")
    search.queries.run()
    one.fail("search_query", Failure("It was too long."))
    assert one.last("search_query")["texts"][0]["text"] == "abcde", "the next is asked though this one failed"
    one.fail("search_query", Failure("It ended."))
    assert search.view.bar.text == "It ended."
    search.open(0, reopen=True)
    assert "search_query" not in one.given_up
    count = one.count("search_query")
    search.queries.run()
    assert one.count("search_query") == count, "it is being opened"
    opened(search, workers, 0)
    assert one.count("search_query") == count + 1, "and asked once it is open"
    search.sessions[0].close()
    search.queries.run()
    assert (search.sessions[0].key, search.sessions[0].opening, one.count("search_query")) == ("", False, count + 1)


def test_a_side_that_cannot_be_reopened_gets_no_query_and_the_other_stays(
    search: SearchPanel, workers: Workers
) -> None:
    one, two = ask(search, workers, Query("moon"), results(), results())
    search._show_progress(1, "map", "computing", 1, 2)
    search.open(1, reopen=True)
    assert list(search.view.jobs._jobs) == [], "what was asked of it is dropped"
    two.fail("search_open", Failure("It is gone."))
    assert (search.view.empty.isVisible(), len(search.view.sides[0].gallery.items())) == (False, 3)
    count = two.count("search_query")
    search.queries.run()
    assert (two.count("search_query"), one.last("search_query")["texts"][0]["text"]) == (count, "moon")
    count = two.count("search_open")
    search.open(1)
    assert two.count("search_open") == count + 1, "it is not open"
    assert search.view.source.pickers[1].set_choice(replace(TWO, model="open_clip:RN101,openai", title="RN101"))
    assert two.given_up[-1] == "search_open", "nobody waits for the model that was left"
    assert search.view.sides[1].title.text() == "RN101 · openai", "while it is being opened"
    count = one.count("search_open")
    search.view.source.renewed.emit(0)
    assert one.count("search_open") == count + 1, "a newer checkpoint is opened"
    assert search.view.source.pickers[0].set_choice(TWO)
    assert search.view.sides[0].gallery.items() == [], "those were another model's"


def test_an_index_of_the_second_model_leaves_lookups_to_the_first(search: SearchPanel, workers: Workers) -> None:
    for side, index in ((0, "/made/one"), (1, "/made/two")):
        search.view.source.collection.show_index(side, index)
        opened(search, workers, side)
    search.view.known_chosen.emit(KnownQuery("a hat", "/p/2.png", 12, 4, (3.0,)))
    search.view.source.collection.show_index(1, "/made/three")
    assert search.view.query.query().caption == 4
    search.view.source.collection.show_index(0, "/made/three")
    assert search.view.query.query() == Query()


def test_more_results_are_requested_from_both_until_exhausted(
    search: SearchPanel, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = ask(search, workers, Query("moon"), results(50), results(50))
    search.view.sides[1].more_wanted.emit()
    assert [worker.last("search_query")["k"] for worker in (one, two)] == [200, 200]
    one.answer("search_query", results(60))
    two.answer("search_query", results(60))
    count = one.count("search_query")
    search.view.sides[0].more_wanted.emit()
    assert one.count("search_query") == count, "there were fewer than asked for"
    search.queries.schedule()
    search.queries.run()
    assert one.last("search_query")["k"] == 50
    one.answer("search_query", results(50))
    two.answer("search_query", results(50))
    monkeypatch.setattr(search_queries, "_MAX_RESULTS", 50)
    count = one.count("search_query")
    search.view.sides[0].more_wanted.emit()
    assert one.count("search_query") == count, "no more are listed"


def test_reasons_are_requested_from_each_model_while_typing(
    qtbot: QtBot, search: SearchPanel, workers: Workers
) -> None:
    one, two = search.view.sides
    ask(search, workers, Query("moon"), results(), results())
    worker = workers[ONE.model]
    search.why.explain_selected()
    assert not search.why._typing_timer.isActive(), "nobody wants to know"
    one.why_requested.emit()
    assert (search.why.on, one.why.isVisible(), two.why.isVisible()) == (True, True, True)
    search.why._ask_all()
    assert (one.why.title.text(), worker.count("search_why")) == ("Select an image.", 0)
    one.gallery.view.setCurrentIndex(one.gallery.model.index(2))
    assert search.why._typing_timer.isActive()
    search.why._ask_all()
    assert worker.last("search_why")["path"] == "/p/2.png"
    assert worker.last("search_why")["text"] == "moon"
    assert one.why.title.text() == "Computing the relevance…"
    worker.progress.emit(worker.number("search_why"), "computing", 1, 2)
    assert list(search.view.jobs._jobs) == ["why0"]
    worker.answer("search_why", {"cosine": 0.3, "patches": [[1.0]], "words": [{"text": "moon", "relevance": 1.0}]})
    assert (one.why.title.text(), list(search.view.jobs._jobs)) == (
        "Cosine 0.300 · each word's share of the relevance",
        [],
    )
    workers[TWO.model].fail("search_why", Failure("It has no patches."))
    assert two.why.title.text() == "It has no patches."
    search.view.query.set_query(Query("", (Part("red"), Part("blue", weight=-1.0), Part(image="/x.png"))))
    assert search.why._typing_timer.isActive()
    search.why._ask_all()
    assert worker.last("search_why")["text"] == "red", "without what is avoided"
    worker.fail("search_why", Cancelled())
    assert one.why.title.text() == "Cancelled."
    search.view.query.set_query(Query())
    search.why._ask_all()
    assert one.why.title.text() == "Type words to see which image regions support them."
    search.view.query.set_query(Query("sun"))
    search.why._ask_all()
    count = worker.count("search_why")
    one.why.closed.emit()
    assert (search.why.on, one.why.isVisible(), two.why.isVisible()) == (False, False, False)
    assert worker.given_up[-1] == "search_why"
    assert not search.why._typing_timer.isActive()
    search.open(0, reopen=True)
    opened(search, workers, 0)
    assert worker.count("search_why") == count
    one.why_requested.emit()
    search.open(0, reopen=True)
    opened(search, workers, 0)
    assert worker.count("search_why") == count + 1, "of the model that is open now"
    one.why.image._heat = one.grab().toImage()
    search.view.source.collection.search_folder("/other")
    assert (one.why.image.path, one.why.image._heat) == (None, None), "nothing of other data stays"
    assert one.why.accessibleDescription() == "Opening the model…"


def test_an_evaluation_is_shown_beside_the_other_and_restored_at_the_next_start(
    qtbot: QtBot, search: SearchPanel, workers: Workers
) -> None:
    view, store = search.view, search._services.store
    view.tabs.setFocus()
    qtbot.waitUntil(lambda: QApplication.focusWidget() is view.tabs)
    view.tabs.setCurrentIndex(EVALUATION)
    pane = view.evaluation
    assert pane.filter_box.hasFocus()
    two = workers[TWO.model]
    two.answer("search_evaluate", side_of({"a": 1.0, "b": 1.0}))
    assert shown(pane) == [], "the first one comes first"
    workers[ONE.model].answer("search_evaluate", side_of({"a": 3.0, "b": 1.0}))
    assert [(query.title, query.ranks) for query in shown(pane)] == [
        ("a", (3.0, 1.0)),
        ("b", (1.0, 1.0)),
    ]
    current = pane.current()
    assert current is not None
    assert (current.title, view.query.query().caption) == ("a", 0), "the hardest is looked up"
    search.queries.run()
    two.answer("search_query", results(true_rank=1.0, true_row=10))
    workers[ONE.model].answer("search_query", results(true_rank=3.0, true_row=12))
    ranks = [side.true_rank_label.text() for side in view.sides]
    assert ranks == [
        "Correct image: rank 3 of 9",
        "Correct image: rank 1 of 9 ✓",
    ]
    assert view.sides[0].gallery.items()[2].correct is True
    assert not view.query.true_image.isHidden()
    search._services.writer.wait()
    for model in (ONE.model, TWO.model):
        kept = store.last_result("search", model, "held-out")
        assert kept is not None
        assert [row["caption"] for row in kept.content["text_to_image"]] == ["a", "b"]
    view.tabs.setCurrentIndex(IMAGES_TAB)
    assert not view._evaluation_side.isVisible()
    count = two.count("search_evaluate")
    view.query.line.setFocus()
    view.tabs.setCurrentIndex(EVALUATION)
    assert view.query.line.hasFocus(), "who types goes on typing"
    assert two.count("search_evaluate") == count, "it is known"
    search.open(0, reopen=True)
    opened(search, workers, 0)
    assert workers[ONE.model].count("search_evaluate") == count + 1, "of what is open now"
    assert search.view.source.pickers[0].set_choice(TWO)
    assert shown(pane) == []
    qtbot.waitUntil(lambda: "being re-evaluated" in pane.count_label.text())
    assert [query.title for query in shown(pane)] == ["a", "b"], "what was found of it before"
    assert pane.isVisible()
    view.source.collection.show_index(0, "/made/one")
    assert (view.query.query().caption, shown(pane), pane.curve.lines) == (-1, [], [])


def test_the_map_shows_a_quick_layout_then_a_better_one(search: SearchPanel, workers: Workers) -> None:
    view, worker = search.view, workers[ONE.model]
    view.tabs.setCurrentIndex(MAP)
    quick = a_map(method="PCA")
    worker.say("search_map", **quick)
    assert "computing a better layout" in view.map.status.text()
    worker.answer("search_map", a_map())
    assert view.map.status.text().startswith("3 images, 1 caption · t-SNE")
    search.focus_search()
    assert view.tabs.currentIndex() == IMAGES_TAB
    view.map.gallery.close_threads()


def test_names_for_the_lasso_the_mouse_and_thumbnails_do_not_cancel_each_other(
    search: SearchPanel, workers: Workers
) -> None:
    view, worker = search.view, workers[ONE.model]
    view.tabs.setCurrentIndex(MAP)
    worker.answer("search_map", packed_map(a_map()))
    view.map.canvas.lassoed.emit([0, 1])
    view.map.thumbnails._request_names([0, 1])
    view.map.thumbnails._request_names([2])
    view.map.canvas.hovered.emit(2, QPoint())
    assert [arguments["rows"] for name, arguments in worker.asked if name == "search_points"] == [
        [10, 11], [10, 11], [12], [12],
    ]  # fmt: skip
    assert worker.given_up == ["search_points"], "of the thumbnails, whose view has changed"
    worker.progress.emit(worker.number("search_points"), "starting", 0, 0)
    assert list(view.jobs._jobs) == ["hover0"]
    worker.answer("search_points", {"images": [], "captions": []})
    assert list(view.jobs._jobs) == []
    view.map.gallery.close_threads()


def test_tab_score_and_collection_are_restored(
    qtbot: QtBot, search: SearchPanel, workers: Workers, services: Services
) -> None:
    search._entered = True
    search.view.tabs.setCurrentIndex(EVALUATION)
    search.view.score.setCurrentIndex(2)
    search.view.filters.set_filters({"min_size": "2 KB"}, False)
    search.view.source.collection.show_index(0, "/made/one")
    search.on_leave()
    again = SearchPanel(services)
    qtbot.addWidget(again)
    again.on_enter()
    assert again.view.layout_state() == search.view.layout_state()
    assert again.view.source.state() == search.view.source.state()
    services.settings.setValue("search/state", "{")
    again._restore()
    again.view.drop.close_threads()
    for side in again.view.sides:
        side.gallery.close_threads()


def test_a_late_comparison_with_a_model_that_was_replaced_is_not_shown(search: SearchPanel, workers: Workers) -> None:
    search.view.tabs.setCurrentIndex(EVALUATION)
    for side, model in enumerate((ONE, TWO)):
        workers[model.model].answer("search_evaluate", side_of({"a": 6 + side, "b": 1}))
    search.view.evaluation.compare_requested.emit(1)
    search.sessions[1].close()
    row = {"caption": "a", "path": "/a", "rank_a": 5.0, "rank_b": 1.0, "text_a": 8, "text_b": 2}
    counts = {"only_a": 0, "only_b": 1, "both": 1, "neither": 0}
    workers[ONE.model].answer("search_compare", {"only_a": [], "only_b": [row], "counts": counts})
    assert search.view.evaluation._pairs is None
