"""The basket's dialog over a home with a run on three images."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from PySide6.QtCore import QProcess
from pytestqt.qtbot import QtBot

from core.spec.data.fixes import Fix
from sdgui.app.start import make_application, make_services
from sdgui.shared.basket import Finding
from sdgui.shared.fixing.dialog import BasketDialog
from sdgui.shared.services import Services
from tests.sdgui.conftest import program
from tests.sdgui.panels.clean.cleaning import make_run

IMAGES = ("a", "b", "c")


@pytest.fixture
def services(qtbot: QtBot, tmp_path: Path) -> Iterator[Services]:
    """A home with a run on ``pairs.csv``, which has three images. Nothing in it is trained."""
    make_application()
    services = make_services(tmp_path / "home", trainer=["false"], worker=program("fake_clean_worker.py"))
    make_run(services, tmp_path / "run", tmp_path / "pairs.csv")
    for name in IMAGES:
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("filepath", "title"), *((f"{name}.png", f"a {name}") for name in IMAGES)])
    yield services
    services.pool.shutdown()
    qtbot.waitUntil(lambda: not services.pool.findChildren(QProcess), timeout=30_000)
    services.launcher.close()
    services.writer.wait()
    services.store.close()


@pytest.fixture
def dialog(qtbot: QtBot, services: Services, tmp_path: Path) -> Iterator[BasketDialog]:
    """Open, with two fixes of the run's data, and one of an image of any."""
    data, run = str(tmp_path / "pairs.csv"), str(tmp_path / "run")
    fixes = [Fix(kind="wrong", path=str(tmp_path / f"{name}.png"), caption=f"a {name}", panel="Clean", run=run)
             for name in "ab"]  # fmt: skip
    services.basket.add(Finding(data, tuple(fixes)))
    edited = Fix(kind="recaptioned", path=str(tmp_path / "c.png"), value="a hat", panel="Caption")
    services.basket.add(Finding("", (edited,)))
    dialog = BasketDialog(services)  # not qtbot's to close: it would go before what it asked for is answered
    dialog.open_current()
    qtbot.waitUntil(lambda: len(dialog.visible_entries) == 3 and dialog.view.retrain.isEnabled(), timeout=30_000)
    yield dialog
    dialog.work.tasks.wait()
    dialog.view.gallery.close_threads()
    qtbot.waitUntil(lambda: not services.writer.pending)
    dialog.close()
    dialog.deleteLater()
