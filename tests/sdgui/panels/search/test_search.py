"""The Search place with a worker in miniature: what is opened, asked, compared, marked, remembered and refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QColor, QImage
from pytestqt.qtbot import QtBot

from core.spec.files import write_whole
from core.spec.presets import preset_config
from sdgui.app.main_window import MainWindow
from sdgui.app.start import make_application, make_services
from sdgui.panels.search.layout import EVALUATION, MAP, PICTURES_TAB
from sdgui.panels.search.model import Part, Query
from sdgui.panels.search.panel import SearchPanel
from sdgui.panels.search.source import DATA, INDEX
from sdgui.widgets.gallery.items import spoken
from sdgui.worker.verbs import SEARCH_EVALUATE
from tests.sdgui.conftest import leave, program

OpenSearch = Callable[..., SearchPanel]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures, and where the worker writes down what it was asked."""
    (tmp_path / "work" / "pictures").mkdir(parents=True)
    for number in range(6):
        image = QImage(8, 8, QImage.Format.Format_RGB32)
        image.fill(QColor.fromHsv(number * 40, 200, 200))
        image.save(str(tmp_path / "work" / "pictures" / f"{number}.png"))
    return tmp_path / "work"


@pytest.fixture
def open_search(qtbot: QtBot, home: Path, folder: Path) -> Iterator[OpenSearch]:
    """The place over a run with a student and a teacher; opened again on the same home when called twice."""
    make_application()
    windows: list[MainWindow] = []

    def open_it(checkpoint: bool = True) -> SearchPanel:
        command = program("fake_search_worker.py", str(folder))
        services = make_services(home, program("fake_trainer.py"), command, program("fake_demo.py"))
        window = MainWindow(services)
        windows.append(window)
        if not services.store.runs():
            _make_run(window, checkpoint)
        window.show()
        window.activateWindow()
        qtbot.waitUntil(lambda: window.isActiveWindow() and bool(window.panels))
        window.experiments.select_run(services.store.runs()[0].id)
        place = window.show_panel("search")
        assert isinstance(place, SearchPanel)
        if checkpoint:
            qtbot.waitUntil(lambda: place.sessions[0].facts is not None, timeout=10000)
            waited = place.sessions[1]
            qtbot.waitUntil(lambda: waited.facts is not None or not place.view.source.comparing, timeout=10000)
        return place

    yield open_it
    for window in windows:
        leave(window, qtbot)
        window.services.store.close()


def _make_run(window: MainWindow, checkpoint: bool) -> None:
    store = window.services.store
    config = preset_config("sd-clip", "tiny")
    run = store.add_run(store.add_experiment(config, "shapes").id)
    run.dir.create()
    write_whole(run.dir.config, config.to_json().encode())
    if checkpoint:
        add_checkpoint(run.dir.checkpoints / "step-00000003")
    window.reload()


def add_checkpoint(place: Path) -> None:
    place.mkdir(parents=True)
    for name in ("checkpoint.json", "student.safetensors", "teacher.safetensors"):
        (place / name).write_text("{}", encoding="utf-8")


def requests(folder: Path, do: str = "search_query") -> list[dict[str, Any]]:
    lines = (folder / "requests.jsonl").read_text(encoding="utf-8").splitlines()
    return [one for one in map(json.loads, lines) if one["do"] == do]


def type_words(qtbot: QtBot, search: SearchPanel, words: str) -> None:
    search.focus_search()
    search.view.query.line.clear()
    qtbot.keyClicks(search.view.query.line, words)
    answered(qtbot, search, words)


def answered(qtbot: QtBot, search: SearchPanel, words: str = "") -> None:
    def there() -> bool:
        return all(side.answer is not None and (not words or side.query.words == words) for side in search.view.sides)

    qtbot.waitUntil(there, timeout=10000)


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
    assert "5 places higher than with Teacher" in spoken(student[0])
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
        search.run()
    answered(qtbot, search, "sunny")
    asked = [one["texts"][0]["text"] for one in requests(folder)]
    assert asked.count("sunny") == 2
    assert not {"s", "su", "sun"} & set(asked)


