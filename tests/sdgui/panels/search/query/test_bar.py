"""The search box with its parts, its star and its menu of past searches."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtCore import QMimeData, Qt, QUrl
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFileDialog, QWidget
from pytestqt.qtbot import QtBot

from sdgui.panels.search.model import Part, Query
from sdgui.panels.search.query.bar import SearchBar
from sdgui.panels.search.query.history import SearchHistory
from sdgui.shared.services import Services


def test_the_query_bar_adds_parts_and_saves_searches(
    qtbot: QtBot, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = QWidget()
    qtbot.addWidget(host)
    history = SearchHistory(services.settings)
    bar = SearchBar(history, host, host)
    bar.resize(700, 40)
    host.resize(700, 300)
    host.show()
    host.activateWindow()
    qtbot.waitUntil(host.isActiveWindow)
    told: list[None] = []
    bar.changed.connect(lambda: told.append(None))
    assert (bar.save_button.isEnabled(), bar.true_image.isVisible(), bar.chips.isVisible()) == (False, False, False)
    bar.add_words.click()
    assert (told, bar.line.hasFocus()) == ([], True), "nothing is typed"
    qtbot.keyClicks(bar.line, "moon")
    assert len(told) == 4
    assert bar.save_button.isEnabled()
    bar.exclude_words.click()
    assert [(part.words, part.weight) for part in bar.query().parts] == [("moon", -1.0)]
    assert (bar.line.text(), bar.chips.isVisible(), len(told)) == ("", True, 5)
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (["/a.png", "/b.png"], ""))
    bar.image_button.click()
    assert [part.image for part in bar.query().parts] == ["", "/a.png", "/b.png"]
    for box in (bar.find_box, bar.prompts):
        box.setCurrentIndex(1)
        box.activated.emit(1)
    assert len(told) == 9
    assert (bar.query().find, bar.query().prompts) == ("captions", bar.prompts.itemData(1))
    bar.save_button.click()
    assert (len(history.saved), bar.save_button.isChecked()) == (1, True)
    assert bar.save_button.toolTip().startswith("Remove this saved search")
    bar.set_filters({"min_size": "2 KB"}, True)
    assert (bar.save_button.isChecked(), bar.filtered_query().filters) == (False, {"min_size": "2 KB"})
    assert bar.save_button.toolTip().startswith("Save this search")
    offered = bar.prompts.count()
    bar.set_query(Query("star", (Part("red"),)), emit=False)
    assert bar.prompts.count() == offered, "its prompts are among them"
    assert (len(told), bar.line.cursorPosition(), bar.query().find) == (9, 4, "images")
    bar.show_known_image("/true.png", "the correct image")
    assert bar.true_image.isVisible()
    assert bar.true_image.toolTip() == "The correct image\n/true.png"
    bar.show_known_image("", "")
    assert not bar.true_image.isVisible()
    bar.set_query(Query("known", true_path="/t.png", true_row=4))
    bar.clear_known_query()
    assert bar.query() == Query(prompts=bar.query().prompts)
    bar.set_query(Query("mine"))
    bar.clear_known_query()
    assert bar.query().words == "mine"


@pytest.fixture
def bar(qtbot: QtBot, services: Services) -> Iterator[SearchBar]:
    host = QWidget()
    qtbot.addWidget(host)
    made = SearchBar(SearchHistory(services.settings), host, host)
    host.show()
    yield made
    host.hide()


def test_an_image_query_is_no_longer_a_known_one_once_edited(bar: SearchBar) -> None:
    bar.set_query(Query(parts=(Part(image="/a.png", row=3),), find="captions", true_path="/a.png"))
    assert bar.query().true_path == "/a.png"
    bar.chips.chips[0]._sign.click()
    assert (bar.query().true_path, bar.query().parts[0].weight) == ("", -1.0)


def test_keys_of_the_search_box(qtbot: QtBot, bar: SearchBar) -> None:
    host = bar.parentWidget()
    assert host is not None
    host.activateWindow()
    bar.history_query_chosen.connect(bar.set_query)
    bar.line.setFocus()
    qtbot.keyClicks(bar.line, "moon")
    qtbot.keyClick(bar.line, Qt.Key.Key_Return)
    qtbot.keyClicks(bar.line, "light")
    qtbot.keyClick(bar.line, Qt.Key.Key_Up)
    assert bar.line.text() == "moon"
    qtbot.keyClick(bar.line, Qt.Key.Key_Down)
    assert bar.line.text() == "moonlight", "what was being typed comes back"
    with qtbot.waitSignal(bar.results_focus_requested):
        qtbot.keyClick(bar.line, Qt.Key.Key_Down)
    qtbot.keyClick(bar.line, Qt.Key.Key_Return, Qt.KeyboardModifier.AltModifier)
    qtbot.keyClicks(bar.line, "sun")
    qtbot.keyClick(bar.line, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    assert [(part.words, part.weight) for part in bar.chips.parts()] == [("moonlight", 1), ("sun", -1)]
    assert bar.chips.chips[1].accessibleName() == "Query part: without sun"
    bar.line.setText("x")
    bar.add_words.click()
    assert bar.chips.parts()[2].weight == 1
    image, file = QMimeData(), QMimeData()
    image.setImageData(bar.grab().toImage())
    file.setUrls([QUrl.fromLocalFile("/p/a.png")])
    file.setText("/p/a.png")
    for data in (image, file):
        with qtbot.waitSignal(bar.paste_requested):
            QGuiApplication.clipboard().setMimeData(data)
            qtbot.keyClick(bar.line, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    assert bar.line.text() == "", "a file is no word"
    QGuiApplication.clipboard().clear()
    bar.set_query(Query("sun", prompts="/mine/own.txt"))
    assert bar.query().prompts == "/mine/own.txt"
