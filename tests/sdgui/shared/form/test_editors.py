"""Editors and rows of single values by themselves: what is typed, browsed for, dropped, reset and said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QCheckBox, QComboBox, QFileDialog, QLineEdit, QMenu, QWidget
from pytestqt.qtbot import QtBot

from sdgui.shared.form.editors import (
    ChoiceEditor,
    ColumnEditor,
    FlagEditor,
    NumberEditor,
    PathEditor,
    TextEditor,
    editor_for,
    stepped_number,
)
from sdgui.shared.form.fields import FieldGroup, FieldSpec
from sdgui.shared.form.row import FoldRow, FormRow

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


def test_a_box_and_a_list_emit_only_user_changes(qtbot: QtBot, parent: QWidget) -> None:
    heard: list[str] = []
    flag = FlagEditor(replace(SPEC, kind="flag"), parent)
    choice = ChoiceEditor(replace(SPEC, kind="choice", choices=("x", "y")), parent)
    for editor in (flag, choice):
        editor.edited.connect(lambda editor=editor: heard.append(editor.text()))
    flag.set_text("true")
    choice.set_text("y")
    assert (flag.text(), choice.text(), heard) == ("true", "y", [])
    box, combo = flag.control, choice.control
    assert isinstance(box, QCheckBox)
    assert isinstance(combo, QComboBox)
    box.click()
    combo.setCurrentIndex(0)
    combo.activated.emit(0)
    assert heard == ["false", "x"]
    choice.set_text("of another version")
    assert (choice.text(), combo.count()) == ("of another version", 3), "it is kept with its error"
    choice.set_text("x")
    choice.set_text("of another version")
    assert combo.count() == 3
    flag.set_text("nonsense")
    assert flag.text() == "false"
    flag.set_read_only(True)
    assert not box.isEnabled()


def test_stepping_changes_the_last_digit_unless_read_only(qtbot: QtBot, parent: QWidget) -> None:
    editor, heard = NumberEditor(SPEC, parent), list[str]()
    editor.edited.connect(lambda: heard.append(editor.text()))
    line = editor.control
    assert isinstance(line, QLineEdit)
    editor.set_text("0.98")
    assert (line.cursorPosition(), heard) == (0, [])
    for key in (Qt.Key.Key_Up, Qt.Key.Key_Up, Qt.Key.Key_Down):
        qtbot.keyClick(line, key)
    assert heard == ["0.99", "1.00", "0.99"]
    editor.set_text("many")
    qtbot.keyClick(line, Qt.Key.Key_Up)
    editor.set_text("5")
    editor.set_read_only(True)
    qtbot.keyClick(line, Qt.Key.Key_Up)
    assert (editor.text(), len(heard), line.isEnabled()) == ("5", 3, True), "it can still be copied"
    steps = (("1E-4", 1), ("2e-4", -1), ("-1", 1), (" 7 ", 1), ("nan", 1), ("9e3", 1))
    assert [stepped_number(*of) for of in steps] == ["2e-4", "1e-4", "0", "8", None, "10e3"]


def test_suggestions_are_taken_as_if_typed(parent: QWidget) -> None:
    editor, heard = TextEditor(replace(SPEC, kind="text"), parent), list[str]()
    editor.edited.connect(lambda: heard.append(editor.text()))
    editor.set_choices(["ViT-B-32", "RN50"])
    completer = editor.line.completer()
    assert completer is not None
    completer.setCompletionPrefix("N5")
    assert completer.currentCompletion() == "RN50"
    editor.set_text("RN50")
    completer.activated.emit("RN50")
    assert heard == ["RN50"]


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
        editor._browse.click()
        menu = QApplication.activePopupWidget()
        assert isinstance(menu, QMenu)
        assert [action.text() for action in menu.actions()] == ["File …", "Folder …"]
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
    assert (editor.text(), len(heard), editor._browse.isVisible()) == ("kept", 3, False)


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


def test_a_row_marks_what_differs_and_resets_it(qtbot: QtBot, parent: QWidget) -> None:
    row, edited, focused = FormRow(SPEC, parent), list[str](), list[str]()
    row.edited.connect(edited.append)
    row.focused.connect(focused.append)
    row.show()
    row.set_base("0.5")
    row.set_text("0.7")
    assert row._reset is None
    row.set_differs(True)
    reset = row._reset
    assert reset is not None
    assert (row._dot.text(), row._dot.toolTip()) == ("●", "Differs from the preset: 0.5")
    assert (reset.isVisible(), reset.toolTip()) == (True, "Reset rate to 0.5")
    row.set_read_only(True)
    assert not reset.isVisible()
    row.set_read_only(False)
    assert reset.isVisible()
    reset.click()
    assert (row.text(), edited) == ("0.5", ["a.b"])
    row.set_differs(False)
    assert (row._dot.text(), row._dot.accessibleName(), reset.isVisible()) == ("", "", False)
    row.set_base("")
    row.set_differs(True)
    assert (reset.toolTip(), row._dot.toolTip()) == ("Reset rate to empty", "Differs from the preset: empty")
    parent.activateWindow()
    qtbot.waitUntil(parent.isActiveWindow)
    row.editor.control.clearFocus()
    focused.clear()
    row.editor.control.setFocus()
    assert focused == ["a.b"]


def test_a_row_shows_its_error_below(parent: QWidget) -> None:
    row = FormRow(SPEC, parent)
    row.show()
    row.set_error("")
    assert row._sentence is None
    row.set_error("It is no number.")
    assert row._sentence is not None
    assert (row._sentence.text(), row._sentence.isVisible()) == ("It is no number.", True)
    assert row.editor.control.property("invalid") is True
    assert row.editor.control.accessibleDescription() == "Error: It is no number."
    row.set_error("")
    assert not row._sentence.isVisible()
    assert row.editor.control.accessibleDescription() == SPEC.help
    assert row.editor.control.property("invalid") is False


def test_the_heading_of_a_group_folds_it(parent: QWidget) -> None:
    group = FieldGroup("objectives.x", "Matching", "Tells true pairs.")
    row, requests = FoldRow(replace(SPEC, title="Weight", unit=""), group, parent), list[None]()
    row.fold_requested.connect(lambda: requests.append(None))
    assert (row.button.text(), row.button.toolTip(), row.about.text()) == (
        "Matching",
        "Tells true pairs.",
        "Tells true pairs.",
    )
    assert row.editor.control.accessibleName() == "Matching: weight"
    icons = []
    for folded, name in ((True, "Matching, collapsed"), (False, "Matching, expanded")):
        row.set_folded(folded)
        assert row.button.accessibleName() == name
        icons.append(row.button.icon().pixmap(16, 16).toImage())
    assert icons[0] != icons[1]
    row.button.click()
    assert len(requests) == 1
