"""The sheet for tags and notes of several runs: what it offers, and what it asks for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from sdgui.panels.runs.table.many import ManyEdit, ManySheet

TAGS = {3: ["best", "slow"], 5: ["best"], 8: []}


@pytest.fixture
def sheet(qtbot: QtBot) -> Iterator[ManySheet]:
    over = QWidget()
    qtbot.addWidget(over)
    over.show()
    sheet = ManySheet(over)
    sheet.open(TAGS, ["best", "seen"], QPoint(0, 0))
    yield sheet
    sheet.hide()


def test_the_sheet_shows_the_tags_of_the_runs_and_keeps_them_all(sheet: ManySheet) -> None:
    assert sheet.isVisible()
    assert sheet.title.text() == "3 runs"
    assert [(box.text(), box.isChecked()) for box in sheet._boxes.values()] == [("best (2)", True), ("slow (1)", True)]
    assert sheet._tags.isVisible()
    assert sheet._has.isVisible()
    assert sheet.append.isChecked()
    assert not sheet.edit(), "nothing was asked for"
    sheet.add.setText("left over")
    sheet.note.setPlainText("left over")
    sheet.open({9: []}, [], QPoint(0, 0))
    assert (sheet.title.text(), sheet.add.text(), sheet.note.toPlainText()) == ("1 run", "", "")
    assert not sheet._tags.isVisible()
    assert not sheet._has.isVisible()


@pytest.mark.parametrize("way", ["button", "enter", "ctrl"])
def test_typed_and_unticked_tags_are_requested_once(qtbot: QtBot, sheet: ManySheet, way: str) -> None:
    edits: list[ManyEdit] = []
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
    assert edits == [ManyEdit((3, 5, 8), ("new", "best"), ("slow",), "look again", False)]
    assert sheet.isHidden()
