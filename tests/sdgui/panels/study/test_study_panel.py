"""The Study panel with studies whose status is given: what is shown, followed, kept and announced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from core.spec.study import StudyDir
from sdgui.panels.study import ending
from sdgui.panels.study.panel import StudyPanel
from sdgui.runs.study_programs import StudyProgramError
from sdgui.runs.study_status import StudySnapshot
from sdgui.shared.services import Services
from sdgui.store.changes import Changes
from sdgui.store.studies import StudyRecord
from tests.sdgui.panels.scripted_workers import services_in
from tests.sdgui.panels.study.studying import a_study
from tests.sdgui.panels.study.test_study_parts import a_run, a_snapshot


@pytest.fixture
def services(qapp: object, tmp_path: Path) -> Iterator[Services]:
    with services_in(tmp_path / "home") as services:
        yield services


@pytest.fixture
def panel(qtbot: QtBot, services: Services) -> StudyPanel:
    panel = StudyPanel(services)
    qtbot.addWidget(panel)
    panel.resize(900, 600)
    panel.show()
    return panel


def listed(services: Services, name: str) -> StudyRecord:
    folder = services.store.studies_folder / name
    StudyDir(folder).runs.mkdir(parents=True)
    StudyDir(folder).study.write_text(a_study(name=name).to_json(), encoding="utf-8")
    return services.store.add_study(folder, name)


def becomes(services: Services, study: StudyRecord, snapshot: StudySnapshot) -> None:
    """What the thread does when it has read a study's folder."""
    services.studies._snapshots = {**services.studies._snapshots, study.id: snapshot}
    services.studies.changed.emit(study.id)


def test_a_restarted_study_asks_before_it_is_killed(
    qtbot: QtBot, panel: StudyPanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[str] = []
    monkeypatch.setattr(services.studies, "request_end", lambda _study, request: requests.append(request))
    monkeypatch.setattr(ending, "KILL_AFTER", 0.0)
    study = listed(services, "one")
    panel.refresh()
    for state in ("running", "stopped", "running"):
        becomes(services, study, a_snapshot(state))
        if state == "running":
            assert panel.toolbar.stop.text() == "Sto&p"
            panel.toolbar.stop.click()
    qtbot.waitUntil(lambda: len(requests) == 2)
    assert requests == ["stop", "stop"]


def test_an_unexpected_end_or_unreadable_study_gives_the_reason(panel: StudyPanel, services: Services) -> None:
    study = listed(services, "mine")
    panel.refresh()
    becomes(services, study, a_snapshot("interrupted", stderr="Traceback\nout of memory"))
    assert panel.bar.text == "The study ended unexpectedly: out of memory"
    panel.bar.clear()
    becomes(services, study, a_snapshot("paused", stderr="Traceback\nold"))
    assert panel.bar.text == ""
    becomes(services, study, StudySnapshot(study.folder, problem="steps: too few\nmore"))
    assert panel.bar.text == "steps: too few"
    assert not panel.toolbar.begin.isEnabled()


def test_start_is_pressed_once_and_a_refusal_is_reported(
    qtbot: QtBot, panel: StudyPanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = listed(services, "mine")
    panel.refresh()
    becomes(services, study, a_snapshot("not started"))
    started = list[int]()

    def start(study_id: int) -> None:
        started.append(study_id)
        raise StudyProgramError("No space left.\nmore")

    monkeypatch.setattr(services.studies, "start", start)
    panel.toolbar.begin.click()
    assert not panel.toolbar.begin.isEnabled()
    panel.toolbar.begin.click()
    qtbot.waitUntil(lambda: panel.bar.text == "No space left.")
    assert started == [study.id]


def test_a_run_that_has_not_started_cannot_be_watched(
    qtbot: QtBot, panel: StudyPanel, services: Services, tmp_path: Path
) -> None:
    study = listed(services, "mine")
    panel.refresh()
    becomes(services, study, a_snapshot("running", runs=(a_run("clip"),)))
    with qtbot.assertNotEmitted(panel.run_requested):
        panel.view.run_requested.emit(tmp_path / "nothing")
    assert panel.bar.text == "This run has not started yet."
    experiment = services.store.add_experiment(preset_config("clip", "tiny"), "one")
    run = services.store.add_run(experiment.id)
    with qtbot.waitSignal(panel.run_requested) as signal:
        panel.view.run_requested.emit(run.folder)
    assert signal.args == [run.id]


def test_deleting_and_restoring_a_study_updates_the_tree(qtbot: QtBot, panel: StudyPanel, services: Services) -> None:
    study = listed(services, "mine")
    experiment = services.store.add_experiment(preset_config("clip", "tiny"), "clip")
    services.store.link_arm(study.id, "clip", experiment.id)
    panel.refresh()
    becomes(services, study, a_snapshot("done"))
    received = list[Changes]()
    panel.changed.connect(received.append)
    panel.toolbar.bin.click()
    qtbot.waitUntil(lambda: len(received) == 1)
    assert panel.stack.currentWidget() is panel.empty
    assert panel.bar.text == "Moved “mine” to the bin; its folder is kept."
    panel.bar.press_remedy()
    qtbot.waitUntil(lambda: len(received) == 2)
    assert [(set(changes.experiments), set(changes.studies)) for changes in received] == [
        ({experiment.id}, {study.id})
    ] * 2
    assert panel._id() == study.id
    assert panel.stack.currentWidget() is panel.view


def test_extending_a_study_offers_no_experiment_that_is_its_arm(panel: StudyPanel, services: Services) -> None:
    study = listed(services, "mine")
    experiment = services.store.add_experiment(preset_config("clip", "tiny"), "own")
    services.store.add_experiment(preset_config("coca", "tiny"), "another")
    services.store.link_arm(study.id, "clip", experiment.id)
    panel.refresh()
    becomes(services, study, a_snapshot("done"))
    panel.toolbar.more.click()
    texts = [panel.editor.presets.item(row).text() for row in range(panel.editor.presets.count())]
    assert "another (experiment)" in texts
    assert "own (experiment)" not in texts
    assert panel._grows == study.id
    panel.edit()
    assert panel._grows is None, "the next form makes a new study"
