"""What the buttons of the Study panel do with the study that is shown, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from core.spec.study import StudyDir
from sdgui.panels.study import ending
from sdgui.panels.study.panel import StudyPanel
from sdgui.runs.study_status import StudySnapshot
from sdgui.shared.services import Services
from sdgui.store.records import StoreError
from sdgui.store.studies import StudyRecord
from sdgui.widgets.message import error
from tests.sdgui.panels.scripted_workers import services_in
from tests.sdgui.panels.study.studying import a_study
from tests.sdgui.panels.study.test_study_parts import a_snapshot


@pytest.fixture
def services(qapp: object, tmp_path: Path) -> Iterator[Services]:
    with services_in(tmp_path / "home") as services:
        yield services


@pytest.fixture
def panel(qtbot: QtBot, services: Services) -> StudyPanel:
    panel = StudyPanel(services)
    qtbot.addWidget(panel)
    panel.show()
    return panel


def listed(panel: StudyPanel, name: str, snapshot: StudySnapshot | None = None) -> StudyRecord:
    """A study in the store that is shown as ``snapshot``."""
    services = panel._services
    folder = services.store.studies_folder / name
    StudyDir(folder).runs.mkdir(parents=True)
    StudyDir(folder).study.write_text(a_study(name=name).to_json(), encoding="utf-8")
    study = services.store.add_study(folder, name)
    panel.refresh()
    if snapshot is not None:
        services.studies._snapshots = {**services.studies._snapshots, study.id: snapshot}
        services.studies.changed.emit(study.id)
    return study


def test_an_empty_panel_offers_to_create_a_study(panel: StudyPanel) -> None:
    assert panel.stack.currentWidget() is panel.empty
    panel.empty.activated.emit()
    assert panel.stack.currentWidget() is panel.editor
    assert panel.editor.name.selectedText() == panel.editor.name.text() != ""
    assert not panel.toolbar.new.isVisible()
    panel.editor.cancelled.emit()
    assert panel.stack.currentWidget() is panel.empty
    panel.toolbar.new.click()
    assert panel.stack.currentWidget() is panel.editor


def test_a_study_is_selected_in_the_box_and_restored_the_next_time(
    qtbot: QtBot, panel: StudyPanel, services: Services
) -> None:
    first, second = listed(panel, "one", a_snapshot("done")), listed(panel, "two", a_snapshot("done"))
    panel.show_study(second.id)
    row = panel.toolbar.box.findData(first.id)
    panel.toolbar.box.setCurrentIndex(row)
    panel.bar.show_message(error("of before"))
    panel.toolbar.box.activated.emit(row)
    assert (panel._id(), panel.bar.message) == (first.id, None)
    panel.on_leave()
    again = StudyPanel(services)
    qtbot.addWidget(again)
    assert (again._id(), again.toolbar.box.currentData()) == (first.id, first.id)
    services.settings.setValue("study/shown", "x")
    reopened = StudyPanel(services)
    qtbot.addWidget(reopened)
    assert reopened._id() == second.id, "the newest"
    panel.show_study(99)
    assert panel.bar.message is not None
    assert (panel.bar.message.level, panel._id()) == ("error", first.id)


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
    monkeypatch.setattr(ending, "KILL_AFTER", 0.01)
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
    panel._find()
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

    def locked(*_: object) -> None:
        raise StoreError("The database is locked.")

    study = listed(panel, "mine", a_snapshot("done"))
    calls = (
        ("studies", panel.refresh),
        ("experiments", panel.edit),
        ("experiments", panel.grow),
        ("run_in", lambda: panel.view.run_requested.emit(tmp_path)),
    )
    for name, call in calls:
        panel.bar.clear()
        with monkeypatch.context() as broken:
            broken.setattr(services.store, name, locked)
            call()
        assert panel.bar.text == "The database is locked.", name
    assert (panel.stack.currentWidget(), panel._id()) == (panel.view, study.id)
