"""Study with a program in miniature: made, started, paused, gone on with, shown, exported; bad studies say why."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QFileDialog
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from core.spec.run.status import RunState
from core.spec.study import Study, StudyDir, read_study
from sdgui.app.main_window import MainWindow
from sdgui.app.start import make_application, make_services
from sdgui.experiments.tree_model import Role
from sdgui.panels.study import ending as study_ending
from sdgui.panels.study.open_menu import SHIPPED
from sdgui.panels.study.panel import StudyPanel
from sdgui.panels.watch.panel import WatchPanel
from sdgui.runs.study_programs import StudyProgramError
from sdgui.runs.study_status import StudyRunSnapshot, time_left
from tests.sdgui.conftest import leave, program, settle

Open = Callable[..., MainWindow]


@pytest.fixture
def open_study(qtbot: QtBot, tmp_path: Path) -> Iterator[Open]:
    """Opens a window (again) in one home; no program outlives the test."""
    make_application()
    opened: list[MainWindow] = []

    def open_it(*options: str) -> MainWindow:
        trainer, worker = program("fake_trainer.py"), program("fake_worker.py")
        services = make_services(tmp_path / "home", trainer, worker, study=program("fake_study.py", *options))
        window = MainWindow(services)
        opened.append(window)
        window.show()
        services.tailer.start()
        qtbot.waitUntil(lambda: bool(window.panels))
        return window

    yield open_it
    for window in opened:
        for study_id in window.services.studies.alive():
            window.services.studies.ask_to_end(study_id, "kill")
        leave(window, qtbot)


def place_of(window: MainWindow) -> StudyPanel:
    place = window.show_panel("study")
    assert isinstance(place, StudyPanel)
    return place


def a_study(**changes: Any) -> Study:
    fields: dict[str, Any] = {
        "name": "two arms",
        "size": "tiny",
        "steps": 3,
        "seeds": [0, 1],
        "data": {"train": "demo:train.csv", "val": "demo:val.csv", "test": "demo:test.csv"},
        "arms": [{"name": "clip", "preset": "clip"}, {"name": "sd-clip", "preset": "sd-clip"}],
        "measures": [{"name": "test", "task": "retrieval", "data": "test"}],
    }
    return Study.model_validate(fields | changes)


def with_study(qtbot: QtBot, window: MainWindow, study: Study) -> StudyPanel:
    place = place_of(window)
    file = window.services.store.home / "a-study.json"
    file.write_text(study.to_json(), encoding="utf-8")
    place.open_study(file)
    qtbot.waitUntil(lambda: place._look() is not None and place.begin.isEnabled(), timeout=10000)
    return place


def until(qtbot: QtBot, place: StudyPanel, state: str) -> None:
    qtbot.waitUntil(lambda: getattr(place._look(), "state", "") == state, timeout=20000)
    qtbot.waitUntil(lambda: place.view._look is place._look() or place.view._look == place._look(), timeout=5000)


def cells(table: Any) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def test_a_study_is_made_from_presets_and_ticked_experiments(qtbot: QtBot, open_study: Open) -> None:
    window = open_study()
    window.experiment_commands.add(preset_config("coca", "tiny"), "my own coca")
    settle(window)
    place = place_of(window)
    assert place.stack.currentWidget() is place.empty
    place._ticked = {window.services.store.experiments()[0].id}
    place.empty.activated.emit()
    editor = place.editor
    assert [arm.name for arm, _ in editor.ticked()] == ["my-own-coca"]
    editor.presets.item(1).setCheckState(Qt.CheckState.Checked)
    editor.seeds.setText("0, one")
    assert "Seeds" in editor.wrong.text()
    assert not editor.make.isEnabled()
    editor.seeds.setText("0")
    assert "no interval" in editor.wrong.text()
    editor.data["train"].setText("/nowhere/train.csv")
    assert editor.wrong.text() == "Training data: there is no /nowhere/train.csv."
    editor.data["train"].setText("~nobody-here/train.csv")
    assert editor.wrong.text() == "Training data: there is no ~nobody-here/train.csv."
    editor.data["train"].setText("demo:train.csv")
    editor.noise.setValue(30)
    editor.name.setText("mine")
    editor.make.click()
    qtbot.waitUntil(lambda: [one.name for one in window.services.store.studies()] == ["mine"], timeout=5000)
    written = json.loads(StudyDir(window.services.store.studies()[0].folder).study.read_text(encoding="utf-8"))
    assert written["noise"]["share"] == 0.3
    assert written["train"] == "noisy"
    assert Path(written["arms"][0]["config"]).is_file(), "the experiment's definition is frozen beside the study"


def test_a_second_study_stays_shown_when_the_tree_is_read_anew(qtbot: QtBot, open_study: Open, tmp_path: Path) -> None:
    window = open_study()
    place = place_of(window)
    for name in ("first", "second"):
        file = tmp_path / f"{name}.json"
        file.write_text(a_study(name=name).to_json(), encoding="utf-8")
        place.open_study(file)
        qtbot.waitUntil(lambda name=name: place.box.currentText() == name)
        window.reload()
        assert place.box.currentText() == name


def test_a_form_that_is_filled_in_survives_a_choice_in_the_tree(qtbot: QtBot, open_study: Open) -> None:
    window = open_study()
    for name in ("first", "second"):
        place = with_study(qtbot, window, a_study(name=name))
        qtbot.waitUntil(lambda place=place, name=name: place.box.currentText() == name)
    first, second = (study.id for study in window.services.store.studies())
    window.experiments.select(window.experiments.model.study_index(second))
    place.new.click()
    place.editor.name.setText("my careful study")
    window.experiments.select(window.experiments.model.study_index(first))
    assert window.selection.study_id == first
    assert place.stack.currentWidget() is place.editor
    assert place.editor.name.text() == "my careful study"
    place.editor.cancelled.emit()
    assert place.stack.currentWidget() is place.view
    assert (place._id(), place.box.currentText(), place.box.isEnabled()) == (first, "first", True)


def test_started_it_fills_queue_tables_plot_and_tree(qtbot: QtBot, open_study: Open, tmp_path: Path) -> None:
    window = open_study()
    place = with_study(qtbot, window, a_study())
    place.begin.click()
    until(qtbot, place, "done")
    means, differences = place.view.tables_now()
    assert cells(means)[0][:3] == ["clip", "2", "10.5 [5.5, 15.5]"]
    assert cells(means)[1][:3] == ["sd-clip", "2", "20.5 [15.5, 25.5]"]
    steps, timed = cells(differences)
    assert steps[:7] == ["sd-clip", "clip", "test/R@1", "+10.0 [+5.0, +15.0]", "0.010", "0.250", "yes"]
    assert (timed[2], timed[3], timed[7]) == ("val/R@1", "–", "+10.0 [+5.0, +15.0]")
    assert [(bar.name, len(bar.values)) for bar in place.view.bars.bars()] == [("clip", 2), ("sd-clip", 2)]
    assert place.view.runs.topLevelItemCount() == 4
    assert "4 of 4 runs finished" in place.view.state.text()
    qtbot.waitUntil(lambda: [run.state for run in window.services.store.runs()] == [RunState.DONE] * 4, timeout=10000)
    qtbot.waitUntil(lambda: len(window.experiments.model.runs()) == 4, timeout=5000)
    study = window.experiments.model.index(0, 0)
    assert study.data(Role.DETAIL) == "Study · 2 arms · 4 runs"
    arms = [window.experiments.model.index(row, 0, study) for row in range(2)]
    assert [arm.data() for arm in arms] == ["clip", "sd-clip"]
    ticks = [[window.experiments.model.index(row, 0, arm).data(Role.COLOR) for row in range(2)] for arm in arms]
    assert ticks == [[bar.color] * 2 for bar in place.view.bars.bars()] == [[0, 0], [1, 1]]
    assert window.experiments.model.index(0, 0, arms[0]).data(Role.TAGS) == "#seed 1"

    place.exports.export_to(tmp_path / "out.csv")
    place.exports.export_to(tmp_path / "out.json")
    place.exports.export_to(tmp_path / "out.md")
    qtbot.waitUntil(lambda: "out.md" in place.bar.text, timeout=5000)
    with (tmp_path / "out.csv").open(newline="") as file:
        assert list(csv.reader(file))[1][:3] == ["clip", "2", "10.5 [5.5, 15.5]"]
    assert json.loads((tmp_path / "out.json").read_text())["name"] == "two arms"
    assert (tmp_path / "out.md").read_text() == "# results\n"
    place.exports.copy_table()
    assert QApplication.clipboard().text().splitlines()[1].startswith("clip\t2\t10.5")

    window.experiments.tree.setCurrentIndex(window.experiments._filter.mapFromSource(study))
    watch = window.show_panel("watch")
    assert isinstance(watch, WatchPanel)
    qtbot.waitUntil(lambda: len(watch.grid.runs()) == 4)  # all runs of the study, as none is ticked

    place.view.runs.setCurrentItem(place.view.runs.topLevelItem(0))
    place.view.runs.itemActivated.emit(place.view.runs.topLevelItem(0), 0)
    assert window.panel == "watch"
    assert window.selection.study_id == place._id()


def test_it_grows_by_seeds_and_arms_and_what_is_trained_stays(qtbot: QtBot, open_study: Open) -> None:
    window = open_study()
    window.experiment_commands.add(preset_config("coca", "tiny"), "my own coca")
    settle(window)
    place = with_study(qtbot, window, a_study(compare=[["sd-clip", "clip"]]))
    place.begin.click()
    until(qtbot, place, "done")
    out = StudyDir(window.services.store.studies()[0].folder)
    before = out.run("clip", 0).events.stat().st_mtime_ns
    place.more.click()
    editor = place.editor
    assert place.stack.currentWidget() is editor
    assert not editor.steps.isVisible()
    assert editor.wrong.text() == "Add a seed or select another arm."
    editor.seeds.setText("1, 2")
    assert editor.wrong.text() == "Seeds: 0 is already in the study; add others after it."
    editor.seeds.setText("0, 1, 2")
    there = [editor.presets.item(row) for row in range(2)]
    assert [item.text().endswith("(in the study)") for item in there] == [True, True]
    assert not there[0].flags() & Qt.ItemFlag.ItemIsEnabled
    assert not editor.presets.findItems("sd-clip (experiment)", Qt.MatchFlag.MatchExactly), "it is in the study"
    mine = editor.presets.findItems("my own coca (experiment)", Qt.MatchFlag.MatchExactly)[0]
    mine.setCheckState(Qt.CheckState.Checked)
    editor.make.click()
    until(qtbot, place, "grown")
    grown = read_study(out.study)
    assert (grown.seeds, grown.steps) == ([0, 1, 2], 3)
    assert [arm.name for arm in grown.arms] == ["clip", "sd-clip", "my-own-coca"]
    assert Path(grown.arms[2].config).is_file()
    assert grown.compare == [("sd-clip", "clip"), ("my-own-coca", "clip")]
    assert "Grown since" in place.view.state.text()
    assert (place.begin.text(), place.begin.isEnabled()) == ("&Start", True)
    place.begin.click()
    until(qtbot, place, "done")
    assert "9 of 9 runs finished" in place.view.state.text()
    assert out.run("clip", 0).events.stat().st_mtime_ns == before

    place.new.click()
    assert editor.steps.isVisible()
    assert (editor.make.text(), editor.seeds.text()) == ("&Make the study", "0, 1, 2")


def test_a_study_at_work_does_not_grow(qtbot: QtBot, open_study: Open) -> None:
    window = open_study("--delay", "0.2")
    place = with_study(qtbot, window, a_study(steps=20))
    place.more.click()
    window.services.studies.start(window.services.store.studies()[0].id)  # as another window might
    qtbot.waitUntil(lambda: bool(window.services.studies.alive()), timeout=10000)
    place.editor.seeds.setText("0, 1, 2")
    place.editor.make.click()
    qtbot.waitUntil(lambda: "pause it before it grows" in place.bar.text, timeout=5000)
    assert read_study(StudyDir(window.services.store.studies()[0].folder).study).seeds == [0, 1]
    place._show()
    assert not place.more.isEnabled()


def test_it_outlives_the_window_and_is_paused_and_gone_on_with(qtbot: QtBot, open_study: Open) -> None:
    window = open_study("--delay", "0.2")
    place = with_study(qtbot, window, a_study(steps=20))
    place.begin.click()
    until(qtbot, place, "running")
    window.keep_training()
    again = open_study("--delay", "0.0")
    place = place_of(again)
    until(qtbot, place, "running")
    assert place.pause.isEnabled()
    place.pause.click()
    until(qtbot, place, "paused")
    assert place.begin.text() == "Re&sume"
    place.begin.click()
    until(qtbot, place, "done")


def test_stop_becomes_kill_only_after_a_while(qtbot: QtBot, open_study: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    window = open_study("--delay", "0.2")
    place = with_study(qtbot, window, a_study(steps=100))
    asked: list[str] = []
    monkeypatch.setattr(window.services.studies, "ask_to_end", lambda _study, what: asked.append(what))
    place.begin.click()
    until(qtbot, place, "running")

    def buttons() -> tuple[str, bool, bool]:
        return place.stop.text(), place.stop.isEnabled(), place.pause.isEnabled()

    monkeypatch.setattr(study_ending, "KILL_AFTER", 1e6)
    place.pause.click()
    assert buttons() == ("Sto&p", False, False), "Pause gives the runs time to save"
    place.ending.forget(place._id())
    place._show()
    qtbot.mouseDClick(place.stop, Qt.MouseButton.LeftButton)
    place.stop.click()
    qtbot.waitUntil(lambda: asked == ["pause", "stop"])
    assert buttons() == ("Sto&p", False, False)
    place.ending.forget(place._id())
    place._show()
    monkeypatch.setattr(study_ending, "KILL_AFTER", 0.01)
    place.stop.click()
    qtbot.waitUntil(lambda: buttons() == ("&Kill", True, False))
    place.stop.click()
    qtbot.waitUntil(lambda: asked == ["pause", "stop", "stop", "kill"])
    monkeypatch.undo()


def test_a_study_that_cannot_be_asked_may_be_asked_again(
    qtbot: QtBot, open_study: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = open_study("--delay", "0.2")
    place = with_study(qtbot, window, a_study(steps=100))
    place.begin.click()
    until(qtbot, place, "running")

    def refuse(_study: int, _what: str) -> None:
        raise StudyProgramError("The study is running on far-away; end it there.")

    monkeypatch.setattr(window.services.studies, "ask_to_end", refuse)
    place.stop.click()
    qtbot.waitUntil(lambda: "far-away" in place.bar.text)
    assert (place.stop.text(), place.stop.isEnabled()) == ("Sto&p", True)
    monkeypatch.undo()


def test_an_export_needs_an_ending_that_is_known(
    qtbot: QtBot, open_study: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = open_study()
    place = with_study(qtbot, window, a_study())
    place.begin.click()
    until(qtbot, place, "done")
    place.exports.export_to(tmp_path / "results")
    assert place.bar.text == "results names no format; end it with .md, .csv, .json or .svg."
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "typed.v2"), ""))
    place.exports._ask("md")
    qtbot.waitUntil((tmp_path / "typed.v2.md").exists)
    place.exports.export_to(tmp_path / "LOUD.CSV")
    qtbot.waitUntil((tmp_path / "LOUD.CSV").exists)


def test_a_failed_arm_and_a_single_seed_are_said(qtbot: QtBot, open_study: Open) -> None:
    window = open_study("--fail", "sd-clip")
    place = with_study(qtbot, window, a_study(seeds=[0]))
    place.begin.click()
    until(qtbot, place, "failed")
    note = place.view.note.text()
    assert "One seed only: there is no interval" in note
    assert "sd-clip, seed 0, failed: error: there is no picture; mend the data." in note
    means, differences = place.view.tables_now()
    assert cells(means)[0][2] == "10.0", "a mean without an interval"
    assert cells(means)[1][:3] == ["sd-clip", "0, 1 failed", "–"]
    assert cells(differences)[0][2] == "sd-clip: no finished run"
    assert place.begin.isEnabled(), "failed runs can be tried again"


def test_studies_that_cannot_be_used_say_why(qtbot: QtBot, open_study: Open, tmp_path: Path) -> None:
    window = open_study()
    place = place_of(window)
    raw = json.loads(a_study().to_json())
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(raw | {"steps": 0}), encoding="utf-8")
    place.open_study(file)
    qtbot.waitUntil(lambda: "cannot be used" in place.bar.text, timeout=5000)
    assert "steps" in place.bar._details.toPlainText()
    place.open_study(tmp_path / "nothing.json")
    qtbot.waitUntil(lambda: "cannot read the study" in place.bar.text, timeout=5000)

    place = with_study(qtbot, window, a_study())
    folder = window.services.store.studies()[0].folder
    StudyDir(folder).results.write_text(json.dumps({"version": 7}), encoding="utf-8")
    qtbot.waitUntil(lambda: "has version 7" in place.view.note.text(), timeout=5000)

    moved = tmp_path / "moved"
    folder.rename(moved)
    qtbot.waitUntil(lambda: "not there any more" in place.bar.text, timeout=5000)
    assert not place.begin.isEnabled()
    place.move_to(tmp_path)
    assert "holds no study.json" in place.bar.text
    place.move_to(moved)
    qtbot.waitUntil(
        lambda: window.services.store.studies()[0].folder == moved and place.begin.isEnabled(), timeout=5000
    )


def test_the_bin_gives_a_study_back(qtbot: QtBot, open_study: Open) -> None:
    window = open_study()
    place = with_study(qtbot, window, a_study())
    place.bin.click()
    qtbot.waitUntil(lambda: window.services.store.studies() == [], timeout=5000)
    qtbot.waitUntil(lambda: "bin" in place.bar.text, timeout=5000)
    assert place.stack.currentWidget() is place.empty
    place.bar.press_remedy()
    qtbot.waitUntil(lambda: len(window.services.store.studies()) == 1, timeout=5000)


def test_the_shipped_studies_can_be_opened(qtbot: QtBot, open_study: Open) -> None:
    window = open_study()
    place = place_of(window)
    arms = len(read_study(SHIPPED / "noisy.json").arms)
    shipped = next(one for one in place.open_button.menu().actions() if one.text() == "Shipped: noisy")
    shipped.trigger()
    qtbot.waitUntil(lambda: place.view.arms.topLevelItemCount() == arms, timeout=10000)
    assert place.view.arms.topLevelItem(1).childCount() > 3


def test_the_time_left_goes_by_what_runs_of_the_same_arm_took() -> None:
    def run(arm: str, state: str, **more: Any) -> StudyRunSnapshot:
        return StudyRunSnapshot(arm, 0, state, "", Path(), **more)

    done = [run("a", "done", seconds=10.0), run("b", "done", seconds=30.0)]
    assert time_left([*done, run("a", "training", seconds_left=4.0), run("b", "waiting")], "running") == 34.0
    assert time_left([*done, run("c", "waiting")], "running") == 20.0
    assert time_left([run("a", "training"), run("b", "waiting")], "running") is None
    assert time_left(done, "done") is None
