"""The evaluation and its curve by hand: what is drawn, told under the mouse, counted, filtered and led on to."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QPointF, Qt
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.panels.search.tabs.evaluation import PAIRS, TEXTS, EvaluationPane, RecallCurve, RecallLine
from sdgui.widgets.style.theme import SPACE, theme
from tests.sdgui.panels.search.scripted_answers import side_of


def test_recall_is_drawn_announced_and_read_out(qtbot: QtBot) -> None:
    make_application()
    curve = RecallCurve()
    qtbot.addWidget(curve)
    curve.resize(500, 300)
    curve.show()
    assert curve.accessibleDescription() == "no recall yet; no recall yet"
    curve._show_at(QPointF(0, 0))
    assert not curve._cross.isVisible()
    curve.set_lines(
        [RecallLine("A", [1, 10, 100], [0.25, 0.5, 1.0], 0), RecallLine("B", [1, 10], [0.1, 0.2], 1, dashed=True)]
    )
    assert curve.accessibleDescription() == ("recall at 1: A 25.0 %, B 10.0 %; recall at 10: A 50.0 %, B 20.0 %")
    assert curve._readout.text() == "Recall at 10: A 50.0 %, B 20.0 %"
    drawn = curve._plot.getPlotItem().listDataItems()
    assert [one.getData()[0].tolist() for one in drawn] == [[0.0, 1.0, 2.0], [0.0, 1.0]]
    assert [one.getData()[1].tolist() for one in drawn] == [[0.25, 0.5, 1.0], [0.1, 0.2]]
    assert [one.opts["pen"].style() for one in drawn] == [Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine]
    assert [one.opts["pen"].color() for one in drawn] == [theme().run_color(0), theme().run_color(1)]
    assert curve._plot.viewRange()[1] == pytest.approx([-0.02, 1.02])
    low, high = curve._plot.viewRange()[0]
    assert low == pytest.approx(-0.04)
    assert high == pytest.approx(2.04)
    ticks = [text for _, text in curve._bottom_axis._tickLevels[0]]
    assert ticks == ["1", "2", "5", "10", "20", "50", "100"]
    assert not curve._cross.isVisible()
    curve._show_at(curve._plot.getPlotItem().vb.mapViewToScene(QPointF(1.9, 0.5)))
    assert curve._cross.isVisible()
    assert curve._readout.text().startswith("Recall at 100: A 100.0 %")
    curve.set_lines([])
    assert curve._plot.getPlotItem().listDataItems() == []
    assert not curve._cross.isVisible()


def test_the_evaluation_counts_filters_and_links_onwards(qtbot: QtBot) -> None:
    make_application()
    pane = EvaluationPane()
    qtbot.addWidget(pane)
    pane.resize(500, 500)
    pane.show()
    chosen, activated, compared, ways = list[str](), list[str](), list[int](), list[str]()
    pane.query_selected.connect(lambda one: chosen.append(one.title))
    pane.activated.connect(lambda one: activated.append(one.title))
    pane.compare_requested.connect(compared.append)
    pane.way_changed.connect(ways.append)
    pane.choose_first()
    assert (pane.current(), pane.k_box.isVisible(), pane.current_way) == (None, False, TEXTS)
    pane.show_sides([side_of({"a": 6, "b": 1, "c": 2})], ["Best"], "yesterday")
    assert pane.count_label.text() == "3 queries · as of yesterday; being re-evaluated"
    assert [pane.way.itemData(row) for row in range(pane.way.count())] == [TEXTS, "image_to_text"]
    assert [line.name for line in pane.curve.lines()] == ["Best text→image", "Best image→text"]
    assert [(line.dashed, line.color) for line in pane.curve.lines()] == [(False, 0), (True, 0)]
    assert [line.recall for line in pane.curve.lines()] == [[0.25, 1.0], [0.5, 1.0]]
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
    assert [pane.way.itemData(row) for row in range(pane.way.count())] == [TEXTS, "image_to_text", PAIRS]
    assert [line.color for line in pane.curve.lines()] == [0, 0, 1, 1]
    pane.way.setCurrentIndex(2)
    pane.way.activated.emit(2)
    assert (pane.k_box.isVisible(), compared, ways[-1], pane.model.rowCount()) == (True, [1], PAIRS, 0)
    assert pane.count_label.text() == "0 queries"
    row = {"caption": "a", "path": "/a", "rank_a": 5.0, "rank_b": 1.0, "text_a": 8, "text_b": 2}
    counts = {"only_a": 0, "only_b": 1, "both": 1000, "neither": 0}
    pane.show_pairs({"only_a": [], "only_b": [row], "counts": counts})
    assert pane.count_label.text() == "only Student 0 · only Teacher 1 · both 1\u2009000 · neither 0"
    assert [pane.model.index(0, column).data() for column in range(4)] == ["a", "5", "1", "▲ 4"]
    assert pane.table.horizontalHeader().sortIndicatorSection() == 3
    pane.k_box.setCurrentIndex(2)
    pane.k_box.activated.emit(2)
    assert compared == [1, 10]
    both = [side_of({"a": 6, "b": 1}), side_of({"a": 1, "b": 2})], ["Student", "Teacher"]
    pane.show_sides([], [])
    pane.show_sides(both[0][:1], ["Student"])
    pane.show_sides(*both)
    assert (pane.current_way, compared) == (PAIRS, [1, 10, 10]), "chosen before a model was opened again"
    pane.show_sides([], [])
    pane.way.activated.emit(0)
    pane.show_sides(*both)
    assert pane.current_way != PAIRS, "something else was chosen meanwhile"
    pane.way.setCurrentIndex(0)
    pane.way.activated.emit(0)
    assert not pane.k_box.isVisible()
    pane.show_sides([], [])
    assert (pane.count_label.text(), pane.model.rowCount(), pane.curve.lines()) == ("0 queries", 0, [])