def test_parts_with_weights_and_without(qtbot: QtBot, open_search: OpenSearch, folder: Path) -> None:
    search = open_search()
    type_words(qtbot, search, "people")
    qtbot.keyClick(search.view.query.line, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(folder / "pictures" / "2.png"))])
    search.view.drop.take(data)
    qtbot.waitUntil(lambda: len(search.view.query.chips.parts()) == 2)
    qtbot.keyClicks(search.view.query.line, "at night")
    search.view.query.chips.chips()[1]._weight.setValue(2.0)
    answered(qtbot, search, "at night")
    qtbot.waitUntil(lambda: len(requests(folder)[-1]["texts"]) == 2 and requests(folder)[-1]["texts"][1]["weight"] == 2)
    last = requests(folder)[-1]
    assert last["texts"] == [
        {"text": "at night", "weight": 1.0},
        {"image": str(folder / "pictures" / "2.png"), "weight": 2.0},
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
    assert search.view.sides[1].gallery.current() == 5  # the same picture there
    view.setFocus()
    view.setCurrentIndex(search.view.sides[1].gallery.model.index(1))
    qtbot.keyClick(view, Qt.Key.Key_M)
    qtbot.waitUntil(lambda: requests(folder)[-1]["texts"] == [{"row": 4, "weight": 1.0}])
    answered(qtbot, search)
    search.view.sides[0].captions_asked.emit(str(folder / "pictures" / "3.png"), 3)
    qtbot.waitUntil(lambda: search.view.sides[0].query.find == "captions")
    items = search.view.sides[0].gallery.items()
    assert [item.correct for item in items] == [None, None, None, True, None, None]
    assert "rank 4 of 6" in search.view.sides[0].true.text()


def test_the_evaluation_has_the_hardest_first_and_leads_to_the_pictures(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search()
    search.view.tabs.setCurrentIndex(EVALUATION)
    pane = search.view.evaluation
    qtbot.waitUntil(lambda: pane.model.columnCount() == 4 and pane.current() is not None, timeout=10000)
    first = [pane.table.model().index(0, column).data() for column in range(4)]
    assert first == ["a white line", "6", "1", "▲ 5"]
    qtbot.waitUntil(lambda: "rank 6 of 6" in search.view.sides[0].true.text(), timeout=10000)
    qtbot.waitUntil(lambda: "rank 1 of 6 ✓" in search.view.sides[1].true.text(), timeout=10000)
    assert search.view.sides[0].gallery.items()[5].correct is True
    assert search.view.belongs.isVisible()
    pane.filter_box.setText("SQUARE")
    assert pane.found.text() == "1 of 6 queries"
    pane.filter_box.clear()
    assert [line.dashed for line in pane.curve.lines()] == [False, True, False, True]
    assert "Student text→image 20.0%" in pane.curve.text_at(1)
    pane.way.setCurrentIndex(2)
    pane.way.activated.emit(2)
    qtbot.waitUntil(lambda: pane.model.rowCount() == 5)
    assert pane.found.text() == "only Student 0 · only Teacher 5 · both 1 · neither 0"


def test_what_is_under_way_ends_when_another_model_is_opened(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search()
    for side, session in enumerate(search.sessions):
        judged: list[object] = []
        session.ask("evaluate", SEARCH_EVALUATE, judged.append, lambda *_: None)
        for purpose in ("query", "evaluate", "map"):
            search._working(side, purpose, "judging", 1, 10)
        with qtbot.waitSignal(session.opened):
            search.open(side, anew=True)
            assert not {f"query{side}", f"evaluate{side}", f"map{side}"} & set(search.view.jobs.running())
        assert judged == [], "of what is no longer open"
    search._working(1, "evaluate", "judging", 1, 10)
    search.view.source.compare.setChecked(False)
    assert search.view.jobs.running() == []
    assert search.view.strip.isHidden()


def test_the_map_shows_a_quick_layout_then_a_better_one_and_takes_a_lasso(
    qtbot: QtBot, open_search: OpenSearch
) -> None:
    search = open_search()
    search.view.tabs.setCurrentIndex(MAP)
    page = search.view.map
    qtbot.waitUntil(lambda: "t-SNE" in page.status.text(), timeout=10000)
    assert "6 pictures, 6 captions" in page.status.text()
    canvas = page.canvas
    around = [QPointF(-0.6, -0.6), QPointF(0.6, -0.6), QPointF(0.6, -0.4), QPointF(-0.6, -0.4)]
    assert canvas.inside(around) == [0, 2, 4]
    canvas.lassoed.emit(canvas.inside(around))
    assert [item.path.name for item in page.gallery.items()] == ["0.png", "2.png", "4.png"]
    canvas.hovered.emit(7, canvas.mapToGlobal(QPoint(10, 10)))
    assert page._popup.isVisible()
    assert page._popup._words.text() == "“a blue square”"
    canvas.setFocus()
    qtbot.keyClick(canvas, Qt.Key.Key_A)
    assert len(page.gallery.items()) == 6


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


def leave_place(search: SearchPanel) -> None:
    window = search.window()
    assert isinstance(window, MainWindow)
    window.keep_training()


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
    qtbot.waitUntil(lambda: "made by open_clip:A" in search.view.bar.text, timeout=10000)
    assert "not by open_clip:B" in search.view.bar.text
    assert search.view.empty.isVisible()


def test_pictures_that_are_gone_are_grey_and_can_be_relocated(
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
    search.view.sheet.new.setText(str(folder / "pictures"))
    search.view.sheet.move_pictures.click()
    qtbot.waitUntil(lambda: bool(requests(folder, "search_relocate")), timeout=10000)
    assert requests(folder, "search_relocate")[0]["new"] == str(folder / "pictures")


def test_an_index_is_built_with_progress_and_can_be_stopped(
    qtbot: QtBot, open_search: OpenSearch, folder: Path, tmp_path: Path
) -> None:
    search = open_search()
    sheet = search.view.sheet
    search.view.source.sheet.setChecked(True)
    sheet.start()
    assert "Choose the pictures" in search.view.bar.text
    sheet.source.set_source("slow")
    sheet.start()
    assert "Choose the folder of the index" in search.view.bar.text
    sheet.folder.setText(str(tmp_path / "made"))
    sheet.build.click()
    qtbot.waitUntil(lambda: "Encoding pictures" in search.view.strip.text, timeout=10000)
    search.view.strip.cancelled.emit()
    qtbot.waitUntil(lambda: "what was encoded is safe" in search.view.bar.text, timeout=10000)
    sheet.source.set_source("quick")
    sheet.build.click()
    qtbot.waitUntil(lambda: search.view.source.kind == INDEX, timeout=10000)
    assert [one["source"] for one in requests(folder, "search_index")] == ["slow", "quick"]


def test_wrong_queries_long_ones_and_none_are_told_in_words(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search()
    search.view.query.set_query(Query("wrong"))
    qtbot.waitUntil(lambda: "cancel each other out" in search.view.bar.text)
    type_words(qtbot, search, "moon")
    assert not search.view.bar.isVisible()
    search.view.query.set_query(Query("x" * 10_000))
    qtbot.waitUntil(lambda: search.view.note.text() == "the query is long.")
    search.view.query.set_query(Query("луна 月"))
    answered(qtbot, search, "луна 月")
    search.view.query.set_query(Query())
    qtbot.waitUntil(lambda: search.view.sides[0].answer is None)
    assert search.view.sides[0].gallery.items() == []


def test_opening_can_be_cancelled_and_data_that_cannot_be_read_say_why(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search()
    search.view.source.compare.setChecked(False)
    search.view.source.where.setCurrentIndex(search.view.source.where.findData(DATA))
    search.view.source.data.set_source("slow")
    qtbot.waitUntil(lambda: "Encoding pictures" in search.view.strip.text, timeout=10000)
    search.view.strip.cancelled.emit()
    qtbot.waitUntil(lambda: "cancelled" in search.view.bar.text, timeout=10000)
    assert not search.view.strip.isVisible()
    search.view.source.data.set_source("broken")
    qtbot.waitUntil(lambda: "no column filepath" in search.view.bar.text, timeout=10000)


def test_a_worker_that_went_is_replaced_by_the_next_question(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search()
    type_words(qtbot, search, "moon")
    search._services.pool.shutdown()
    type_words(qtbot, search, "star")
    assert len(search.view.sides[0].gallery.items()) == 6


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
    assert "checkpoint" in search.view.empty.accessibleDescription()
    assert search._services.pool.states() == []


def test_everything_has_a_name_and_the_tabs_have_keys(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search()
    qtbot.keyClick(search.view.query.line, Qt.Key.Key_V, Qt.KeyboardModifier.AltModifier)
    assert search.view.tabs.currentIndex() == EVALUATION
    qtbot.keyClick(search.view.query.line, Qt.Key.Key_P, Qt.KeyboardModifier.AltModifier)
    assert search.view.tabs.currentIndex() == PICTURES_TAB
    assert Part("people", weight=-0.5).spoken == "without people, weight 0.5"
    search.view.query.chips.set_parts((Part("people", weight=-0.5),))
    assert search.view.query.chips.chips()[0].accessibleName() == "Part of the query: without people, weight 0.5"


def test_what_one_side_has_to_say_stays_when_the_other_side_opens(
    qtbot: QtBot, open_search: OpenSearch, tmp_path: Path
) -> None:
    search = open_search()
    search.view.source.show_index(0, str(tmp_path / "damaged"))
    qtbot.waitUntil(lambda: "damaged" in search.view.bar.text)
    search.view.source.show_index(1, str(tmp_path / "other"))
    qtbot.waitUntil(lambda: "made by open_clip:A" in search.view.bar.text)
    assert "1 of 3 segments are damaged." in search.view.bar.text, "both are said"
    search.view.source.show_index(1, str(tmp_path / "whole"))
    qtbot.waitUntil(lambda: search.sessions[1].facts is not None and not search.sessions[1].opening)
    assert search.view.bar.text == "1 of 3 segments are damaged."
    assert search.view.bar._action.text() == "Refresh the index"
    search.view.source.show_index(1, str(tmp_path / "other"))
    qtbot.waitUntil(lambda: "made by open_clip:A" in search.view.bar.text)
    with qtbot.waitSignal(search.sessions[0].opened):
        search.view.source.show_index(0, str(tmp_path / "whole"))
    assert search.view.bar.text.startswith("the index other was made by open_clip:A")
    with qtbot.waitSignal(search.sessions[1].failed):
        search.view.bar.press_remedy()
    assert search.view.bar.text.startswith("the index other was made by open_clip:A"), "tried again"
    search.view.source.compare.setChecked(False)
    assert not search.view.bar.isVisible(), "the side that it was about is gone"


def test_what_was_update_visible_stays_away_when_the_other_side_opens(
    qtbot: QtBot, open_search: OpenSearch, tmp_path: Path
) -> None:
    search = open_search()
    search.view.source.show_index(0, str(tmp_path / "damaged"))
    qtbot.waitUntil(lambda: "damaged" in search.view.bar.text)
    search.view.bar._close.click()
    with qtbot.waitSignal(search.sessions[1].opened):
        search.view.source.show_index(1, str(tmp_path / "whole"))
    assert not search.view.bar.isVisible()


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
    search.run()
    overtaken = search.number
    search.view.query.line.setText("star")
    search.run()
    answered(qtbot, search, "star")
    qtbot.waitUntil(lambda: search.number in [number for number, _ in answers])
    late = [answer for number, answer in answers if number <= overtaken]
    assert late, "the worker did answer it"
    assert shown
    assert not any(one is two for one in shown for two in late)


def test_a_filter_on_a_label_that_the_collection_lacks_is_seen_and_asked_with(
    qtbot: QtBot, open_search: OpenSearch, folder: Path
) -> None:
    search = open_search()
    search.view.filters.set_filters({"labels": {"group": ["animals"]}}, True)
    search.open(0, anew=True)
    qtbot.waitUntil(lambda: search.view.filters.label.findData("tone") > 0 and not search.sessions[0].opening)
    type_words(qtbot, search, "moon")
    assert requests(folder)[-1]["filters"] == {"labels": {"group": ["animals"]}} == search.view.filters.filters()
    assert search.view.filters.label.currentText() == "group"
    assert search.view.filter_button.text() == "Filters (1)"


def test_a_worker_that_answers_garbage_is_said_so_and_asked_again(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search()
    search.view.source.compare.setChecked(False)
    search.view.source.where.setCurrentIndex(search.view.source.where.findData(DATA))
    search.view.source.data.set_source("garbage")
    qtbot.waitUntil(lambda: "answer cannot be used" in search.view.bar.text)
    assert not search.view.strip.isVisible()
    assert search.view.bar._action.text() == "Try again"
    search.view.source.data.set_source("good")
    qtbot.waitUntil(lambda: search.sessions[0].facts is not None)
    assert not search.view.bar.isVisible()
    search.view.query.set_query(Query("garbage"))
    qtbot.waitUntil(lambda: "answer cannot be used" in search.view.bar.text)
    search.view.query.set_query(Query("moon"))
    qtbot.waitUntil(lambda: search.view.sides[0].query.words == "moon" and not search.view.bar.isVisible())
