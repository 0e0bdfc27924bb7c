"""Ends the processes of a run on this machine if the trainer does not react to requests."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from core.remote.job import Job
from core.spec.chain import chain_file
from core.spec.errors import UserError
from core.spec.run.processes import is_running
from core.spec.run.status import RunStatus
from core.spec.study import StudyDir


def end_processes(run: Path, job: Job | None, status: RunStatus | None, kill: bool) -> None:
    """Terminate the trainer, or kill it with its child processes and session.

    Anyone may have written ``job`` and ``status``, so a process whose command line does not name the folder ``run`` is
    left alone. Raises UserError for such a process, and for a process of another user.
    """
    try:
        _end(run, job, status, kill)
    except psutil.AccessDenied as error:
        raise UserError(f"The run's process {error.pid} belongs to another user; end it as that user.") from error


def _end(run: Path, job: Job | None, status: RunStatus | None, kill: bool) -> None:
    leader = status.pid if status and status.is_local and is_running(status.pid, status.started) else 0
    session = job.pid if kill and job and job.pid and is_running(job.pid, job.started) else 0
    for pid in filter(None, {leader, session}):
        if not _works_on(pid, run):
            raise UserError(
                f"Process {pid} is recorded as the trainer of {run}, but that folder is not in its command line, so it "
                "was left alone. If it does train this run, end it yourself."
            )
    if not kill:
        if leader:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(leader).terminate()
        return
    for pid in filter(None, {leader, session}):
        _kill_tree(pid)
    if session and sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(session, signal.SIGKILL)


def _works_on(pid: int, run: Path) -> bool:
    """Whether the command line of ``pid`` contains the folder ``run``, a file in it, or its chain or study."""
    folder = run.resolve()
    chain, study = chain_file(folder), StudyDir(folder.parent.parent)
    folders = {folder, *([chain.parent] if chain else []), *([study.path] if study.study.is_file() else [])}
    try:
        process = psutil.Process(pid)
        paths = [Path(os.path.realpath(Path(process.cwd(), word))) for word in process.cmdline()[1:] if word]
    except psutil.NoSuchProcess:
        return True
    return any(path in folders or path.is_relative_to(folder) for path in paths)


def _kill_tree(pid: int) -> None:
    try:
        process = psutil.Process(pid)
        tree = [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:
        return
    for member in tree:
        with suppress(psutil.NoSuchProcess):
            member.kill()
