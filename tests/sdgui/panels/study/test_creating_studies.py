"""Studies are created, opened and moved; a filled form is kept; unusable studies give the reason."""

from __future__ import annotations

import json
from pathlib import Path

from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from core.spec.study import StudyDir, read_study
from sdgui.panels.study.open_menu import BUNDLED_STUDIES
from tests.sdgui.conftest import settle
from tests.sdgui.panels.study.studying import Open, a_study, panel_of, with_study


def test_a_study_is_created_from_presets_and_ticked_experiments(qtbot: QtBot, open_study: Open) -> None:
    window = open_study()
    window.experiment_commands.add(preset_config("coca", "tiny"), "my own coca")
    settle(window)
    panel = panel_of(window)
    assert panel.stack.currentWidget() is panel.empty
    panel._ticked = {window.services.store.experiments()[0].id}
    panel.empty.activated.emit()
    editor = panel.editor
    assert [arm.name for arm, _ in editor.arms.ticked()] == ["my-own-coca"]
    editor.arms.item(1).setCheckState(Qt.CheckState.Checked)
    editor.seeds.setText("0, one")
    assert "Seeds" in editor.problem.text()
    assert not editor.submit.isEnabled()
    editor.seeds.setText("0")
    assert "no intervals and no tests" in editor.problem.text()
    editor.data["train"].setText("/nowhere/train.csv")
    assert editor.problem.text() == "Training data: /nowhere/train.csv does not exist."
    editor.data["train"].setText("~nobody-here/train.csv")
    assert editor.problem.text() == "Training data: ~nobody-here/train.csv does not exist."
    editor.data["train"].setText("demo:train.csv")
    editor.noise.setValue(30)
    editor.name.setText("mine")
    editor.submit.click()
    qtbot.waitUntil(lambda: [study.name for study in window.services.store.studies()] == ["mine"], timeout=5000)
    written = json.loads(StudyDir(window.services.store.studies()[0].folder).study.read_text(encoding="utf-8"))
    assert written["noise"]["share"] == 0.3
    assert written["train"] == "noisy"
    assert Path(written["arms"][0]["config"]).is_file(), "the experiment's config is frozen beside the study"

    arms = len(read_study(BUNDLED_STUDIES / "noisy.json").arms)
    shipped = next(action for action in panel.toolbar.open_button.menu().actions() if action.text() == "Bundled: noisy")
    shipped.trigger()
    qtbot.waitUntil(lambda: panel.view.arms.topLevelItemCount() == arms, timeout=10000)
    assert panel.view.arms.topLevelItem(1).childCount() > 3


def test_a_filled_form_survives_a_selection_in_the_tree(qtbot: QtBot, open_study: Open) -> None:
    window = open_study()
    for name in ("first", "second"):
        panel = with_study(qtbot, window, a_study(name=name))
        qtbot.waitUntil(lambda panel=panel, name=name: panel.toolbar.box.currentText() == name)
    first, second = (study.id for study in window.services.store.studies())
    window.experiments.select(window.experiments.model.study_index(second))
    panel.toolbar.new.click()
    panel.editor.name.setText("my careful study")
    window.services.studies.changed.emit(second)
    window.experiments.select(window.experiments.model.study_index(first))
    assert window.selection.study_id == first
    assert panel.stack.currentWidget() is panel.editor
    assert panel.editor.name.text() == "my careful study"
    panel.editor.cancelled.emit()
    assert panel.stack.currentWidget() is panel.view
    assert (panel._study_id(), panel.toolbar.box.currentText(), panel.toolbar.box.isEnabled()) == (first, "first", True)


def test_unusable_studies_give_the_reason(qtbot: QtBot, open_study: Open, tmp_path: Path) -> None:
    window = open_study()
    panel = panel_of(window)
    raw = json.loads(a_study().to_json())
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(raw | {"steps": 0}), encoding="utf-8")
    panel.open_study(file)
    qtbot.waitUntil(lambda: "cannot be used" in panel.bar.text, timeout=5000)
    assert "steps" in panel.bar._details.toPlainText()
    panel.open_study(tmp_path / "nothing.json")
    qtbot.waitUntil(lambda: "cannot read the study" in panel.bar.text, timeout=5000)

    panel = with_study(qtbot, window, a_study())
    folder = window.services.store.studies()[0].folder
    StudyDir(folder).results.write_text(json.dumps({"version": 7}), encoding="utf-8")
    qtbot.waitUntil(lambda: "has version 7" in panel.view.note.text(), timeout=5000)

    moved = tmp_path / "moved"
    folder.rename(moved)
    qtbot.waitUntil(lambda: "was not found" in panel.bar.text, timeout=5000)
    assert not panel.toolbar.start.isEnabled()
    panel.move_to(tmp_path)
    assert "contains no study.json" in panel.bar.text
    panel.move_to(moved)
    qtbot.waitUntil(
        lambda: window.services.store.studies()[0].folder == moved and panel.toolbar.start.isEnabled(), timeout=5000
    )
