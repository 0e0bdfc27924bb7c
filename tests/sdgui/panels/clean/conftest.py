"""The Clean panel with a worker in miniature."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application, make_services
from sdgui.panels.clean.panel import CleanPanel
from tests.sdgui.conftest import program
from tests.sdgui.panels.clean.cleaning import Open, close, make_run


@pytest.fixture
def open_noise(qtbot: QtBot, tmp_path: Path) -> Iterator[Open]:
    """Opens the place (again) in one home, on a run whose training data are ``data``."""
    make_application()
    panels = []

    def open_it(data: str = "pairs.csv") -> CleanPanel:
        services = make_services(tmp_path / "home", worker=program("fake_clean_worker.py"))
        if not (tmp_path / "run").exists():
            make_run(services, tmp_path / "run", tmp_path / data)
        place = CleanPanel(services)
        qtbot.addWidget(place)
        panels.append(place)
        place.resize(1000, 700)
        place.show()
        place.on_enter()
        if place.view.source.run() is None:
            place.use_run(services.store.runs()[0].id)
        return place

    yield open_it
    for place in panels:
        close(place, qtbot)
