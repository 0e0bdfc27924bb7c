"""Child processes of this program: the command, environment and options that all of them are started with.

Flow: launcher, studies, jobs of a study -> ``start_program`` -> ``python -P -m core ...``; the window's worker and demo
data take the same environment through ``sdgui.runs.program.qt_process``. ``-P`` and PYTHONSAFEPATH keep modules in the
current folder (another ``core``, a ``psutil.py``) from being imported in place of the installed ones. PYTHONPATH names
the checkout where the package is not installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import core

SOURCE = Path(core.__file__).resolve().parent.parent  # the folder that holds the packages


def python_command(module: str) -> list[str]:
    """The command that runs a ``module`` of this program; append its arguments."""
    return [sys.executable, "-P", "-m", module]


def environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child: this program's, or ``base``, with unbuffered UTF-8 output."""
    found = dict(os.environ if base is None else base)
    found |= {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "PYTHONUTF8": "1", "PYTHONSAFEPATH": "1"}
    if SOURCE.name not in ("site-packages", "dist-packages"):  # a checkout that is not installed
        found["PYTHONPATH"] = os.pathsep.join(filter(None, (str(SOURCE), found.get("PYTHONPATH"))))
    return found


def start_program(
    command: Sequence[str],
    stdout: BinaryIO,
    stderr: BinaryIO,
    detached: bool = False,
    variables: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``command`` without input, its output written to open files; OSError when it cannot be started.

    A ``detached`` one has a session of its own, so that it survives this program and the terminal's Ctrl+C.
    ``variables`` are added to its environment.
    """
    return subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=environment() | dict(variables or {}),
        start_new_session=detached and sys.platform != "win32",
        creationflags=_creation_flags() if detached else 0,
    )


def device_variables(devices: str) -> Mapping[str, str]:
    """The environment in which a program sees these GPUs alone ("0", "0,1"); they are numbered as the driver does."""
    return {"CUDA_VISIBLE_DEVICES": devices, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if devices else {}


def process_group() -> dict[str, Any]:
    """Options of Popen for a program that is spoken with: Ctrl+C in this one's terminal is not for it."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _creation_flags() -> int:
    """On Windows no console window, but a console that the data loader's processes can share."""
    if sys.platform == "win32":
        return subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    return 0
