"""The line and the strip of a run on another machine, by themselves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

from core.spec.machines.connection import ConnectionState
from core.spec.machines.machine import Machine
from core.spec.machines.record import read_record
from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.app.main_window import MainWindow
from sdgui.panels.runs.panel import RunsPanel
from sdgui.panels.runs.remote_strip import RemoteStrip
from sdgui.store.records import Place, Run
from tests.sdgui.driving import last_step

HERE = Run(1, 1, "k", Path("/r"), "d", 0.0, RunState.RUNNING)
FAR = replace(HERE, id=2, machine="far")
COLLEAGUES = replace(HERE, id=3, owner_host="another-computer")


class Fetches(QObject):
    progressed = Signal(int, int, int)
    fetched = Signal(int, object)
    failed = Signal(int, str)

    def __init__(self) -> None:
        super().__init__()
        self.cancelled: list[int] = []

    def cancel(self, run_id: int) -> None:
        self.cancelled.append(run_id)


class ColleagueSignals(QObject):
    status_changed = Signal(int, str)


class Hosts(QObject):
    state_changed = Signal(str, object)

    def __init__(self) -> None:
        super().__init__()
        self.fetches, self.colleagues = Fetches(), ColleagueSignals()
        self.states: dict[str, ConnectionState] = {}

    def state(self, name: str) -> ConnectionState:
        return self.states.get(name, ConnectionState("ready"))


@pytest.fixture
def hosts(qapp: object) -> Hosts:
    return Hosts()


@pytest.fixture
def strip(qtbot: QtBot, hosts: Hosts) -> RemoteStrip:
    strip = RemoteStrip(cast(Any, hosts))
    qtbot.addWidget(strip)
    strip.show()
    return strip


def said(strip: RemoteStrip) -> str:
    return strip.line.text() if strip.line.isVisible() else ""


def test_the_connection_to_the_runs_machine_is_shown_while_it_is_down(strip: RemoteStrip, hosts: Hosts) -> None:
    strip.show_run(HERE)
    hosts.state_changed.emit("far", ConnectionState("waiting", "gone"))
    assert said(strip) == ""
    hosts.states["far"] = ConnectionState("connecting")
    strip.show_run(FAR)
    assert said(strip) == "Connecting to far…"
    hosts.state_changed.emit("other", ConnectionState("refused", "of another"))
    hosts.state_changed.emit("far", ConnectionState("waiting", "It is cut.", 61.0))
    assert said(strip) == "It is cut. Retrying in 1 min 1 s; no data is lost."
    hosts.state_changed.emit("far", ConnectionState("refused", "Set up a key."))
    assert said(strip) == "Set up a key."
    hosts.state_changed.emit("far", ConnectionState("ready"))
    assert said(strip) == ""
    hosts.state_changed.emit("far", ConnectionState("connecting"))
    strip.show_run(HERE)
    assert said(strip) == ""
    strip.show_run(FAR)
    strip.show_run(None)
    assert said(strip) == ""


def test_missing_curves_of_a_colleagues_run_give_the_reason(strip: RemoteStrip, hosts: Hosts) -> None:
    assert not COLLEAGUES.is_local
    strip.show_run(COLLEAGUES)
    assert said(strip) == "Finding the machine that has the curves of this run…"
    hosts.state_changed.emit("", ConnectionState("refused", "of a machine"))
    hosts.colleagues.status_changed.emit(9, "of another run")
    assert said(strip).startswith("Finding")
    hosts.colleagues.status_changed.emit(3, "Ask bob for his machine.")
    assert said(strip) == "Ask bob for his machine."
    strip.show_run(HERE)
    strip.show_run(COLLEAGUES)
    assert said(strip) == "Ask bob for his machine.", "it is remembered"


def test_a_checkpoint_being_fetched_is_shown_for_its_run_and_can_be_cancelled(strip: RemoteStrip, hosts: Hosts) -> None:
    mib, fetches = 1 << 20, hosts.fetches
    strip.strip.cancelled.emit()
    assert fetches.cancelled == [], "no run is shown"
    strip.show_run(FAR)
    fetches.progressed.emit(9, mib, 4 * mib)
    assert strip.strip.isHidden(), "of another run"
    fetches.progressed.emit(2, mib, 4 * mib)
    assert strip.strip.text.startswith("Fetching a checkpoint · 25 % · 1 of 4 MB")
    fetches.progressed.emit(2, 3 * mib, 4 * mib)
    assert "75 %" in strip.strip.text
    fetches.fetched.emit(9, Path("/x"))
    assert strip.strip.isVisible()
    strip.strip.cancelled.emit()
    assert fetches.cancelled == [2]
    for ended in (lambda: fetches.fetched.emit(2, Path("/x")), lambda: fetches.failed.emit(2, "No room.")):
        fetches.progressed.emit(2, mib, 4 * mib)
        assert strip.strip.isVisible()
        ended()
        assert strip.strip.isHidden()
    fetches.progressed.emit(2, mib, 4 * mib)
    strip.show_run(FAR)
    assert strip.strip.isVisible(), "it is the same run"
    strip.show_run(HERE)
    assert strip.strip.isHidden()


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
    qtbot.waitUntil(
        lambda: bool(store.runs()) and window.services.follower.state(store.runs()[0].id) is RunState.RUNNING
    )
    return store.runs()[0]


def test_a_remote_run_is_watched_paused_resumed_and_its_checkpoint_fetched(
    open_window: Callable[..., MainWindow], qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = open_window()
    run = launched_elsewhere(window, tmp_path, monkeypatch, qtbot)
    follower, hosts = window.services.follower, window.services.hosts
    runs_panel = window.show_panel("runs")
    assert isinstance(runs_panel, RunsPanel)
    qtbot.waitUntil(lambda: last_step(follower.history(run.id)) > 2)
    assert runs_panel.tabs.view.remote_strip.line.isHidden()

    hosts.state_changed.emit("far", ConnectionState("waiting", "far cannot be reached: gone.", 4.0))
    assert "cannot be reached: gone. Retrying in 4 s" in runs_panel.tabs.view.remote_strip.line.text()
    hosts.state_changed.emit("far", ConnectionState("ready"))
    assert runs_panel.tabs.view.remote_strip.line.isHidden()

    window.run_commands.pause(run)
    qtbot.waitUntil(lambda: follower.state(run.id) is RunState.PAUSED)
    steps = last_step(follower.history(run.id))
    window.run_commands.resume(window.services.store.run(run.id))
    qtbot.waitUntil(lambda: follower.state(run.id) is RunState.RUNNING and last_step(follower.history(run.id)) > steps)

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
    qtbot.waitUntil(lambda: follower.state(run.id) is RunState.STOPPED)
    remote_events = Path(record.folder) / "events.jsonl"
    qtbot.waitUntil(lambda: run.dir.events.read_bytes() == remote_events.read_bytes())
