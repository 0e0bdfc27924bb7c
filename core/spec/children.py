"""Starts child processes: command, environment and options.

Flow: launcher, studies, jobs of a study -> ``start_program`` -> ``python -P -m core ...``; the window's worker and demo
data use the same environment through ``sdgui.runs.program.qt_process``. ``-P`` and PYTHONSAFEPATH keep modules in the
current folder (another ``core``, a ``psutil.py``) from shadowing the installed modules. PYTHONPATH contains the
checkout if the package is not installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import core

STARTER_VARIABLE = "SDGUI_STARTER"  # environment variable: process ID of the program that called `start_program`
SOURCE_FOLDER = Path(core.__file__).resolve().parent.parent  # the folder with the packages core and sdgui


def python_command(module: str) -> list[str]:
    """The command that runs ``module``, without arguments."""
    return [sys.executable, "-P", "-m", module]


def environment() -> dict[str, str]:
    """The environment of a child process: this program's, with unbuffered UTF-8 output."""
    variables = dict(os.environ)
    variables |= {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "PYTHONUTF8": "1", "PYTHONSAFEPATH": "1"}
    if SOURCE_FOLDER.name not in ("site-packages", "dist-packages"):  # a checkout that is not installed
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, (str(SOURCE_FOLDER), variables.get("PYTHONPATH"))))
    return variables


def start_program(
    command: Sequence[str],
    stdout: BinaryIO,
    stderr: BinaryIO,
    detached: bool = False,
    variables: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``command`` without input, with its output to open files. Raises OSError if it cannot be started.

    ``detached``: start it in a new session, so that it survives this program and the terminal's Ctrl+C. ``variables``
    are added to its environment.
    """
    return subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=environment() | {STARTER_VARIABLE: str(os.getpid())} | dict(variables or {}),
        **(process_group() if detached else {}),
    )


def device_variables(devices: str) -> Mapping[str, str]:
    """The environment variables that restrict a program to these GPUs ("0", "0,1"), with the driver's numbers."""
    return {"CUDA_VISIBLE_DEVICES": devices, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if devices else {}


def process_group() -> dict[str, Any]:
    """Options of Popen that keep the terminal's Ctrl+C from a child process.

    On Windows, the child has no console window, but a console that the data loader's processes can share.
    """
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}
