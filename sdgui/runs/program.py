"""Running ``core`` as a program of its own, detached from the window.

Flow: the launcher starts trainers, the study programs their studies; command and environment are those of
``core.spec.children``.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict

import psutil
from PySide6.QtCore import QObject, QProcess, QProcessEnvironment

from core.spec.children import environment, python_command, start_program
from core.spec.run.folder import RunDir
from core.spec.run.status import RunStatus
from sdgui.store.summary import STARTING


def core_command() -> list[str]:
    """The command that the trainer's verbs follow."""
    return python_command("core")


def start_trainer(command: Sequence[str], run: RunDir) -> subprocess.Popen[bytes]:
    """Start a trainer that outlives this program, its output appended to the run's logs.

    The first ``status.json`` names it, unless it was quicker and has written its own. OSError when it cannot start,
    RunDirError when its logs or its status would be written outside of its folder.
    """
    run.check()
    run.status.unlink(missing_ok=True)  # the previous trainer's
    run.clear_control()
    with run.stdout.open("ab") as stdout, run.stderr.open("ab") as stderr:
        process = start_program(command, stdout, stderr, detached=True)
    _write_first_status(process.pid, run)
    return process


def _write_first_status(pid: int, run: RunDir) -> None:
    """Created only where there is no file: the trainer replaces it whole, and is never overwritten."""
    status = RunStatus(pid=pid, started=start_time(pid), heartbeat=time.time(), doing=STARTING)
    try:
        with run.status.open("xb") as file:
            file.write(json.dumps(asdict(status)).encode())
    except FileExistsError:
        pass


def start_time(pid: int) -> float:
    """When the process began; now, where it has exited already (its output says why)."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return time.time()


def qt_process(parent: QObject) -> QProcess:
    """A child process of the window, not started yet, with the environment of all children."""
    process = QProcess(parent)
    variables = QProcessEnvironment()
    for name, value in environment().items():
        variables.insert(name, value)
    process.setProcessEnvironment(variables)
    return process


def end_process(status: RunStatus, kill: bool) -> None:
    """End the process that ``status`` names, and when killing all that it started; nothing if it is gone."""
    try:
        process = psutil.Process(status.pid)
        if abs(process.create_time() - status.started) >= 2.0:
            return  # another program has its number by now
        if not kill:
            process.terminate()
            return
        for child in (*process.children(recursive=True), process):
            _kill(child)
    except psutil.NoSuchProcess:
        return


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
