"""Ending a trainer by its number: only the process that is meant, and only as hard as it is asked."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from core.spec.run.status import RunStatus
from sdgui.runs.program import end_process


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("kill", [False, True])
def test_another_program_with_the_same_number_is_left_alone(stranger: subprocess.Popen[bytes], kill: bool) -> None:
    end_process(RunStatus(pid=stranger.pid, started=time.time() - 5000, heartbeat=time.time()), kill)
    with pytest.raises(subprocess.TimeoutExpired):
        stranger.wait(0.3)


@pytest.mark.parametrize("kill", [False, True])
def test_the_process_that_is_meant_is_ended(stranger: subprocess.Popen[bytes], kill: bool) -> None:
    started = psutil.Process(stranger.pid).create_time()
    end_process(RunStatus(pid=stranger.pid, started=started, heartbeat=time.time()), kill)
    assert stranger.wait(60) == -(signal.SIGKILL if kill else signal.SIGTERM), "no harder than it is asked"
