"""A run on another machine as a user meets it: watched, paused, resumed, its line told of, its checkpoint fetched."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

from core.spec.machines.connection import ConnectionState
from core.spec.machines.machine import Machine
from core.spec.machines.record import read_record
from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.app.main_window import MainWindow
from sdgui.panels.runs.panel import RunsPanel
from sdgui.store.records import Place, Run

REMOTE = Path(__file__).parents[3] / "core" / "remote" / "fake_remote.py"


def launched_elsewhere(window: MainWindow, folder: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot) -> Run:
    """A run on ``far``, whose program is a child of this process and whose trainer is the one in miniature."""
    monkeypatch.setenv("FAKE_TRAINER", "--steps 3000 --delay 0.02")
    hosts, store = window.services.hosts, window.services.store
    remote = [sys.executable, str(REMOTE), "remote", "--runs", str(folder / "there")]
    monkeypatch.setattr(hosts.machines, "_command", lambda machine: None if machine.is_local else remote)
    hosts.put(Machine(name="far", host="far", runs=str(folder / "there")))
    hosts.set_place(Place("far"))
    QImage(8, 8, QImage.Format.Format_RGB32).save(str(folder / "a.png"))
    (folder / "pairs.csv").write_text("filepath,title\na.png,a cat\n")
    config = preset_config("clip", "tiny")
    config = config.model_copy(update={"data": config.data.model_copy(update={"train": str(folder / "pairs.csv")})})
    window.run_commands.launch(store.add_experiment(config, "there").id)
    qtbot.waitUntil(lambda: bool(store.runs()) and window.services.tailer.state(store.runs()[0].id) is RunState.RUNNING)
    return store.runs()[0]


def test_a_run_elsewhere_is_watched_paused_resumed_and_its_checkpoint_fetched(
    open_window: Callable[..., MainWindow], qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = open_window()
    run = launched_elsewhere(window, tmp_path, monkeypatch, qtbot)
    tailer, hosts = window.services.tailer, window.services.hosts
    runs_panel = window.show_panel("runs")
    assert isinstance(runs_panel, RunsPanel)
    qtbot.waitUntil(lambda: (history := tailer.history(run.id)) is not None and history.step > 2)
    assert runs_panel.tabs.view.elsewhere.line.isHidden()

    hosts.state_changed.emit("far", ConnectionState("waiting", "far cannot be reached: gone.", 4.0))
    assert "cannot be reached: gone. Again in 4 s" in runs_panel.tabs.view.elsewhere.line.text()
    hosts.state_changed.emit("far", ConnectionState("ready"))
    assert runs_panel.tabs.view.elsewhere.line.isHidden()

    window.run_commands.pause(run)
    qtbot.waitUntil(lambda: tailer.state(run.id) is RunState.PAUSED)
    steps = tailer.history(run.id).step  # type: ignore[union-attr]
    window.run_commands.resume(window.services.store.run(run.id))
    qtbot.waitUntil(lambda: tailer.state(run.id) is RunState.RUNNING and tailer.history(run.id).step > steps)  # type: ignore[union-attr]

    record = read_record(run.dir)
    assert record is not None
    step = Path(record.folder) / "checkpoints" / "step-00000004"
    step.mkdir()
    (step / "student.safetensors").write_bytes(b"w" * 1_500_000)
    (step / "checkpoint.json").write_text("{}")
    action = window.window_actions["fetch"]
    qtbot.waitUntil(action.isEnabled)
    with qtbot.waitSignal(hosts.fetches.fetched):
        action.trigger()
    assert (run.dir.checkpoints / step.name / "student.safetensors").stat().st_size == 1_500_000

    window.run_commands.stop(window.services.store.run(run.id))
    qtbot.waitUntil(lambda: tailer.state(run.id) is RunState.STOPPED)
    remote_events = Path(record.folder) / "events.jsonl"
    qtbot.waitUntil(lambda: run.dir.events.read_bytes() == remote_events.read_bytes())
