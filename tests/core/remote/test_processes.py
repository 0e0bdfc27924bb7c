"""Ending a run's processes: only the right process, and when killed, its children too."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.remote.job import Job
from core.remote.processes import end_processes
from core.spec.errors import UserError
from core.spec.run.status import RunStatus

RUN = Path(__file__).parent / "a run"
CODE = (
    "import subprocess, sys, time;"
    "p = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)']);"
    "print(p.pid, flush=True); time.sleep(60)"
)
Started = tuple["subprocess.Popen[bytes]", psutil.Process]


@pytest.fixture
def start() -> Iterator[Callable[..., Started]]:
    """Starts a process in its own session, with a child."""
    made: list[Any] = []

    def begin(folder: Path = RUN) -> Started:
        """Start a trainer of ``folder``."""
        command = [sys.executable, "-S", "-c", CODE, str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        made.extend((process, child))
        return process, child

    yield begin
    for one in made:
        if isinstance(one, subprocess.Popen) or one.is_running():
            one.kill()
        if isinstance(one, subprocess.Popen):
            one.wait(20)
            assert one.stdout is not None
            one.stdout.close()


def status_of(process: subprocess.Popen[bytes]) -> RunStatus:
    return RunStatus(process.pid, psutil.Process(process.pid).create_time(), time.time())


def job_of(process: subprocess.Popen[bytes]) -> Job:
    return Job(token="t", pid=process.pid, started=psutil.Process(process.pid).create_time())


def gone(child: psutil.Process) -> bool:
    until = time.monotonic() + 120
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
        time.sleep(0.005)
    return not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def alive(process: subprocess.Popen[bytes], child: psutil.Process) -> bool:
    return process.poll() is None and child.is_running() and child.status() != psutil.STATUS_ZOMBIE


def test_only_a_local_trainer_is_terminated(start: Callable[..., Started]) -> None:
    process, child = start()
    status, job = status_of(process), job_of(process)
    end_processes(RUN, None, None, kill=False)
    end_processes(RUN, job, None, kill=False)
    end_processes(RUN, job, replace(status, host="another"), kill=False)
    end_processes(RUN, job, replace(status, started=status.started - 50), kill=False)
    assert alive(process, child), "another process id"
    end_processes(RUN, job, status, kill=False)
    assert process.wait(20) == -signal.SIGTERM
    assert child.is_running(), "only the trainer is terminated"


def test_a_trainer_or_a_jobs_session_is_killed_with_its_children(start: Callable[..., Started]) -> None:
    process, child = start()
    status, job = status_of(process), job_of(process)
    end_processes(RUN, None, None, kill=True)
    end_processes(RUN, None, replace(status, host="another"), kill=True)
    end_processes(RUN, None, replace(status, started=status.started - 50), kill=True)
    end_processes(RUN, job.model_copy(update={"started": job.started - 50}), None, kill=True)
    end_processes(RUN, job.model_copy(update={"pid": 0}), None, kill=True)
    assert alive(process, child), "its process id was reused"
    end_processes(RUN, None, status, kill=True)
    assert process.wait(20) == -signal.SIGKILL
    assert gone(child)
    process, child = start()
    end_processes(RUN, job_of(process), None, kill=True)
    assert process.wait(20) == -signal.SIGKILL
    assert gone(child)


@pytest.mark.parametrize("kill", [False, True])
def test_a_forged_status_or_job_kills_no_other_process(
    start: Callable[..., Started], tmp_path: Path, kill: bool
) -> None:
    process, child = start()
    foreign = tmp_path / "downloaded" / "runs" / "x"
    foreign.mkdir(parents=True)
    with pytest.raises(UserError, match=rf"Process {process.pid} is recorded as the trainer of .* was left alone"):
        end_processes(foreign, None, status_of(process), kill)
    if kill:
        with pytest.raises(UserError, match="was left alone"):
            end_processes(foreign, job_of(process), None, kill)
    assert alive(process, child)


@pytest.mark.parametrize(("file", "part"), [("chain.json", "stage-1-clip"), ("study.json", "runs/clip-s0")])
def test_a_part_of_a_chain_or_study_can_be_stopped_by_the_whole(
    start: Callable[..., Started], tmp_path: Path, file: str, part: str
) -> None:
    process, child = start(tmp_path)
    with pytest.raises(UserError, match="was left alone"):
        end_processes(tmp_path / part, None, status_of(process), kill=True)
    (tmp_path / file).write_text("{}")
    end_processes(tmp_path / part, None, status_of(process), kill=True)
    assert process.wait(20) == -signal.SIGKILL
    assert gone(child)


def test_a_missing_process_is_no_error() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        status = status_of(process)
    for kill in (False, True):
        end_processes(RUN, Job(token="t", pid=status.pid, started=status.started), status, kill)


@pytest.mark.parametrize(("kill", "how"), [(False, "terminate"), (True, "kill")])
def test_a_process_of_another_user_is_reported(
    start: Callable[..., Started], monkeypatch: pytest.MonkeyPatch, kill: bool, how: str
) -> None:
    process, _child = start()

    def denied(one: psutil.Process) -> None:
        raise psutil.AccessDenied(one.pid)

    with monkeypatch.context() as context:
        context.setattr(psutil.Process, how, denied)
        with pytest.raises(UserError, match="belongs to another user; end it as that user"):
            end_processes(RUN, None, status_of(process), kill)
    assert process.poll() is None
