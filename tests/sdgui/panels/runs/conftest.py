"""What tests of Runs stand on: the services of an empty home."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication

from sdgui.app.start import make_application, make_services
from sdgui.shared.services import Services


@pytest.fixture
def services(qapp: QApplication, tmp_path: Path) -> Iterator[Services]:
    make_application()
    made = make_services(tmp_path / "home")
    yield made
    made.launcher.close()
    made.pool.close()
    made.store.close()
