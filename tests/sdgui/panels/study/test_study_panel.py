"""The Study panel with studies whose status the test sets: what is shown, followed and asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from core.spec.machines.machine import Machine
from core.spec.presets import preset_config
from core.spec.study import StudyDir, read_study
from core.spec.study.machines import ANY_MACHINE, THIS_COMPUTER, read_machines
from sdgui.panels.study import ending
from sdgui.panels.study.panel import StudyPanel
from sdgui.panels.study.view import placeholder
from sdgui.runs.study_status import StudySnapshot
from sdgui.shared.services import Services
from sdgui.store.changes import Changes
from sdgui.store.records import StoreError
from sdgui.store.studies import StudyRecord
from sdgui.widgets.message import error
from tests.sdgui.panels.study.studying import a_study
from tests.sdgui.panels.study.test_study_parts import a_run, a_snapshot
from tests.sdgui.store.folders import link_arm


@pytest.fixture
def panel(qtbot: QtBot, services: Services) -> StudyPanel:
    panel = StudyPanel(services)
    qtbot.addWidget(panel)
    panel.resize(900, 600)
    panel.show()
    return panel


def becomes(services: Services, study: StudyRecord, snapshot: StudySnapshot) -> None:
    """What the thread does when it has read a study's folder."""
    services.studies._snapshots = {**services.studies._snapshots, study.id: snapshot}
    services.studies.changed.emit(study.id)


def listed(panel: StudyPanel, name: str, snapshot: StudySnapshot | None = None) -> StudyRecord:
    """A study in the store that is shown as ``snapshot``."""
    services = panel._services
    folder = services.store.studies_folder / name
    StudyDir(folder).runs.mkdir(parents=True)
    StudyDir(folder).study.write_text(a_study(name=name).to_json(), encoding="utf-8")
    study = services.store.add_study(folder, name)
    panel.refresh()
    if snapshot is not None:
        becomes(services, study, snapshot)
    return study


