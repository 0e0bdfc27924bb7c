"""Ending a run's processes on this machine, when its trainer does not heed what it is asked."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

import psutil

from core.remote.job import Job
from core.spec.errors import UserError
from core.spec.run.processes import is_running
from core.spec.run.status import RunStatus


def end_processes(job: Job | None, status: RunStatus | None, kill: bool) -> None:
    """Terminate the trainer, or kill it with all that it and its session started; nothing of what is gone.

    UserError where they are another user's.
    """
    try:
        _end(job, status, kill)
    except psutil.AccessDenied as error:
        raise UserError(f"The run's process {error.pid} is another user's; end it as that user.") from error


def _end(job: Job | None, status: RunStatus | None, kill: bool) -> None:
    leader = status.pid if status and status.here and is_running(status.pid, status.started) else 0
    if not kill:
        if leader:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(leader).terminate()
        return
    session = job.pid if job and job.pid and is_running(job.pid, job.started) else 0
    for pid in filter(None, {leader, session}):
        _kill_tree(pid)
    if session and sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(session, signal.SIGKILL)


def _kill_tree(pid: int) -> None:
    try:
        process = psutil.Process(pid)
        tree = [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:
        return
    for one in tree:
        with suppress(psutil.NoSuchProcess):
            one.kill()
