"""Running ``core`` as a separate program, detached from the window.

Flow: the launcher starts trainers, the study programs their studies; command and environment are those of
``core.spec.children``.
"""

from __future__ import annotations

import psutil
from PySide6.QtCore import QObject, QProcess, QProcessEnvironment

from core.spec.children import environment, python_command
from core.spec.run.starting import start_trainer  # it is found here too
from core.spec.run.status import RunStatus

__all__ = ["core_command", "end_process", "qt_process", "start_trainer", "torchrun_command"]


def core_command() -> list[str]:
    """The command that the trainer's verbs follow."""
    return python_command("core")


def torchrun_command(processes: int) -> list[str]:
    """The command that the trainer's verbs follow, with one process a GPU of this computer."""
    torchrun = [*python_command("torch.distributed.run"), "--standalone", f"--nproc-per-node={processes}"]
    return [*torchrun, "-m", "core"]


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
