"""The evaluation and the map of Search."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QPoint, QPointF, Qt
from pytestqt.qtbot import QtBot

from sdgui.panels.search.layout import EVALUATION, IMAGES_TAB, MAP
from sdgui.panels.search.model import Part
from tests.sdgui.panels.search.conftest import OpenSearch, requests


def test_the_evaluation_lists_the_hardest_first_and_links_to_the_images(
    qtbot: QtBot, open_search: OpenSearch, folder: Path
) -> None:
    search = open_search()
    search.view.tabs.setCurrentIndex(EVALUATION)
    pane = search.view.evaluation
    qtbot.waitUntil(lambda: pane.model.columnCount() == 4 and pane.current() is not None, timeout=10000)
    first = [pane.table.model().index(0, column).data() for column in range(4)]
    assert first == ["a white line", "6", "1", "▲ 5"]
    qtbot.waitUntil(lambda: "rank 6 of 6" in search.view.sides[0].true.text(), timeout=10000)
    qtbot.waitUntil(lambda: "rank 1 of 6 ✓" in search.view.sides[1].true.text(), timeout=10000)
    assert search.view.sides[0].gallery.items()[5].correct is True
    assert search.view.query.true_image.isVisible()
    pane.filter_box.setText("SQUARE")
    assert pane.count_label.text() == "1 of 6 queries"
    pane.filter_box.clear()
    assert [line.dashed for line in pane.curve.lines()] == [False, True, False, True]
    assert "Student text→image 20.0 %" in pane.curve.text_at(1)
    pane.way.setCurrentIndex(2)
    pane.way.activated.emit(2)
    qtbot.waitUntil(lambda: pane.model.rowCount() == 5)
    assert pane.count_label.text() == "only Student 0 · only Teacher 5 · both 1 · neither 0"
    before = len(requests(folder, "search_evaluate"))
    search.open(1, reopen=True)  # another model's figures are not those of the one before
    qtbot.waitUntil(lambda: len(requests(folder, "search_evaluate")) == before + 1, timeout=10000)


def test_the_map_shows_a_quick_layout_then_a_better_one_and_accepts_a_lasso(
    qtbot: QtBot, open_search: OpenSearch
) -> None:
    search = open_search()
    search.view.tabs.setCurrentIndex(MAP)
    page = search.view.map
    qtbot.waitUntil(lambda: "t-SNE" in page.status.text(), timeout=10000)
    assert "6 images, 6 captions" in page.status.text()
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


def test_controls_have_accessible_names_and_tabs_have_shortcuts(qtbot: QtBot, open_search: OpenSearch) -> None:
    search = open_search()
    qtbot.keyClick(search.view.query.line, Qt.Key.Key_V, Qt.KeyboardModifier.AltModifier)
    assert search.view.tabs.currentIndex() == EVALUATION
    qtbot.keyClick(search.view.query.line, Qt.Key.Key_G, Qt.KeyboardModifier.AltModifier)
    assert search.view.tabs.currentIndex() == IMAGES_TAB
    assert Part("people", weight=-0.5).spoken == "without people, weight 0.5"
    search.view.query.chips.set_parts((Part("people", weight=-0.5),))
    assert search.view.query.chips.chips()[0].accessibleName() == "Query part: without people, weight 0.5"
