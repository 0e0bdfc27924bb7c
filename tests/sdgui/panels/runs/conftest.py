"""What tests of Runs stand on: the services of an empty home, the panel on them, and a store of nine known runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application, make_services
from sdgui.panels.runs.panel import RunsPanel
from sdgui.shared.services import Services
from sdgui.store.store import Store
from tests.sdgui.store.run_table.listing import fill


@pytest.fixture
def services(qapp: QApplication, tmp_path: Path) -> Iterator[Services]:
    make_application()
    services = make_services(tmp_path / "home")
    yield services
    services.launcher.close()
    services.pool.close()
    services.store.close()


@pytest.fixture
def panel(qtbot: QtBot, services: Services) -> RunsPanel:
    panel = RunsPanel(services)
    qtbot.addWidget(panel)
    panel.resize(900, 600)
    panel.show()
    assert panel.tabs.view.isHidden() is False  # made now, not a turn after there is a run
    return panel


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, list[int]]]:
    """Nine runs, which no test changes."""
    store = Store.open(tmp_path_factory.mktemp("home"))
    yield store, fill(store)
    store.close()
