"""The Classify panel with a worker in miniature."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtGui import QColor, QImage
from pytestqt.qtbot import QtBot

from sdgui.app.main_window import MainWindow
from sdgui.app.start import make_application, make_services
from sdgui.panels.classify.panel import ClassifyPanel
from tests.sdgui.conftest import leave, program
from tests.sdgui.panels.classify.classifying import OpenClassify, choose, make_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images, tables and where the worker writes down what it was asked."""
    work = tmp_path / "work"
    (work / "images").mkdir(parents=True)
    for true in range(4):
        for number in range(6):
            image = QImage(8, 8, QImage.Format.Format_RGB32)
            image.fill(QColor.fromHsv(true * 80, 200, 40 * number))
            image.save(str(work / "images" / f"{true}-{number}.png"))
    for name in ("small", "other", "broken", "garbage", "slow", "many", "bare"):
        (work / f"{name}.csv").write_text("filepath,title,kind\n", encoding="utf-8")
    return work


@pytest.fixture
def open_classify(qtbot: QtBot, home: Path, folder: Path) -> Iterator[OpenClassify]:
    """The panel over a run with a student and a teacher; opened again on the same home when called twice."""
    make_application()
    windows: list[MainWindow] = []

    def open_it(data: str = "small") -> ClassifyPanel:
        command = program("fake_classify_worker.py", str(folder))
        services = make_services(home, program("fake_trainer.py"), command, program("fake_demo.py"))
        window = MainWindow(services)
        windows.append(window)
        if not services.store.runs():
            make_run(window)
        window.show()
        window.activateWindow()
        qtbot.waitUntil(lambda: window.isActiveWindow() and bool(window.panels))
        panel = window.show_panel("classify")
        panel.use_run(services.store.runs()[0].id)
        assert isinstance(panel, ClassifyPanel)
        if data:
            choose(qtbot, panel, folder / f"{data}.csv")
        return panel

    yield open_it
    for window in windows:
        leave(window, qtbot)
        window.services.store.close()
