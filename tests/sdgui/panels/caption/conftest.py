"""The Caption panel with a worker in miniature, and what tests do with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application, make_services
from sdgui.panels.caption.panel import CaptionsPanel
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.widgets.actions import Actions
from tests.sdgui.conftest import program

CTRL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
MODEL = ModelChoice("open_clip:coca_ViT-B-32,mscoco_finetuned_laion2b_s13b_b90k", "", "coca")
OpenPanel = Callable[[], CaptionsPanel]


@pytest.fixture
def open_panel(qtbot: QtBot, home: Path, qapp: object) -> Iterator[OpenPanel]:
    """Opens the place on ``home`` (again, if called twice)."""
    make_application()
    opened: list[tuple[CaptionsPanel, QWidget]] = []

    def close() -> None:
        if opened:
            panel, host = opened.pop()
            panel.on_leave()
            panel.work.makers["a"].drop()
            panel.work.makers["b"].drop()
            panel.persistence.close()
            panel.view.list.close_threads()
            panel.view.target.close_threads()
            panel._services.pool.close()
            panel._services.store.close()
            host.close()
            host.deleteLater()
            panel._services.pool.deleteLater()
            qtbot.wait(20)  # both are gone before the next test

    def open_it() -> CaptionsPanel:
        close()
        host = QWidget()
        host.resize(1100, 700)
        panel = CaptionsPanel(make_services(home, worker=program("fake_captioner.py")))
        panel.set_actions(Actions(host))
        QVBoxLayout(host).addWidget(panel)
        opened.append((panel, host))
        host.show()
        host.activateWindow()
        panel.on_enter()
        qtbot.waitUntil(lambda: panel._held_paths is None)
        return panel

    yield open_it
    close()


@pytest.fixture
def panel(open_panel: OpenPanel) -> CaptionsPanel:
    """With a model chosen."""
    place = open_panel()
    assert place.view.tools.pickers["a"].set_choice(MODEL)
    return place


def images(folder: Path, *names: str) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    image = QImage(8, 8, QImage.Format.Format_RGB32)
    for name in names:
        image.fill(Qt.GlobalColor.red)
        assert image.save(str(folder / name))
    return [str(folder / name) for name in names]


def texts(panel: CaptionsPanel) -> list[str]:
    return [entry.text for entry in panel.model.entries()]


def drop(qtbot: QtBot, panel: CaptionsPanel, paths: list[str]) -> None:
    panel.view.target.accept_paths(paths)
    qtbot.waitUntil(lambda: not panel.view.target.busy, timeout=10000)
    qtbot.waitUntil(lambda: len(panel.model) >= len(paths) and not panel.work.busy, timeout=20000)
