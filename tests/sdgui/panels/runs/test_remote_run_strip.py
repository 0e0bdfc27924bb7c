"""The line and the strip of a run on another machine, by themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from PySide6.QtCore import QObject, Signal
from pytestqt.qtbot import QtBot

from core.spec.machines.connection import ConnectionState
from core.spec.run.status import RunState
from sdgui.panels.runs.elsewhere import ElsewhereStrip
from sdgui.store.records import Run

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
def strip(qtbot: QtBot, hosts: Hosts) -> ElsewhereStrip:
    strip = ElsewhereStrip(cast(Any, hosts))
    qtbot.addWidget(strip)
    strip.show()
    return strip


def said(strip: ElsewhereStrip) -> str:
    return strip.line.text() if strip.line.isVisible() else ""


def test_the_line_to_the_runs_machine_is_told_while_it_is_not_up(strip: ElsewhereStrip, hosts: Hosts) -> None:
    strip.show_run(HERE)
    hosts.state_changed.emit("far", ConnectionState("waiting", "gone"))
    assert said(strip) == ""
    hosts.states["far"] = ConnectionState("connecting")
    strip.show_run(FAR)
    assert said(strip) == "Connecting to far …"
    hosts.state_changed.emit("other", ConnectionState("refused", "of another"))
    hosts.state_changed.emit("far", ConnectionState("waiting", "It is cut.", 61.0))
    assert said(strip) == "It is cut. Again in 1 min 1 s; nothing is lost meanwhile."
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


def test_why_a_colleagues_curves_are_not_here_is_told(strip: ElsewhereStrip, hosts: Hosts) -> None:
    assert not COLLEAGUES.is_local
    strip.show_run(COLLEAGUES)
    assert said(strip) == "Looking for the machine that has the curves of this run …"
    hosts.state_changed.emit("", ConnectionState("refused", "of a machine"))
    hosts.colleagues.status_changed.emit(9, "of another run")
    assert said(strip).startswith("Looking")
    hosts.colleagues.status_changed.emit(3, "Ask bob for his machine.")
    assert said(strip) == "Ask bob for his machine."
    strip.show_run(HERE)
    strip.show_run(COLLEAGUES)
    assert said(strip) == "Ask bob for his machine.", "it is remembered"


def test_a_checkpoint_on_its_way_is_shown_for_its_run_and_can_be_cancelled(strip: ElsewhereStrip, hosts: Hosts) -> None:
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
