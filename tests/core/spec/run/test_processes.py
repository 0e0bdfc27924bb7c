"""Whether a process is still running, from its id and start time; zombies and inaccessible processes."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from core.spec.run.events import RunFailed, RunFinished
from core.spec.run.processes import is_running, own_start_time
from core.spec.run.status import LOST_AFTER_SECONDS, RunState, RunStatus, derive_state, own_status, process_alive


def test_a_reused_process_id_is_not_running() -> None:
    started = own_start_time()
    assert is_running(os.getpid(), started)
    assert is_running(os.getpid(), started + 1.5), "clocks differ by a little"
    assert not is_running(os.getpid(), started - 3.0)


def test_a_zombie_is_not_running() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    started = psutil.Process(process.pid).create_time()
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert not is_running(process.pid, started)
    process.wait()
    assert not is_running(process.pid, started)


def test_an_inaccessible_process_counts_as_running(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(process: psutil.Process) -> float:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "create_time", denied)
    assert is_running(os.getpid(), 1.0)


def test_a_status_names_its_owner() -> None:
    status = own_status(step=3)
    assert (status.pid, status.host) == (os.getpid(), platform.node())
    assert process_alive(status)
    assert status.is_local
    assert replace(status, host="").is_local, "a status without a host"
    other = replace(status, host="elsewhere")
    assert not other.is_local
    assert process_alive(other)
    assert not process_alive(replace(other, heartbeat=time.time() - LOST_AFTER_SECONDS - 1))


@pytest.mark.parametrize(("age", "state"), [(29.0, RunState.RUNNING), (31.0, RunState.LOST_CONTACT)])
@pytest.mark.parametrize("host", [platform.node(), "elsewhere"])
def test_contact_is_lost_after_half_a_minute_locally_and_remotely(age: float, state: RunState, host: str) -> None:
    status = replace(own_status(), host=host)
    assert derive_state(status, None, status.heartbeat + age) == state
    gone = replace(status, started=1.0, heartbeat=time.time() - age)
    assert derive_state(gone, None) == (RunState.INTERRUPTED if gone.is_local else state)


def test_the_last_event_decides_the_state_unless_a_later_process_resumes_the_run() -> None:
    dead = RunStatus(pid=2**22 + 1, started=1.0, heartbeat=1.0)
    here = own_status()
    assert derive_state(dead, RunFinished(step=1)) is RunState.DONE
    assert derive_state(here, RunFinished(step=1, outcome="stopped")) is RunState.STOPPED
    assert derive_state(here, RunFailed(step=1, error="E", message="m")) is RunState.FAILED
    assert derive_state(here, RunFinished(step=1, outcome="paused", time=here.started - 1)) is RunState.RUNNING
    assert derive_state(dead, RunFinished(step=1, outcome="paused", time=0.5)) is RunState.INTERRUPTED
    assert derive_state(None, None) is RunState.STARTING