def test_an_empty_panel_offers_to_create_a_study(qtbot: QtBot, panel: StudyPanel) -> None:
    assert panel.stack.currentWidget() is panel.empty
    panel.empty.activated.emit()
    assert panel.stack.currentWidget() is panel.editor
    assert panel.editor.name.selectedText() == panel.editor.name.text() != ""
    assert not panel.toolbar.new.isVisible()
    panel.editor.cancelled.emit()
    assert panel.stack.currentWidget() is panel.empty
    assert panel.toolbar.new.isHidden(), "the page has the button"
    panel.show()
    panel.activateWindow()
    qtbot.waitUntil(panel.isActiveWindow)
    qtbot.keyClick(panel, Qt.Key.Key_N, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    assert panel.stack.currentWidget() is panel.editor
    panel.editor.name.setText("typed")
    qtbot.keyClick(panel, Qt.Key.Key_N, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    assert panel.editor.name.text() == "typed"
    panel.refresh()
    assert panel.stack.currentWidget() is panel.editor, "an open form stays"


def test_a_study_is_selected_in_the_box_and_restored_the_next_time(
    qtbot: QtBot, panel: StudyPanel, services: Services
) -> None:
    first, second = listed(panel, "one", a_snapshot("done")), listed(panel, "two", a_snapshot("done"))
    panel.show_study(second.id)
    row = panel.toolbar.box.findData(first.id)
    panel.toolbar.box.setCurrentIndex(row)
    panel.bar.show_message(error("of before"))
    panel.toolbar.box.activated.emit(row)
    assert (panel._study_id(), panel.bar.message) == (first.id, None)
    panel.on_leave()
    again = StudyPanel(services)
    qtbot.addWidget(again)
    assert (again._study_id(), again.toolbar.box.currentData()) == (first.id, first.id)
    services.settings.setValue("study/shown", "x")
    reopened = StudyPanel(services)
    qtbot.addWidget(reopened)
    assert reopened._study_id() == second.id, "the newest"
    panel.show_study(99)
    assert panel.bar.message is not None
    assert (panel.bar.message.level, panel._study_id()) == ("error", first.id)


def test_pause_and_stop_signal_the_program_and_kill_comes_last(
    qtbot: QtBot, panel: StudyPanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = listed(panel, "mine", a_snapshot("running"))
    requests: list[tuple[int, str]] = []
    monkeypatch.setattr(services.studies, "request_end", lambda *args: requests.append(args))
    panel.toolbar.pause.click()
    qtbot.waitUntil(lambda: requests == [(study.id, "pause")])
    assert panel.bar.text == "Active runs are saving checkpoints before they end."
    assert (panel.toolbar.pause.isEnabled(), panel.toolbar.stop.isEnabled()) == (False, False)
    panel.ending.forget(study.id)
    monkeypatch.setattr(ending, "KILL_AFTER_SECONDS", 0.01)
    panel._enable(panel._snapshot())
    panel.toolbar.stop.click()
    qtbot.waitUntil(lambda: panel.toolbar.stop.isEnabled() and panel.toolbar.stop.text() == "&Kill")
    panel.bar.clear()
    panel.toolbar.stop.click()
    qtbot.waitUntil(lambda: requests[1:] == [(study.id, "stop"), (study.id, "kill")])
    assert panel.bar.message is None, "a kill saves nothing"


def test_the_folder_is_shown_and_a_moved_one_is_found(
    qtbot: QtBot, panel: StudyPanel, services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls: list[QUrl] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", urls.append)
    study = listed(panel, "mine", StudySnapshot(tmp_path, "gone", problem="Its folder is missing."))
    panel.toolbar.folder.click()
    assert urls == [QUrl.fromLocalFile(str(study.folder))]
    assert panel.bar.text == "Its folder is missing."
    answers = ["", str(tmp_path / "wrong"), str(tmp_path / "moved")]
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: answers.pop(0))
    panel.bar.press_remedy()
    assert panel.bar.message is None, "none was chosen"
    panel._locate_folder()
    assert panel.bar.text == f"{tmp_path / 'wrong'} contains no study.json. Choose the folder of the study."
    study.folder.rename(tmp_path / "moved")
    panel.bar.press_remedy()
    qtbot.waitUntil(lambda: services.store.study(study.id).folder == tmp_path / "moved")
    qtbot.waitUntil(lambda: panel._study is not None and panel._study.folder == tmp_path / "moved")


def test_unreadable_studies_are_reported(
    qtbot: QtBot, panel: StudyPanel, services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.json").write_text("{")
    panel.open_study(tmp_path / "broken.json")
    qtbot.waitUntil(lambda: panel.bar.message is not None)
    assert panel.stack.currentWidget() is panel.empty

    def locked(*_: object, **_options: object) -> None:
        raise StoreError("The database is locked.")

    study = listed(panel, "mine", a_snapshot("done"))
    calls = (
        ("studies", panel.refresh),
        ("experiments", panel.edit),
        ("experiments", panel.extend),
        ("run_in", lambda: panel.view.run_requested.emit(tmp_path)),
    )
    for name, call in calls:
        panel.bar.clear()
        with monkeypatch.context() as broken:
            broken.setattr(services.store, name, locked)
            call()
        assert panel.bar.text == "The database is locked.", name
    assert (panel.stack.currentWidget(), panel._study_id()) == (panel.view, study.id)


def test_a_restarted_study_asks_before_it_is_killed(
    qtbot: QtBot, panel: StudyPanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[str] = []
    monkeypatch.setattr(services.studies, "request_end", lambda _study, request: requests.append(request))
    monkeypatch.setattr(ending, "KILL_AFTER_SECONDS", 0.0)
    study = listed(panel, "one")
    for state in ("running", "stopped", "running"):
        becomes(services, study, a_snapshot(state))
        if state == "running":
            assert panel.toolbar.stop.text() == "Sto&p"
            panel.toolbar.stop.click()
    qtbot.waitUntil(lambda: len(requests) == 2)
    assert requests == ["stop", "stop"]


def test_an_unexpected_end_or_unreadable_study_gives_the_reason(panel: StudyPanel, services: Services) -> None:
    study = listed(panel, "mine")
    becomes(services, study, a_snapshot("interrupted", stderr="Traceback\nout of memory"))
    assert panel.bar.text == "The study ended unexpectedly: out of memory"
    becomes(services, study, a_snapshot("interrupted", stderr="default settings\nrun 3 of 8"))
    assert panel.bar.text == "The study ended unexpectedly: see the details"
    panel.bar.clear()
    becomes(services, study, a_snapshot("paused", stderr="Traceback\nold"))
    assert panel.bar.text == ""
    becomes(services, study, StudySnapshot(study.folder, problem="steps: too few\nmore"))
    assert panel.bar.text == "steps: too few"
    assert not panel.toolbar.start.isEnabled()


def test_start_is_pressed_once_and_a_refusal_is_reported(
    qtbot: QtBot, panel: StudyPanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = listed(panel, "mine")
    becomes(services, study, a_snapshot("not started"))
    started = list[int]()

    def start(study_id: int) -> None:
        started.append(study_id)
        raise UserError("No space left.\nmore")

    monkeypatch.setattr(services.studies, "start", start)
    panel.toolbar.start.click()
    assert not panel.toolbar.start.isEnabled()
    panel.toolbar.start.click()
    qtbot.waitUntil(lambda: panel.bar.text == "No space left.")
    assert started == [study.id]
    assert panel.toolbar.start.isEnabled(), "after the cause is removed, it can be pressed again"


def test_a_run_that_has_not_started_cannot_be_watched(
    qtbot: QtBot, panel: StudyPanel, services: Services, tmp_path: Path
) -> None:
    study = listed(panel, "mine")
    becomes(services, study, a_snapshot("running", runs=(a_run("clip"),)))
    with qtbot.assertNotEmitted(panel.run_requested):
        panel.view.run_requested.emit(tmp_path / "nothing")
    assert panel.bar.text == "This run has not started yet."
    experiment = services.store.add_experiment(preset_config("clip", "tiny"), "one")
    run = services.store.add_run(experiment.id)
    with qtbot.waitSignal(panel.run_requested) as signal:
        panel.view.run_requested.emit(run.folder)
    assert signal.args == [run.id]
    services.store.delete_run(run.id)
    panel.view.run_requested.emit(run.folder)
    assert panel.bar.text == "This run is in the bin; restore it there to show it."


def test_a_study_that_was_not_read_yet_does_not_show_another_one(panel: StudyPanel) -> None:
    listed(panel, "read", a_snapshot("done"))
    study = listed(panel, "unread")
    panel.show_study(study.id)
    assert panel.stack.currentWidget() is panel.empty
    assert panel.empty.accessibleName() == "unread"
    elsewhere = replace(study, owner_host="far")
    assert placeholder(elsewhere)[1] == "The folder of this study is on far; its progress and results are shown there."


def test_the_form_is_submitted_once(
    qtbot: QtBot, panel: StudyPanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise UserError("No space left.")

    panel.edit()
    monkeypatch.setattr(services.studies, "add", fail)
    panel.editor.submitted.emit(a_study(), {})
    assert not panel.editor.submit.isEnabled()
    qtbot.waitUntil(lambda: panel.bar.text == "No space left.")
    assert panel.editor.submit.isEnabled()


def test_deleting_and_restoring_a_study_updates_the_tree(qtbot: QtBot, panel: StudyPanel, services: Services) -> None:
    study = listed(panel, "mine")
    experiment = services.store.add_experiment(preset_config("clip", "tiny"), "clip")
    link_arm(services.store, study.id, "clip", experiment.id)
    becomes(services, study, a_snapshot("done"))
    received = list[Changes]()
    panel.changed.connect(received.append)
    panel.toolbar.delete.click()
    qtbot.waitUntil(lambda: len(received) == 1)
    assert panel.stack.currentWidget() is panel.empty
    assert panel.bar.text == "Moved “mine” to the bin; its folder is kept."
    panel.bar.press_remedy()
    qtbot.waitUntil(lambda: len(received) == 2)
    assert [(set(changes.experiments), set(changes.studies)) for changes in received] == [
        ({experiment.id}, {study.id})
    ] * 2
    assert panel._study_id() == study.id
    assert panel.stack.currentWidget() is panel.view


def test_extending_a_study_adds_seeds_and_experiments_that_are_no_arms_yet(
    qtbot: QtBot, panel: StudyPanel, services: Services
) -> None:
    study = listed(panel, "mine")
    experiment = services.store.add_experiment(preset_config("clip", "tiny"), "own")
    services.store.add_experiment(preset_config("coca", "tiny"), "another")
    link_arm(services.store, study.id, "clip", experiment.id)
    panel.refresh()
    becomes(services, study, a_snapshot("done", a_study(name="mine")))
    panel.toolbar.extend.click()
    editor = panel.editor
    texts = [editor.arms.item(row).text() for row in range(editor.arms.count())]
    assert "own (experiment)" not in texts
    assert panel._extended_id == study.id
    panel.edit()
    assert panel._extended_id is None, "the next form makes a new study"
    panel.extend()
    editor.seeds.setText("0, 1, 2")
    editor.arms.findItems("another (experiment)", Qt.MatchFlag.MatchExactly)[0].setCheckState(Qt.CheckState.Checked)
    editor.submit.click()
    qtbot.waitUntil(lambda: panel.stack.currentWidget() is panel.view)
    grown = read_study(StudyDir(study.folder).study)
    assert (grown.seeds, grown.steps, [arm.name for arm in grown.arms]) == (
        [0, 1, 2],
        3,
        ["clip", "sd-clip", "another"],
    )
    assert Path(grown.arms[2].config).is_file()
    assert [record.id for record in services.store.studies()] == [study.id]


def test_ticked_machines_are_saved_with_the_study(qtbot: QtBot, panel: StudyPanel, services: Services) -> None:
    for name in ("gpu", "cluster"):
        services.hosts.put(Machine(name=name, host=name))
    study = listed(panel, "mine", a_snapshot("not started"))
    button = panel.toolbar.machines
    button.fill()
    actions = {str(action.data()): action for action in button.machines.actions() if action.data()}
    assert list(actions) == [THIS_COMPUTER, "gpu", "cluster", ANY_MACHINE]
    for name in ("gpu", THIS_COMPUTER, "cluster"):
        actions[name].trigger()
    qtbot.waitUntil(lambda: read_machines(StudyDir(study.folder), a_study()).on == ["gpu", "cluster"])
