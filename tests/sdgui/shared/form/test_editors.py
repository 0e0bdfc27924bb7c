"""Editors and rows of single values by themselves: what is typed, browsed for, dropped, reset and said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QFileDialog, QMenu, QWidget
from pytestqt.qtbot import QtBot

from sdgui.shared.form.editors import (
    ChoiceEditor,
    ColumnEditor,
    FlagEditor,
    NumberEditor,
    PathEditor,
    TextEditor,
    editor_for,
)
from sdgui.shared.form.fields import FieldSpec

SPEC = FieldSpec("a.b", "Rate", "How fast it goes.", "m/s", "number", (), "At least 0", False, "")


@pytest.fixture
def parent(qtbot: QtBot) -> QWidget:
    parent = QWidget()
    qtbot.addWidget(parent)
    parent.resize(600, 300)
    parent.show()
    return parent


def test_each_kind_of_field_has_an_editor_with_a_description(parent: QWidget) -> None:
    kinds = [
        (replace(SPEC, kind="flag"), FlagEditor),
        (replace(SPEC, kind="choice", choices=("x", "y")), ChoiceEditor),
        (replace(SPEC, kind="whole"), NumberEditor),
        (SPEC, NumberEditor),
        (replace(SPEC, kind="text"), TextEditor),
        (replace(SPEC, kind="text", widget="column"), ColumnEditor),
        *((replace(SPEC, kind="text", widget=name), PathEditor) for name in ("source", "folder", "architecture")),
    ]
    for spec, kind in kinds:
        editor = editor_for(spec, parent)  # type: ignore[arg-type]
        assert type(editor) is kind
        assert editor.control.accessibleName() == "Rate (m/s)"
        assert editor.control.accessibleDescription() == "How fast it goes. At least 0."
        assert editor.control.toolTip() == "How fast it goes. At least 0."
        assert editor.focusProxy() is editor.control
        editor.set_invalid(True)
        assert editor.control.property("invalid") is True
        editor.set_invalid(False)
        assert editor.control.property("invalid") is False
    assert editor_for(replace(SPEC, unit=""), parent).control.accessibleName() == "Rate"


def test_a_path_is_browsed_from_its_folder_and_dropped(
    qtbot: QtBot, parent: QWidget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor, heard = PathEditor(replace(SPEC, kind="text", widget="source"), parent), list[str]()
    editor.show()
    editor.edited.connect(lambda: heard.append(editor.text()))
    (tmp_path / "a.csv").touch()
    starts: list[tuple[str, str]] = []
    answers = ["", "/x/b.csv", "", "/x/y"]
    monkeypatch.setattr(
        QFileDialog,
        "getOpenFileName",
        lambda _over, _title, start, _kinds: (starts.append(("file", start)), (answers.pop(0), ""))[1],
    )
    monkeypatch.setattr(
        QFileDialog,
        "getExistingDirectory",
        lambda _over, _title, start: (starts.append(("folder", start)), answers.pop(0))[1],
    )

    def choose(row: int) -> None:
        editor._browse_button.click()
        menu = QApplication.activePopupWidget()
        assert isinstance(menu, QMenu)
        assert [action.text() for action in menu.actions()] == ["File…", "Folder…"]
        menu.actions()[row].trigger()
        menu.close()

    for text, row in (("", 0), (str(tmp_path / "a.csv"), 0), (str(tmp_path / "gone.csv"), 1), (str(tmp_path), 1)):
        editor.set_text(text)
        choose(row)
    folder = str(tmp_path)
    assert starts == [("file", ""), ("file", folder), ("folder", folder), ("folder", folder)]
    assert heard == ["/x/b.csv", "/x/y"], "nothing is told where nothing was chosen"
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / "a.csv"))])
    none, keys = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier

    def drop() -> bool:
        entering = QDragEnterEvent(QPointF(3, 3).toPoint(), Qt.DropAction.CopyAction, data, none, keys)
        editor.line.dragEnterEvent(entering)
        editor.line.dropEvent(QDropEvent(QPointF(3, 3), Qt.DropAction.CopyAction, data, none, keys))
        return entering.isAccepted()

    assert drop()
    assert heard[2:] == [str(tmp_path / "a.csv")]
    editor.set_text("kept")
    editor.set_read_only(True)
    drop()
    assert (editor.text(), len(heard), editor._browse_button.isVisible()) == ("kept", 3, False)


def test_columns_of_the_data_are_offered_with_their_number_of_classes(qtbot: QtBot, parent: QWidget) -> None:
    editor, heard = ColumnEditor(replace(SPEC, kind="text", widget="column"), parent), list[str]()
    editor.show()
    editor.edited.connect(lambda: heard.append(editor.text()))
    assert not editor.list_button.isVisible()
    editor.set_choices(["kind", "r&d"], ["3 classes", "2 classes"])
    assert editor.list_button.isVisible()
    editor.set_text("kind")
    editor.list_button.click()
    menu = QApplication.activePopupWidget()
    assert isinstance(menu, QMenu)
    actions = menu.actions()
    assert [(action.text(), action.isChecked()) for action in actions] == [
        ("none", False), ("kind · 3 classes", True), ("r&&d · 2 classes", False)
    ]  # fmt: skip
    for action in (actions[1], actions[2], actions[0]):
        action.trigger()
    menu.close()
    assert heard == ["r&d", ""], "the same is no change"
    editor.set_read_only(True)
    assert not editor.list_button.isVisible()
    editor.set_read_only(False)
    editor.set_choices([])
    assert not editor.list_button.isVisible()
    editor.set_choices(["kind"])
    assert [action.text() for action in editor.menu().actions()] == ["none", "kind"]
