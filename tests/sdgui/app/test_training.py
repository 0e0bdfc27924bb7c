"""Runs in the window: launched, paused, queued, stopped, kept over a restart, removed by another window."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QMessageBox,
    QPlainTextEdit,
    QPushButton,
)
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.experiments.filter import Role
from sdgui.panels.define.panel import DefinePanel
from sdgui.panels.runs.panel import RunsPanel
from tests.sdgui.conftest import settle
from tests.sdgui.driving import OpenWindow, add, click, hurry, press, question, states


def test_ctrl_enter_trains_and_the_curve_arrives(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window("--steps", "30")
    add(window)
    press(qtbot, window, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: states(window) == [RunState.DONE], timeout=15000)
    runs_panel = window.panels["runs"]
    assert isinstance(runs_panel, RunsPanel)
    assert runs_panel.isVisible()
    run = window.services.store.runs()[0]
    qtbot.waitUntil(
        lambda: (
            runs_panel.tabs.view.grid.metrics() != []
            and len(runs_panel.tabs.view.grid.points(str(run.id), "train/loss")[0]) == 30
        )
    )
    steps, values = runs_panel.tabs.view.grid.points(str(run.id), "train/loss")
    assert list(steps) == list(range(1, 31))
    assert values[9] == pytest.approx(0.4)
    index = window.experiments.model.experiment_index(run.experiment_id)
    qtbot.waitUntil(lambda: index.data(Role.STATES) == "done")
    assert index.data(Role.BEST) == "96.8 %"
    qtbot.waitUntil(lambda: "finished" in window.bar.text)
    assert any(
        "Ended at step 30" in str(runs_panel.tabs.view.log.model().index(row, 0).data())
        for row in range(runs_panel.tabs.view.log.model().rowCount())
    )


def test_a_failure_shows_its_message_and_the_end_of_stderr(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window("--steps", "20", "--fail-at", "5")
    add(window)
    press(qtbot, window, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: states(window) == [RunState.FAILED], timeout=15000)
    runs_panel = window.panels["runs"]
    assert isinstance(runs_panel, RunsPanel)
    qtbot.waitUntil(lambda: "It broke at step 5." in runs_panel.tabs.view.bar.text)
    details = runs_panel.tabs.view.bar.findChild(QPlainTextEdit)
    assert details is not None
    assert "Traceback: it broke" in details.toPlainText()
    qtbot.waitUntil(window.window_actions["resume"].isEnabled)


def test_pause_and_resume_continue_the_same_curve(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window("--steps", "60", "--delay", "0.3")
    add(window)
    press(qtbot, window, Qt.Key.Key_Return)
    qtbot.waitUntil(
        lambda: window.services.store.runs() != [] and window.services.store.runs()[0].step >= 5, timeout=15000
    )
    press(qtbot, window, Qt.Key.Key_P)
    qtbot.waitUntil(lambda: states(window) == [RunState.PAUSED], timeout=15000)
    hurry(window)
    qtbot.waitUntil(lambda: window.window_actions["resume"].isEnabled())
    runs_panel, run = window.panels["runs"], window.services.store.runs()[0]
    assert isinstance(runs_panel, RunsPanel)
    tabs = runs_panel.tabs.view
    tabs.tabs.setCurrentIndex(tabs.tabs.count() - 1)
    press(qtbot, window, Qt.Key.Key_R)
    qtbot.waitUntil(lambda: tabs.tabs.currentWidget() is tabs.grid)
    qtbot.waitUntil(lambda: states(window) == [RunState.DONE], timeout=15000)
    qtbot.waitUntil(lambda: list(runs_panel.tabs.view.grid.points(str(run.id), "train/loss")[0]) == list(range(1, 61)))


def test_stopping_escalates_in_view(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window("--steps", "2000", "--delay", "0.02", "--deaf")
    add(window)
    press(qtbot, window, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: states(window) == [RunState.RUNNING], timeout=15000)
    press(qtbot, window, Qt.Key.Key_Period)
    runs_panel = window.panels["runs"]
    assert isinstance(runs_panel, RunsPanel)
    qtbot.waitUntil(lambda: "will be terminated" in runs_panel.tabs.view.header.stopping.text())
    end, header = window.window_actions["end_now"], runs_panel.tabs.view.header
    stop_button = header.findChild(QPushButton, "do_stop")
    assert isinstance(stop_button, QPushButton)
    assert (stop_button.isVisible(), stop_button.isEnabled()) == (True, False), "a second click there ends nothing"
    assert (end.text(), end.isEnabled()) == ("End now", True)
    end.trigger()
    qtbot.waitUntil(lambda: end.text() == "Kill")
    end.trigger()
    qtbot.waitUntil(lambda: not states(window)[0].alive, timeout=15000)


def test_closing_asks_and_keeps_or_stops_the_run(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window("--steps", "600", "--delay", "0.1")
    add(window)
    press(qtbot, window, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: states(window) == [RunState.RUNNING], timeout=15000)
    run = window.services.store.runs()[0]
    window.close()
    assert window.isVisible()
    box = question(window)
    assert box.defaultButton().text() == "&Keep training"
    click(qtbot, box, "Cancel")
    assert window.isVisible()
    qtbot.waitUntil(lambda: window.findChild(QMessageBox, "closing") is None)
    window.close()
    qtbot.keyClick(question(window), Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: not window.isVisible())
    again = open_window("--steps", "600", "--delay", "0.1")
    assert again.selection.run_id == run.id
    assert again.panel_name == "runs"
    qtbot.waitUntil(lambda: again.services.follower.state(run.id) == RunState.RUNNING, timeout=10000)
    again.close()
    click(qtbot, question(again), "Stop and close")
    qtbot.waitUntil(lambda: not again.isVisible())
    third = open_window()
    qtbot.waitUntil(lambda: states(third) == [RunState.STOPPED], timeout=15000)


def test_a_launch_waits_for_the_demo_data(qtbot: QtBot, open_window: OpenWindow, tmp_path: Path) -> None:
    window = open_window("--steps", "3", demo_options=("--until", str(tmp_path / "go")))
    window.experiment_commands.add_demo("search")
    settle(window)
    window.show_panel("define")
    press(qtbot, window, Qt.Key.Key_Return)
    settle(window)
    assert "still being created" in window.bar.text
    assert not window.window_actions["launch"].isEnabled()
    assert window.services.store.runs() == []
    (tmp_path / "go").touch()
    qtbot.waitUntil(lambda: states(window) == [RunState.DONE], timeout=15000)
    assert window.services.demo.complete


def test_a_launch_without_usable_data_is_refused_at_the_field_and_makes_no_run(
    qtbot: QtBot, open_window: OpenWindow
) -> None:
    window = open_window()
    window.experiment_commands.add(preset_config("clip", "tiny"), "no data")
    settle(window)
    define = window.panels["define"]
    assert isinstance(define, DefinePanel)
    press(qtbot, window, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: "No training data is set" in define.bar.text)
    window.show_panel("runs")
    press(qtbot, window, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: window.panel_name == "define")
    assert list(define.form.errors()) == ["data.train"]
    define.form.set_value("data.train", "pairs.csv")
    define.form.set_value("optim.batch_size", 401)  # the worker in miniature knows of 400 images
    press(qtbot, window, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: "A batch of 401 is larger" in define.bar.text)
    assert window.services.store.runs() == []
    define.form.set_value("optim.batch_size", 4)
    press(qtbot, window, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: len(window.services.store.runs()) == 1)
