"""The Study panel with a program in miniature."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from sdgui.app.main_window import MainWindow
from sdgui.app.start import make_application, make_services
from sdgui.shared.services import Services
from tests.sdgui.conftest import leave, program
from tests.sdgui.panels.scripted_workers import services_in
from tests.sdgui.panels.study.studying import Open


@pytest.fixture
def services(qapp: object, tmp_path: Path) -> Iterator[Services]:
    with services_in(tmp_path / "home") as services:
        yield services


@pytest.fixture
def open_study(qtbot: QtBot, tmp_path: Path) -> Iterator[Open]:
    """Opens a window (again) in one home; no program outlives the test."""
    make_application()
    windows: list[MainWindow] = []

    def open_it(*options: str) -> MainWindow:
        trainer, worker = program("fake_trainer.py"), program("fake_worker.py")
        services = make_services(tmp_path / "home", trainer, worker, study=program("fake_study.py", *options))
        window = MainWindow(services)
        windows.append(window)
        window.show()
        services.follower.start()
        qtbot.waitUntil(lambda: bool(window.panels))
        return window

    yield open_it
    for window in windows:
        for study_id in window.services.studies.alive():
            window.services.studies.request_end(study_id, "kill")
        leave(window, qtbot)
