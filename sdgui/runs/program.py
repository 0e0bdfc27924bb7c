"""Runs ``core`` as a separate program, detached from the window.

Flow: the launcher starts trainers, and study programs start studies, with the command and environment of
``core.spec.children``.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil
from PySide6.QtCore import QObject, QProcess, QProcessEnvironment

from core.spec.chain import read_chain
from core.spec.children import environment, python_command
from core.spec.config import read_config
from core.spec.errors import UserError
from core.spec.run.code import code_option, references
from core.spec.run.folder import RunDir
from core.spec.run.status import RunStatus
from core.spec.study import StudyStatus


def core_command() -> list[str]:
    """The command line of ``core``, without a subcommand."""
    return python_command("core")


def torchrun_command(processes: int) -> list[str]:
    """The command line that runs ``core`` in this many processes, one per GPU, without a subcommand."""
    torchrun = [*python_command("torch.distributed.run"), "--standalone", f"--nproc-per-node={processes}"]
    return [*torchrun, "-m", "core"]


def train_options(folder: RunDir, chain: Path | None) -> list[str]:
    """Options of ``train``. Raises UserError for a chain with custom code: its stages would not store a copy."""
    if chain is None:
        return code_option(read_config(folder.config))
    if any(references(stage.config) for stage in read_chain(chain).stages):
        raise UserError(f"{chain.parent.name} has custom code; train it with sdgui-core train {chain}.")
    return ["--stage-logs"]


def qt_process(parent: QObject) -> QProcess:
    """A child process of the window, not started yet, with the environment of all children."""
    process = QProcess(parent)
    variables = QProcessEnvironment()
    for name, value in environment().items():
        variables.insert(name, value)
    process.setProcessEnvironment(variables)
    return process


def end_process(status: RunStatus | StudyStatus, kill: bool) -> None:
    """End the process in ``status``; with ``kill``, its children too. Does nothing if the process has ended."""
    try:
        process = psutil.Process(status.pid)
        if abs(process.create_time() - status.started) >= 2.0:
            return  # the process id has been reused by another program
        if not kill:
            process.terminate()
            return
        for member in (*process.children(recursive=True), process):
            with suppress(psutil.NoSuchProcess):
                member.kill()
    except psutil.NoSuchProcess:
        return
