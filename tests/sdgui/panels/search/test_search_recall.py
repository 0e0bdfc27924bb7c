"""The evaluation and its curve by hand: what is drawn, told under the mouse, counted, filtered and led on to."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.panels.search.tabs.evaluation import IMAGES, PAIRS, TEXTS, EvaluationPane
from sdgui.widgets.style.theme import SPACE
from tests.sdgui.panels.search.scripted_answers import shown, side_of


@pytest.fixture
def pane(qtbot: QtBot) -> EvaluationPane:
    make_application()
    made = EvaluationPane()
    qtbot.addWidget(made)
    made.resize(500, 500)
    made.show()
    return made


def test_the_evaluation_counts_filters_and_links_onwards(qtbot: QtBot, pane: EvaluationPane) -> None:
    chosen, activated, compared = list[str](), list[str](), list[int]()
    pane.query_selected.connect(lambda one: chosen.append(one.title))
    pane.activated.connect(lambda one: activated.append(one.title))
    pane.compare_requested.connect(compared.append)
    pane.choose_first()
    assert (pane.current(), pane.k_box.isVisible(), pane.direction) == (None, False, TEXTS)
    pane.show_sides([side_of({"a": 6, "b": 1, "c": 2})], ["Best"], "yesterday")
    assert pane.count_label.text() == "3 queries · evaluated yesterday; being re-evaluated"
    box = pane.direction_box
    assert [box.itemData(row) for row in range(box.count())] == [TEXTS, "image_to_text"]
    assert [line.name for line in pane.curve.lines] == ["text→image", "image→text"]
    assert [(line.dashed, line.color) for line in pane.curve.lines] == [(False, 0), (True, 0)]
    assert [line.recall for line in pane.curve.lines] == [[0.25, 1.0], [0.5, 1.0]]
    head = pane.table.horizontalHeader()
    assert head.sectionSize(0) > head.sectionSize(1)
    assert head.sectionSize(1) == head.fontMetrics().horizontalAdvance("Teacher") + 3 * SPACE, "as wide as its title"
    pane.choose_first()
    assert (chosen, pane.current() is not None) == (["a"], True)
    qtbot.keyClick(pane.table, Qt.Key.Key_Return)
    assert activated == ["a"]
    pane.filter_box.setText("B")
    assert (pane.count_label.text().split(" · ")[0], pane.model.rowCount()) == ("1 of 3 queries", 1)
    assert not pane.choose("a", "/a"), "it is not listed"
    pane.filter_box.clear()
    assert pane.choose("c", "/c")
    assert not pane.choose("c", "/elsewhere")
    pane.show_sides([side_of({"a": 6, "b": 1}), side_of({"a": 1, "b": 2})], ["Student", "Teacher"])
    assert [pane.direction_box.itemData(row) for row in range(pane.direction_box.count())] == [
        TEXTS,
        "image_to_text",
        PAIRS,
    ]
    assert [line.color for line in pane.curve.lines] == [0, 0, 1, 1]
    assert pane.curve.recall_text(1).startswith("recall at 1: Student text→image 25.0 %")
    pane.direction_box.setCurrentIndex(2)
    pane.direction_box.activated.emit(2)
    assert (pane.k_box.isVisible(), compared, pane.direction, pane.model.rowCount()) == (True, [1], PAIRS, 0)
    assert pane.count_label.text() == "0 queries"
    row = {"caption": "a", "path": "/a", "rank_a": 5.0, "rank_b": 1.0, "text_a": 8, "text_b": 2}
    counts = {"only_a": 0, "only_b": 1, "both": 1000, "neither": 0}
    pane.show_pairs({"only_a": [], "only_b": [row], "counts": counts})
    assert pane.count_label.text() == "only Student 0 · only Teacher 1 · both 1,000 · neither 0"
    assert [pane.model.index(0, column).data() for column in range(4)] == ["a", "5", "1", "▲ 4"]
    assert pane.table.horizontalHeader().sortIndicatorSection() == 3
    pane.k_box.setCurrentIndex(2)
    pane.k_box.activated.emit(2)
    assert compared == [1, 10]
    both = [side_of({"a": 6, "b": 1}), side_of({"a": 1, "b": 2})], ["Student", "Teacher"]
    pane.show_sides([], [])
    pane.show_sides(both[0][:1], ["Student"])
    pane.show_sides(*both)
    assert (pane.direction, compared) == (PAIRS, [1, 10, 10]), "chosen before a model was opened again"
    pane.show_sides([], [])
    pane.direction_box.activated.emit(0)
    pane.show_sides(*both)
    assert pane.direction != PAIRS, "something else was chosen meanwhile"
    pane.direction_box.setCurrentIndex(0)
    pane.direction_box.activated.emit(0)
    assert not pane.k_box.isVisible()
    pane.show_sides([], [])
    assert (pane.count_label.text(), pane.model.rowCount(), pane.curve.lines) == ("0 queries", 0, [])


def test_another_evaluation_keeps_the_selected_query(pane: EvaluationPane) -> None:
    pane.show_sides([side_of({"a": 6, "b": 1, "c": 2}), side_of({"b": 4, "a": 1})], ["Student", "Teacher"])
    assert [query.title for query in shown(pane)] == ["a", "c", "b"], "the hardest first"
    pane.model.sort(2, Qt.SortOrder.AscendingOrder)
    assert [query.title for query in shown(pane)] == ["a", "b", "c"], "what is not known comes last"
    assert pane.choose("b", "/b")
    pane.show_sides([side_of({"a": 1, "b": 1, "c": 9}), side_of({"b": 4, "a": 1})], ["Student", "Teacher"])
    current = pane.current()
    assert current is not None
    assert current.title == "b"
    many = {f"{number:03}": float(number) for number in range(80)}
    pane.show_sides([side_of(many), side_of(many)], ["Student", "Teacher"])
    assert pane.choose("000", "/000")
    row = pane.table.visualRect(pane.table.currentIndex())
    assert pane.table.viewport().rect().contains(row), "it is scrolled to"
    assert not pane.choose("none", "/none")
    pane.show_sides([side_of({"a": 1}, queries={"text_to_image": 7, "image_to_text": 7})], ["Student"])
    assert pane.count_label.text() == "1 of 7 queries (the 1 hardest are listed)"
    pane.direction_box.setCurrentIndex(pane.direction_box.findData(IMAGES))
    pane.direction_box.activated.emit(pane.direction_box.currentIndex())
    assert pane.model.headerData(0, Qt.Orientation.Horizontal) == "Image with the caption"
