"""Programs of the window: how they are started, and ended by their number, only the one that is meant."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest
from PySide6.QtCore import QObject

from core.spec.children import environment
from core.spec.run.status import RunStatus
from sdgui.runs.program import end_process, qt_process, torchrun_command


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


def test_what_a_killed_program_started_ends_with_it() -> None:
    sleeping = "import time; time.sleep(20); print('it lives')"
    begin = f"import subprocess, sys; subprocess.Popen([sys.executable, '-S', '-c', {sleeping!r}])"
    code = f"{begin}; print('begun', flush=True); {sleeping}"
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        status = RunStatus(process.pid, psutil.Process(process.pid).create_time(), time.time())
        end_process(status, kill=True)
        assert process.wait(60) == -signal.SIGKILL
        assert process.stdout.read() == b"", "nobody is left who would say something"
    end_process(status, kill=True)  # it is gone, and that is well


def test_every_program_has_the_environment_of_all_and_several_gpus_a_process_each(qapp: object) -> None:
    parent = QObject()
    variables = qt_process(parent).processEnvironment()
    assert {name: variables.value(name) for name in variables.keys()} == environment()  # noqa: SIM118
    assert torchrun_command(3) == [
        sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=3", "-m", "core"
    ]  # fmt: skip
