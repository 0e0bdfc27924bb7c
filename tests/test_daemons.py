"""Servers that tests start are there until the test ends."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.daemons import Daemon, keep_running

PATIENCE = 120


def starts(log: Path, count: int) -> list[int]:
    """Process ids in ``log``, once there are ``count``."""
    until = time.monotonic() + PATIENCE
    while len(lines := log.read_text().split("\n")[:-1] if log.exists() else []) < count:
        assert time.monotonic() < until, lines
        time.sleep(0.01)
    return [int(line) for line in lines]


def test_a_dead_daemon_is_restarted_and_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    code = f"import os, time; print(os.getpid(), file=open({str(log)!r}, 'a'), flush=True)\nwhile True: time.sleep(60)"
    daemon = Daemon([sys.executable, "-S", "-c", code])
    with keep_running([daemon]):
        (first,) = starts(log, 1)
        os.kill(first, signal.SIGKILL)
        second = starts(log, 2)[1]
    assert second != first
    assert daemon.process.pid == second
    assert daemon.restarts == 1
    assert daemon.process.poll() is not None
    assert "exited with -9 and is started again (1)" in capfd.readouterr().err


def test_a_daemon_that_cannot_start_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.daemons.CHECK_SECONDS", 0.001)
    daemon = Daemon([sys.executable, "-S", "-c", "raise SystemExit(3)"])
    with keep_running([daemon]):
        until = time.monotonic() + PATIENCE
        while daemon.restarts < 20 or daemon.process.poll() is None:
            assert time.monotonic() < until, daemon.restarts
            time.sleep(0.01)
    assert daemon.process.returncode == 3
