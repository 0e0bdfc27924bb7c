"""The form of a study by itself: what it makes of its fields, and which sentence names the wrong one."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from core.spec.config import override
from core.spec.presets import PRESETS, preset_config
from core.spec.study import Study
from sdgui.panels.study.arms import ArmsList, arm_name
from sdgui.panels.study.editor import StudyEditor
from sdgui.store.records import Experiment
from tests.sdgui.panels.study.studying import a_study

CHECKED, UNCHECKED = Qt.CheckState.Checked, Qt.CheckState.Unchecked


def an_experiment(number: int, name: str, usable: bool = True) -> Experiment:
    config = override(preset_config("coca", "tiny"), [f"name={name}"])
    return Experiment(number, name, config.to_json(), config if usable else None, "", 0.0, 0.0)


@pytest.fixture
def editor(qtbot: QtBot) -> StudyEditor:
    editor = StudyEditor()
    qtbot.addWidget(editor)
    editor.begin((), set(), set())
    return editor


def item(arms: ArmsList, text: str) -> int:
    (row_of_text,) = (row for row in range(arms.count()) if arms.item(row).text() == text)
    return row_of_text


def tick(editor: StudyEditor, text: str, state: Qt.CheckState = CHECKED) -> None:
    editor.arms.item(item(editor.arms, text)).setCheckState(state)


def test_a_new_form_has_the_method_and_its_baseline(editor: StudyEditor) -> None:
    study = editor.study()
    assert [(arm.name, arm.preset) for arm in study.arms] == [("clip", "clip"), ("sd-clip", "sd-clip")]
    assert (study.name, study.size, study.steps, study.seeds) == ("study", "demo", 468, [0, 1, 2])
    assert (study.data["train"], study.train, study.noise) == ("demo:train.csv", "train", None)
    assert [measure.name for measure in study.measures] == ["test", "zero-shot"]
    assert editor.submit.isEnabled()
    assert editor.problem.text() == ""
    assert editor.differences.topLevelItemCount() == 2


def test_the_study_has_the_typed_values(editor: StudyEditor) -> None:
    editor.name.setText("  mine ")
    editor.about.setText(" why ")
    editor.size_box.setCurrentText("tiny")
    editor.steps.setValue(7)
    editor.seeds.setText("3 4,5")
    editor.label.setText(" group ")
    editor.noise.setValue(20)
    editor.measures[2].setChecked(True)
    for name in editor.data:
        editor.data[name].setText(f" demo:{name}.csv ")
    study = editor.study()
    assert (study.name, study.about, study.size, study.steps, study.seeds) == ("mine", "why", "tiny", 7, [3, 4, 5])
    assert [(measure.task, measure.label) for measure in study.measures] == [
        ("retrieval", ""),
        ("zero-shot", "group"),
        ("noise", ""),
    ]
    assert study.noise is not None
    assert (study.noise.share, study.train) == (0.2, "noisy")
    assert study.data["test"] == "demo:test.csv"
    editor.budgets.setText("230, 600")
    assert (editor.study().budgets, editor.study().steps, editor.steps.isEnabled()) == ([230, 600], 0, False)
    editor.budgets.clear()
    assert (editor.study().steps, editor.steps.isEnabled()) == (7, True)


@pytest.mark.parametrize(
    ("field", "text", "sentence"),
    [
        ("seeds", "0, one", "Seeds: '0, one' must be whole numbers such as 0, 1, 2."),
        ("seeds", "", "seeds"),
        ("seeds", "1, 1", "study: the seed 1 is listed twice."),
        ("name", "", "name"),
        ("budgets", "230, soon", "Budgets: '230, soon' must be seconds such as 230, 600."),
        ("budgets", "230, 230", "study: budgets: a time is listed twice."),
    ],
)
def test_an_invalid_field_is_named(editor: StudyEditor, field: str, text: str, sentence: str) -> None:
    getattr(editor, field).setText(text)
    assert editor.problem.text().startswith(sentence)
    assert not editor.submit.isEnabled()
    assert not editor.check()


def test_data_must_exist_and_measures_be_chosen(editor: StudyEditor) -> None:
    editor.data["val"].setText(" ")
    assert editor.problem.text() == "Validation data: enter the path of a table or folder."
    editor.data["val"].setText("demo:val.csv")
    editor.data["test"].setText("/nowhere.csv")
    assert editor.problem.text() == "Test data: /nowhere.csv does not exist."
    editor.data["test"].setText("demo:test.csv")
    editor.measures[2].setChecked(True)
    assert (
        editor.problem.text()
        == "Evaluation: to evaluate the detection of shuffled captions, set Shuffled captions above 0."
    )
    editor.noise.setValue(1)
    assert editor.submit.isEnabled()
    for box in editor.measures:
        box.setChecked(False)
    assert editor.problem.text() == "Evaluation: select at least one task."
    editor.measures[0].setChecked(True)
    assert editor.submit.isEnabled()
    tick(editor, PRESETS["clip"].title, UNCHECKED)
    tick(editor, PRESETS["sd-clip"].title, UNCHECKED)
    assert editor.problem.text() == "Arms: select at least two presets or experiments to compare."
    assert not editor.submit.isEnabled()


def test_escape_closes_the_form(qtbot: QtBot, editor: StudyEditor) -> None:
    editor.show()
    editor.activateWindow()
    qtbot.waitUntil(editor.isActiveWindow)
    editor.name.setFocus()
    with qtbot.waitSignal(editor.cancelled):
        qtbot.keyClick(editor.name, Qt.Key.Key_Escape)


def test_ticked_experiments_become_the_arms_of_a_new_study(qtbot: QtBot, editor: StudyEditor) -> None:
    mine, broken = an_experiment(1, "my own"), an_experiment(2, "broken", usable=False)
    editor.begin([mine, broken, an_experiment(3, "my-own")], {1, 3}, {"study", "study 2"})
    assert editor.name.text() == "study 3"
    texts = [editor.arms.item(row).text() for row in range(editor.arms.count())]
    assert "broken (experiment)" not in texts
    arms = editor.arms.ticked()
    assert [(arm.name, arm.config) for arm, _ in arms] == [
        ("my-own", "arms/my-own.json"),
        ("my-own-2", "arms/my-own-2.json"),
    ]
    tick(editor, PRESETS["clip"].title)
    assert [tree.text(0) for tree in (editor.differences.topLevelItem(0),)] == ["clip"], "experiments have no file yet"
    with qtbot.waitSignal(editor.submitted) as signal:
        editor.submit.click()
    study, experiments = signal.args
    assert [arm.name for arm in study.arms] == ["my-own", "my-own-2", "clip"]
    assert {name: experiment.id for name, experiment in experiments.items()} == {"my-own": 1, "my-own-2": 3}
    editor.begin([mine], set(), set())
    assert [arm.name for arm, _ in editor.arms.ticked()] == ["clip", "sd-clip"], "nothing is left of the former form"


def grown(editor: StudyEditor, **changes: object) -> Study:
    study = a_study(**changes)
    editor.extend(study, [an_experiment(1, "my own")])
    return study


def test_extending_a_study_offers_only_seeds_and_arms(editor: StudyEditor) -> None:
    grown(editor)
    assert [editor.form.isRowVisible(row) for row in range(editor.form.rowCount())].count(True) == 1
    assert (editor.seeds.text(), editor.submit.text()) == ("0, 1", "&Add to the study")
    assert "two arms" in editor.heading.text()
    assert not editor.submit.isEnabled()
    assert editor.problem.text() == "Add a seed, or select another arm."
    assert editor.arms.ticked() == [], "arms that are there are not added again"
    present = [editor.arms.item(row) for row in range(2)]
    assert [item.text().endswith("(in the study)") for item in present] == [True, True]
    assert not present[0].flags() & Qt.ItemFlag.ItemIsEnabled
    editor.seeds.setText("1, 2")
    assert editor.problem.text() == "Seeds: 0 is already in the study. Enter other seeds after it."
    editor.seeds.setText("0, 1, 5")
    editor.budgets.setText("abc")
    study = editor.study()
    assert (study.seeds, len(study.arms), study.steps, study.compare) == ([0, 1, 5], 2, 3, [])
    assert editor.submit.isEnabled(), "what was typed for another study counts no more"
    editor.seeds.setText("0, 1")
    tick(editor, "my own (experiment)")
    assert [arm.name for arm in editor.study().arms] == ["clip", "sd-clip", "my-own"]
    editor.begin((), set(), set())
    assert all(editor.form.isRowVisible(row) for row in range(editor.form.rowCount()))
    assert (editor.submit.text(), editor.heading.text()) == ("Create the stud&y", "")


def test_new_arms_of_a_study_with_comparisons_are_compared_with_its_first(editor: StudyEditor) -> None:
    grown(editor, compare=[["sd-clip", "clip"]])
    tick(editor, "my own (experiment)")
    tick(editor, PRESETS["coca"].title)
    assert editor.study().compare == [("sd-clip", "clip"), ("my-own", "clip"), ("coca", "clip")]


def test_a_name_becomes_a_folder_name() -> None:
    assert arm_name("My own: run/2") == "My-own-run-2"
    assert arm_name("..") == "arm"
    assert arm_name("--x--") == "x"
    assert len(arm_name("x" * 90)) == 50
