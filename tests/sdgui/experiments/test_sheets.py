"""The sheet of tags and note, and the list of changes, each by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from core.spec.presets import preset_config
from sdgui.experiments.activity import ActivityDialog
from sdgui.experiments.describe import DescribeSheet
from sdgui.shared.run_texts import when
from sdgui.store.registry.activity import Activity
from sdgui.store.store import Store

Told = list[tuple[object, list[str], str, object]]
CTRL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def window(qtbot: QtBot) -> QWidget:
    made = QWidget()
    qtbot.addWidget(made)
    made.resize(600, 600)
    made.show()
    return made


def test_an_edit_is_sent_once_with_its_old_value(qtbot: QtBot, window: QWidget) -> None:
    sheet, told = DescribeSheet(window), Told()
    sheet.described.connect(lambda *what: told.append(what))

    def open_current(tags: list[str], note: str) -> None:
        sheet.open("mine", "Tags of “mine”", tags, note, ["best", "Draft"], QPoint(10, 10))

    open_current(["a"], "why")
    assert (sheet.title.text(), sheet.tags.text(), sheet.note.toPlainText()) == ("Tags of “mine”", "a", "why")
    assert sheet.isVisible()
    assert sheet.focusWidget() is sheet.tags
    qtbot.keyClick(sheet.tags, Qt.Key.Key_Return)
    assert not sheet.isVisible()
    assert told == [], "nothing was changed"
    open_current(["a"], "why")
    sheet.tags.setText(" #b , a,, b")
    qtbot.keyClick(sheet.tags, Qt.Key.Key_Return)
    sheet.hide()
    assert told == [("mine", ["b", "a"], "why", (["a"], "why"))]
    for key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
        open_current([], "")
        sheet.note.setFocus()
        sheet.note.setPlainText("because")
        qtbot.keyClick(sheet.note, key, CTRL)
        assert told.pop() == ("mine", [], "because", ([], ""))
        assert not sheet.isVisible()
    open_current([], "")
    sheet.tags.setText("dropped")
    qtbot.keyClick(sheet, Qt.Key.Key_Escape)
    assert (sheet.isVisible(), len(told)) == (False, 1)
    open_current([], "")
    sheet.tags.setText("kept")
    qtbot.keyClick(sheet, Qt.Key.Key_X)  # no other key gives up what was typed
    sheet.hide()
    assert told[1:] == [("mine", ["kept"], "", ([], ""))]


def test_the_list_of_changes_shows_the_replaced_text(
    qtbot: QtBot, window: QWidget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(tmp_path / "home")
    mine, other = (store.add_experiment(preset_config("clip", "tiny"), name).id for name in ("mine", "other"))
    store.set_experiment_note(mine, "one")
    store.set_experiment_note(mine, "two")
    store.set_experiment_note(other, "another")
    dialog = ActivityDialog(store, window)
    dialog.open_for(mine, None, "mine")
    assert (dialog.windowTitle(), dialog.title.text(), dialog.isVisible()) == ("Changes of mine", "mine", True)
    qtbot.waitUntil(lambda: dialog.list.topLevelItemCount() == 3)
    rows = [item for row in range(3) if (item := dialog.list.topLevelItem(row)) is not None]
    first: Activity = store.activity(mine)[0]
    assert [rows[0].text(column) for column in range(4)] == [when(first.time), first.who, first.what, "mine"]
    assert dialog.detail.toPlainText() == "one", "the newest is chosen"
    dialog.list.setCurrentItem(rows[1])
    assert dialog.detail.toPlainText() == "", "that one replaced nothing"
    dialog.list.setCurrentItem(rows[0])
    dialog.open_for(99, None, "nothing")
    assert (dialog.list.topLevelItemCount(), dialog.detail.toPlainText()) == (0, "")
    qtbot.waitUntil(lambda: dialog.detail.toPlainText() == "No changes have been recorded yet.")

    def fails(*_: object) -> list[Activity]:
        raise UserError("The database is locked.")

    monkeypatch.setattr(store, "activity", fails)
    dialog.open_for(None, None, "everything")
    qtbot.waitUntil(lambda: dialog.detail.toPlainText() == "The database is locked.")
    dialog.close()
    store.close()


def test_changes_of_another_experiment_are_not_listed(qtbot: QtBot, window: QWidget, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "home")
    mine, other = (store.add_experiment(preset_config("clip", "tiny"), name).id for name in ("mine", "other"))
    dialog = ActivityDialog(store, window)
    for experiment, name in ((mine, "mine"), (other, "other"), (other, "other")):
        dialog.open_for(experiment, None, name)
    dialog._tasks.wait()
    qtbot.waitUntil(lambda: dialog.list.topLevelItemCount() > 0)
    qtbot.wait(1)
    rows = [item for row in range(dialog.list.topLevelItemCount()) if (item := dialog.list.topLevelItem(row))]
    assert [row.text(3) for row in rows] == ["other"]
    dialog.close()
    store.close()
