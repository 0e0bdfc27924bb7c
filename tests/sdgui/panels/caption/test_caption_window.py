"""Caption in the real window: how much of it images have, and the way from an own photo to its first caption."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QGuiApplication, QImage
from PySide6.QtWidgets import QAbstractButton, QApplication
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from sdgui.app.main_window import MainWindow
from sdgui.app.start import make_application, make_services
from sdgui.panels.caption.panel import CaptionsPanel
from sdgui.widgets.message import info
from tests.sdgui.conftest import leave, program


@pytest.fixture
def window(qtbot: QtBot, home: Path) -> Iterator[MainWindow]:
    """A window over a home with one run that captions."""
    make_application()
    services = make_services(home, program("fake_trainer.py"), program("fake_captioner.py"), program("fake_demo.py"))
    config = preset_config("sd-coca", "tiny")
    run = services.store.add_run(services.store.add_experiment(config, "coca").id)
    run.dir.create()
    run.dir.config.write_text(config.to_json())
    checkpoint = run.dir.checkpoints / "step-00000003"
    checkpoint.mkdir(parents=True)
    (checkpoint / "student.safetensors").write_bytes(b"")
    (checkpoint / "checkpoint.json").write_text(json.dumps({"model": {"multimodal_cfg": {}}}))
    window = MainWindow(services)
    window.resize(1440, 900)
    window.show()
    window.activateWindow()
    qtbot.waitUntil(lambda: window.isActiveWindow() and bool(window.panels))
    yield window
    leave(window, qtbot)
    services.store.close()


def shown(window: MainWindow) -> CaptionsPanel:
    panel = window.panels["caption"]
    assert isinstance(panel, CaptionsPanel)
    return panel


def photo(tmp_path: Path, name: str) -> QMimeData:
    image = QImage(8, 8, QImage.Format.Format_RGB32)
    image.fill(0)
    image.save(str(tmp_path / name))
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / name))])
    return data


def test_from_own_photo_to_first_caption_in_three_actions_by_mouse_and_keyboard(
    qtbot: QtBot, window: MainWindow, tmp_path: Path
) -> None:
    rail = next(child for child in window.rail.findChildren(QAbstractButton) if child.text() == "Caption")
    qtbot.mouseClick(rail, Qt.MouseButton.LeftButton)
    panel = shown(window)
    action, button = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
    dropped = photo(tmp_path, "a.png")
    drop = QDropEvent(QPointF(9, 9), action, dropped, button, Qt.KeyboardModifier.NoModifier)
    panel.view.target.dropEvent(drop)
    qtbot.waitUntil(lambda: len(panel.model) == 1 and bool(panel.model.entry_at(0).text), timeout=20000)
    window.show_panel("runs")
    QGuiApplication.clipboard().setMimeData(photo(tmp_path, "b.png"))
    qtbot.keyClick(window, Qt.Key.Key_8, Qt.KeyboardModifier.ControlModifier)
    focused = QApplication.focusWidget()
    assert focused is not None
    qtbot.keyClick(focused, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: len(panel.model) == 2 and bool(panel.model.entry_at(1).text), timeout=20000)
    QGuiApplication.clipboard().clear()


def test_images_take_seventy_percent_of_the_window_and_never_move(
    qtbot: QtBot, window: MainWindow, tmp_path: Path
) -> None:
    window.show_panel("caption")
    panel = shown(window)
    panel.view.target.accept_data(photo(tmp_path, "a.png"))
    qtbot.waitUntil(lambda: len(panel.model) == 1 and bool(panel.model.entry_at(0).text), timeout=20000)
    images = panel.view.list.viewport()

    def area() -> tuple[int, int]:
        QApplication.processEvents()
        return images.mapTo(window, QPoint(0, 0)).y(), images.height()

    before = area()
    assert before[1] >= 0.7 * window.height()
    panel.view.tools.compare.setChecked(True)
    panel.view.strip.start("Captioning")
    panel.view.bar.show_message(info("Something happened."))
    panel.view.replace.open()
    assert panel.view.replace.isVisible()
    tools = panel.view.tools
    second = (tools.filter_box, tools.state, tools.replace, tools.undo, tools.redo)
    assert [one.isVisible() for one in second] == [False] * 5, "it has the place of the filter"
    assert area() == before
    assert window.status.isAncestorOf(panel.view.strip)
    qtbot.keyClick(panel.view.replace.find_box, Qt.Key.Key_Escape)
    assert [one.isVisible() for one in second] == [True] * 5
    assert panel.view.list.hasFocus()
    panel.view.tools.compare.setChecked(False)
    assert area() == before
