"""Prompts edited beside the confusion matrix: what is typed, its history, what is asked and shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from core.spec.data.prompt_sets import DEFAULT_TEMPLATES, PromptSet, read_prompts
from sdgui.panels.classify.model import Settings, method_title
from sdgui.panels.classify.prompts.draft import PromptDraft, TypedPrompts, join_names, split_names
from sdgui.panels.classify.prompts.editor import PromptEditor
from sdgui.widgets.message import Message
from sdgui.worker.replies import Failure
from tests.sdgui.panels.classify.classifying import OpenClassify, a_result, an_evaluation, asked, classify

SHIFT_CTRL = Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.ControlModifier


def test_class_names_round_trip() -> None:
    assert split_names(' cat, "tom, the cat",, kitten , cat') == ("cat", "tom, the cat", "kitten")
    assert split_names("") == split_names(" , ") == ()
    assert split_names(join_names(("a, b", "c", 'the "big" cat'))) == ("a, b", "c", 'the "big" cat')


def test_templates_and_names_share_one_undo_history() -> None:
    draft = PromptDraft()
    first = draft.typed
    assert not draft.put_names("cat", "cat"), "a class that is called by its label is not named"
    assert draft.put_names("cat", "kitten, tom")
    assert draft.put_templates("an icon of a {}.\n\n")
    assert json.loads(draft.source) == {"templates": ["an icon of a {}."], "classes": {"cat": ["kitten", "tom"]}}
    assert not draft.begin(draft.source), "blank lines stay while one types"
    assert draft.put_templates("an icon\n")
    assert "has no placeholder {}" in draft.problem
    for _ in range(3):
        assert draft.undo()
    assert draft.typed == first
    assert not draft.undo()
    assert draft.redo()
    assert draft.typed.names == {"cat": "kitten, tom"}
    assert draft.put_templates("a {}")
    assert not draft.redo(), "another edit has taken its place"
    assert draft.reset()
    assert draft.typed == TypedPrompts.of(read_prompts(DEFAULT_TEMPLATES))
    assert draft.undo(), "going back is an edit like any other"


def test_unusable_prompts_and_missing_files_fall_back_to_another_set(
    tmp_path: Path,
) -> None:
    draft, mine = PromptDraft(), tmp_path / "mine.txt"
    assert draft.put_templates("an icon")
    assert draft.begin("simple")
    assert (draft.problem, draft.typed) == ("", TypedPrompts.of(read_prompts("simple")))
    mine.write_text("a drawing of a {}.\n")
    assert draft.begin(str(mine))
    assert draft.put_templates("a {}")
    assert draft.reset()
    assert draft.typed.templates == "a drawing of a {}."
    mine.unlink()
    assert draft.reset()
    assert draft.typed == TypedPrompts.of(read_prompts(DEFAULT_TEMPLATES))


def test_edits_are_previewed_in_the_matrix_and_kept(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path, tmp_path: Path
) -> None:
    panel = open_classify()
    classify(qtbot, panel, "zero-shot")
    assert asked(folder, "classify_zero_shot")[0]["templates"] == "name", "the run was not trained from photos"
    view, tab = panel.view, panel.view.matrix
    view.tabs.setCurrentWidget(tab)
    QTest.mouseClick(tab.prompts, Qt.MouseButton.LeftButton)
    editor = tab.editor
    assert editor.templates.toPlainText().splitlines() == list(read_prompts("name").templates)
    assert [editor.names.index(row, 0).data() for row in range(4)] == view.results.results()[0].classes
    number = len(view.results.results())
    editor.templates.setPlainText("an icon of a {}.\n")
    editor.names.setData(editor.names.index(1, 1), "big cat, lion")
    wanted = PromptSet(("an icon of a {}.",), {"Große Katze": ("big cat", "lion")})
    qtbot.waitUntil(lambda: read_prompts(view.results.results()[0].evaluation.settings.templates) == wanted)
    assert len(view.results.results()) == number + 1, "the last edit takes the place of the one before"
    assert editor.templates.toPlainText() == "an icon of a {}.\n", "what is typed stays as it is typed"
    assert editor.status.text().startswith("Accuracy 66.7 %")
    sent = [json.loads(one["templates"]) for one in asked(folder, "classify_zero_shot") if one["templates"][0] == "{"]
    assert sent[-1] == json.loads(wanted.to_json())
    assert read_prompts(view.source.options.settings().templates) == wanted, "the button asks with them too"
    assert method_title(view.results.results()[0].evaluation) == "Zero-shot (edited prompts)"

    editor.templates.setPlainText("an icon")
    editor.apply()
    assert not editor._pause.isActive(), "it is tried once"
    assert "has no placeholder {}" in editor.status.text()
    editor.templates.setFocus()
    qtbot.keyClick(editor.templates, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert editor.templates.toPlainText() == "an icon of a {}.\n"
    editor.save_to(tmp_path / "mine.json")
    qtbot.waitUntil(lambda: "mine.json" in view.bar.text)
    assert read_prompts(tmp_path / "mine.json") == wanted
    assert view.source.options.settings() == Settings(templates=str(tmp_path / "mine.json"))
    editor.reset_button.click()
    assert editor.templates.toPlainText().splitlines() == list(read_prompts("name").templates)
    editor.open_file(str(tmp_path / "gone.json"))
    assert "gone.json is neither a file" in view.bar.text


def test_the_gain_of_an_edit_is_within_one_model_and_zero_shot(qtbot: QtBot) -> None:
    editor = PromptEditor()
    qtbot.addWidget(editor)
    model, other_model = an_evaluation().target, an_evaluation(model="run@3").target
    editor.begin("photo", ["cat"], model, None)
    assert editor.status.text() == "", "the accuracy of a probe is not the prompts'"
    editor.begin("photo", ["cat"], model, 0.5)
    editor.begin("photo", ["cat"], model, 0.6)
    assert editor.status.text() == "Accuracy 60.0 %, +10.0 points since the first edit"
    editor.begin("photo", ["cat"], other_model, 0.7)
    assert editor.status.text() == "Accuracy 70.0 %", "another model is no edit"


def test_a_trial_is_shown_only_for_the_selected_result(
    open_classify: OpenClassify, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_classify("")
    results, trials = panel.view.results, list[Callable[[Any], None]]()
    results.add(a_result(an_evaluation("zero-shot")))
    monkeypatch.setattr(panel.session, "evaluate", lambda *_, partial: trials.append(partial))
    panel._try_prompts('{"templates": ["a {}."]}')
    other = a_result(an_evaluation("knn"), cells=((0,), (0,), (1,)))
    results.add(other)
    (show_trial,) = trials
    show_trial(a_result())
    assert panel.view.matrix.matrix.cells.count.tolist() == [1]


def test_a_failed_trial_leaves_the_matrix_of_the_result(
    open_classify: OpenClassify, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_classify("")
    matrix, calls = panel.view.matrix, list[tuple[Any, Any]]()
    panel.view.results.add(a_result(an_evaluation("zero-shot")))
    count = matrix.matrix.cells.count.tolist()
    monkeypatch.setattr(panel.session, "evaluate", lambda *given, partial: calls.append((given[2], partial)))
    panel._try_prompts('{"templates": ["a {}."]}')
    ((failed, show_trial),) = calls
    show_trial(a_result(an_evaluation("zero-shot"), cells=((0,), (0,), (1,))))
    assert matrix.matrix.cells.count.tolist() == [1]
    failed(Failure("The worker exited."))
    assert (matrix.matrix.cells.count.tolist(), matrix.editor.status.text()) == (count, "The worker exited.")


def test_controls_have_names_and_edits_are_undone_by_keys_and_buttons(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor, edited, told = PromptEditor(), list[str](), list[Message]()
    qtbot.addWidget(editor)
    editor.edited.connect(edited.append)
    editor.message_requested.connect(told.append)
    editor.begin("photo", ["cat", "dog"], an_evaluation().target, 0.5)
    names, tip = editor.names, Qt.ItemDataRole.ToolTipRole
    heads = [names.headerData(column, Qt.Orientation.Horizontal) for column in range(2)]
    assert (heads, names.headerData(0, Qt.Orientation.Vertical)) == (["Label", "Class name"], None)
    assert (names.rowCount(names.index(0, 0)), names.columnCount(names.index(0, 0))) == (0, 0)
    editable = [bool(names.flags(names.index(0, column)) & Qt.ItemFlag.ItemIsEditable) for column in range(2)]
    assert editable == [False, True]
    assert not names.setData(names.index(0, 0), "kitten")
    assert [names.index(0, column).data() for column in range(2)] == ["cat", ""]
    assert names.index(0, 1).data(Qt.ItemDataRole.EditRole) == "cat", "the label is what one begins with"

    def can() -> tuple[bool, bool]:
        return editor.undo_button.isEnabled(), editor.redo_button.isEnabled()

    assert can() == (False, False)
    assert names.setData(names.index(0, 1), "kitten")
    assert (edited, editor.status.text(), can()) == ([editor.draft.source], "Testing the prompts…", (True, False))
    assert (names.index(0, 1).data(), names.index(0, 1).data(Qt.ItemDataRole.EditRole)) == ("kitten", "kitten")
    assert [names.index(row, 0).data(tip) for row in range(2)] == ["cat: kitten", "dog"]
    editor.templates.setPlainText("a {}.")
    assert editor._pause.isActive()
    names.setData(names.index(0, 1), "kitten")
    assert len(edited) == 2, "what was typed before is an edit too"
    for act, called, template in (
        (editor.undo_button.click, "kitten", False),
        (editor.undo_button.click, "", False),
        (editor.redo_button.click, "kitten", False),
        (lambda: qtbot.keyClick(editor.templates, Qt.Key.Key_Z, SHIFT_CTRL), "kitten", True),
        (lambda: qtbot.keyClick(editor.templates, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier), "kitten", False),
    ):  # fmt: skip
        act()
        assert (names.index(0, 1).data(), editor.templates.toPlainText() == "a {}.") == (called, template)
    assert can() == (True, True)
    editor.reset_button.click()
    assert (names.index(0, 1).data(), can()) == ("", (True, False))
    mine = tmp_path / "mine.txt"
    mine.write_text("a drawing of a {}.\n")
    for chosen in ("", str(mine)):
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, chosen=chosen: (chosen, ""))
        editor.open_button.click()
    assert editor.templates.toPlainText().strip() == "a drawing of a {}."
    editor.templates.setPlainText("a drawing")
    editor.apply()
    count = len(edited)
    editor.save_button.click()
    assert "has no placeholder {}" in told[-1].text
    assert told[-1].level == "error"
    assert len(edited) == count, "what cannot be tried is not"
    editor.show_problem("No text tower.")
    assert editor.status.text() == "No text tower."
