"""Parts of the table by themselves: the filter's completions by keys, the bar, the chooser of columns, saved views."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, QSettings, Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QInputDialog, QMenu, QWidget
from pytestqt.qtbot import QtBot

from sdgui.panels.runs.table.bar import FilterBox
from sdgui.panels.runs.table.bulk_edit import BulkEdit, BulkEditSheet
from sdgui.panels.runs.table.columns import ColumnChooser
from sdgui.panels.runs.table.layout import TableLayout
from sdgui.panels.runs.table.saved_views import MAX_NAME_LENGTH, MAX_VIEWS, SavedViews, views_menu
from sdgui.store.run_table.fields import Catalogue, metric

RECALL = "val/student/mean_recall"
CATALOGUE = Catalogue(["train/loss", RECALL])
CTRL, ALT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.AltModifier


@pytest.fixture
def box(qtbot: QtBot) -> FilterBox:
    window = QWidget()
    qtbot.addWidget(window)
    window.resize(800, 300)
    box = FilterBox(window)
    box.catalogue, box.values = CATALOGUE, {"tag": ["paper", "my tag"]}
    window.show()
    window.activateWindow()
    box.setFocus()
    qtbot.waitUntil(box.hasFocus)
    box.window_kept = window  # type: ignore[attr-defined]
    return box


def test_a_name_is_completed_at_the_cursor(qtbot: QtBot, box: FilterBox) -> None:
    qtbot.keyClicks(box, "seed = 1 and learning_r")
    completer = box.completer_of_words
    assert completer.currentCompletion() == "optim.learning_rate"
    completer.activated.emit(completer.currentCompletion())
    assert (box.text(), box.cursorPosition()) == ("seed = 1 and optim.learning_rate", 32)
    box.setText("tag: or seed = 1")
    box.setCursorPosition(4)
    qtbot.keyClicks(box, "my")
    completer.activated.emit(completer.currentCompletion())
    assert box.text() == 'tag:"my tag" or seed = 1'


@pytest.fixture
def chooser(qtbot: QtBot) -> ColumnChooser:
    window = QWidget()
    qtbot.addWidget(window)
    window.resize(900, 700)
    window.show()
    chooser = ColumnChooser(window)
    chooser.window_kept = window  # type: ignore[attr-defined]
    chooser.open(("seed", "state"), CATALOGUE, QPoint(10, 10), {"at": ["10", "20"]})
    return chooser


def titles(chooser: ColumnChooser) -> list[str]:
    rows = [chooser.list.item(row) for row in range(chooser.list.count())]
    return [row.text() for row in rows if not row.isHidden()]


def test_columns_are_found_ticked_and_moved_by_keys(qtbot: QtBot, chooser: ColumnChooser) -> None:
    received: list[tuple[str, ...]] = []
    chooser.changed.connect(received.append)
    assert chooser.chosen() == ("seed", "state")
    qtbot.waitUntil(chooser.search.hasFocus)
    assert "name" not in [chooser.list.item(row).data(Qt.ItemDataRole.UserRole) for row in range(chooser.list.count())]
    chooser.search.setText("LEARNING rate")
    assert titles(chooser) != []
    assert all("learning" in title.casefold() for title in titles(chooser))
    chooser.search.clear()
    assert len(titles(chooser)) == chooser.list.count()
    chooser.list.item(2).setCheckState(Qt.CheckState.Checked)
    assert len(received[-1]) == 3
    chooser.list.item(2).setCheckState(Qt.CheckState.Unchecked)
    assert received[-1] == ("seed", "state")
    chooser.search.setFocus()
    qtbot.waitUntil(chooser.search.hasFocus)
    qtbot.keyClick(chooser.search, Qt.Key.Key_Up)
    assert chooser.search.hasFocus()
    qtbot.keyClick(chooser.search, Qt.Key.Key_Down)
    assert chooser.list.hasFocus(), "down from the words to what was found"
    chooser.list.setCurrentRow(0)
    qtbot.keyClick(chooser, Qt.Key.Key_Down, ALT)
    assert (received[-1], chooser.list.currentRow()) == (("state", "seed"), 1)
    qtbot.keyClick(chooser, Qt.Key.Key_Up, ALT)
    assert (received[-1], chooser.list.currentRow()) == (("seed", "state"), 0)
    number = len(received)
    qtbot.keyClick(chooser, Qt.Key.Key_Up, ALT)
    assert len(received) == number, "above the first there is no place"
    chooser.add("seed")
    assert len(received) == number, "it is shown already"
    chooser.hide()


def test_a_metric_at_a_step_is_added_as_a_column(qtbot: QtBot, chooser: ColumnChooser) -> None:
    received: list[tuple[str, ...]] = []
    chooser.changed.connect(received.append)
    at_step = chooser.at_step
    assert [at_step.metrics.itemData(row) for row in range(at_step.metrics.count())] == [RECALL, "train/loss"]
    assert (at_step.isVisible(), at_step.step.currentText(), at_step.add.isEnabled()) == (True, "20", True)
    at_step.step.setCurrentText("")
    assert not at_step.add.isEnabled()
    qtbot.keyClick(at_step.edit, Qt.Key.Key_Return)
    assert received == []
    qtbot.keyClicks(at_step.edit, "x0012")
    assert at_step.step.currentText() == "0012", "a step is a number"
    at_step.add.click()
    assert received == [("seed", "state", f"at({RECALL}, 12)")]
    at_step.choose(metric("train/loss", "at", step=30))
    assert (at_step.metrics.currentData(), at_step.step.currentText(), at_step.edit.selectedText()) == (
        "train/loss",
        "30",
        "30",
    )
    qtbot.keyClick(at_step.edit, Qt.Key.Key_Return)
    assert received[-1][-1] == "at(train/loss, 30)"
    qtbot.waitUntil(at_step.edit.hasFocus)
    at_step.choose(metric("train/loss"))
    assert at_step.step.currentText() == "30", "without a step the former stays"
    chooser.open(("seed",), CATALOGUE, QPoint(10, 10), {"at": ["10", "20"]})
    assert (at_step.metrics.currentData(), at_step.step.currentText()) == ("train/loss", "30"), "what was chosen stays"
    assert [at_step.step.itemText(row) for row in range(at_step.step.count())] == ["10", "20"]
    chooser.open((), Catalogue(), QPoint(10, 10), {})
    assert not at_step.isVisible()
    chooser.hide()


def test_views_are_saved_opened_and_removed_by_their_menu(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat)
    views, parent, layouts = SavedViews(settings), QWidget(), list[TableLayout]()
    qtbot.addWidget(parent)
    mine = TableLayout(filter="seed = 1")

    def menu(current: TableLayout) -> QMenu:
        return views_menu(views, current, layouts.append, parent)

    assert [action.text() for action in menu(mine).actions()] == ["&Save this view…", "&Default view"]
    answers = [("", True), ("  ", True), ("no", False), (" r&d   view ", True), ("other", True)]
    monkeypatch.setattr(QInputDialog, "getText", lambda *_: answers.pop(0))
    for layout in (mine, mine, mine, mine, TableLayout()):
        menu(layout).actions()[-2 if not views.all() else -3].trigger()
    assert list(views.all()) == ["other", "r&d view"]
    for layout in (TableLayout(), mine):
        views.save("v" * (MAX_NAME_LENGTH + 9), layout)
    assert views.all().pop("v" * MAX_NAME_LENGTH) == mine, "a long name is one view, too"
    views.remove("v" * MAX_NAME_LENGTH)
    filled_menu = menu(mine)
    first, second, line, save, default, removal = filled_menu.actions()
    assert [(action.text(), action.isChecked()) for action in (first, second)] == [
        ("other", False),
        ("r&&d view", True),
    ]
    assert (first.toolTip(), second.toolTip(), line.isSeparator()) == ("All runs", "seed = 1", True)
    second.trigger()
    default.trigger()
    assert layouts == [mine, TableLayout()]
    inner = removal.menu()
    assert isinstance(inner, QMenu)
    assert [action.text() for action in inner.actions()] == ["other", "r&&d view"]
    inner.actions()[1].trigger()
    assert list(views.all()) == ["other"]
    assert QKeySequence.mnemonic(save.text()).toString() == "Alt+S"
    views.save("x" * 100, mine)
    assert max(map(len, views.all())) == MAX_NAME_LENGTH
    for number in range(60):
        views.save(str(number), mine)
    assert (len(views.all()), next(iter(views.all()))) == (MAX_VIEWS, "59")
    for broken in ("{", "[1]", "[" * 10**5):
        settings.setValue("runs/views", broken)
        assert views.all() == {}
    settings.setValue("runs/views", json.dumps({"a": 3}))
    assert views.all() == {"a": TableLayout()}


TAGS = {3: ["best", "slow"], 5: ["best"], 8: []}


@pytest.fixture
def sheet(qtbot: QtBot) -> Iterator[BulkEditSheet]:
    over = QWidget()
    qtbot.addWidget(over)
    over.show()
    sheet = BulkEditSheet(over)
    sheet.open(TAGS, ["best", "seen"], QPoint(0, 0))
    yield sheet
    sheet.hide()


def test_the_sheet_shows_the_tags_of_the_runs_and_keeps_them_all(sheet: BulkEditSheet) -> None:
    assert sheet.isVisible()
    assert sheet.title.text() == "3 runs"
    assert [(box.text(), box.isChecked()) for box in sheet._boxes.values()] == [("best (2)", True), ("slow (1)", True)]
    assert sheet._tags.isVisible()
    assert sheet._tags_label.isVisible()
    assert sheet.append.isChecked()
    assert not sheet.edit(), "nothing was asked for"
    sheet.add.setText("left over")
    sheet.note.setPlainText("left over")
    sheet.open({9: []}, [], QPoint(0, 0))
    assert (sheet.title.text(), sheet.add.text(), sheet.note.toPlainText()) == ("1 run", "", "")
    assert not sheet._tags.isVisible()
    assert not sheet._tags_label.isVisible()


@pytest.mark.parametrize("way", ["button", "enter", "ctrl"])
def test_typed_and_unticked_tags_are_requested_once(qtbot: QtBot, sheet: BulkEditSheet, way: str) -> None:
    edits: list[BulkEdit] = []
    sheet.edited.connect(edits.append)
    sheet.add.setText(" #new, best,, new ")
    sheet._boxes["slow"].setChecked(False)
    sheet.note.setPlainText(" look again ")
    sheet.append.setChecked(False)
    if way == "button":
        sheet.apply.click()
    elif way == "ctrl":
        sheet.note.setFocus()
        qtbot.waitUntil(sheet.note.hasFocus)
        qtbot.keyClick(sheet.note, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    else:
        sheet.add.setFocus()
        qtbot.waitUntil(sheet.add.hasFocus)
        qtbot.keyClick(sheet.add, Qt.Key.Key_Return)
    assert edits == [BulkEdit((3, 5, 8), ("new", "best"), ("slow",), "look again", False)]
    assert sheet.isHidden()
