"""Driving the window as a user does: keys, answers to its questions, and what the store says of the runs."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QApplication,
    QMessageBox,
)
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.app.main_window import MainWindow
from sdgui.runs.history import RunHistory
from tests.sdgui.conftest import settle

OpenWindow = Callable[..., MainWindow]
CTRL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier


def press(qtbot: QtBot, window: MainWindow, key: Qt.Key, modifier: Qt.KeyboardModifier = CTRL) -> None:
    window.activateWindow()
    qtbot.keyClick(QApplication.focusWidget() or window, key, modifier)


def trainable(preset: str = "clip") -> RunConfig:
    """A small config that names data; the worker in miniature knows what they hold."""
    return override(preset_config(preset, "tiny"), ["data.train=pairs.csv"])


def add(window: MainWindow, name: str = "clip") -> int:
    window.experiment_commands.add(trainable(), name)
    settle(window)
    assert window.selection.experiment_id is not None
    return window.selection.experiment_id


def states(window: MainWindow) -> list[RunState]:
    return [run.state for run in window.services.store.runs()]


def hurry(window: MainWindow) -> None:
    """From now on, the trainers' steps take no time."""
    (window.services.store.home / "runs" / "hurry").touch()


def question(window: MainWindow) -> QMessageBox:
    box = window.findChild(QMessageBox, "closing")
    assert box is not None
    return box


def click(qtbot: QtBot, box: QMessageBox, text: str) -> None:
    button = next(each for each in box.buttons() if text in each.text().replace("&", ""))
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def last_step(history: RunHistory | None) -> int:
    """The last step of the loss in a run's history; 0 before the first."""
    return 0 if history is None else int(max(history.curve("train/loss").steps, default=0))
