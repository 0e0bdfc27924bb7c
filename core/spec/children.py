"""How this program starts itself again: the command and the environment of trainers, workers and jobs of a study.

The folder that a program was started in may hold a ``core`` or a ``psutil.py`` too, which are none of ours: ``-P``
keeps it out of what is imported. Where the code is a checkout that is not installed, PYTHONPATH says where it lies.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import core

SOURCE = Path(core.__file__).resolve().parent.parent  # the folder that holds the packages


def python_command(module: str) -> list[str]:
    """The command that runs ``module`` of ours; its arguments follow."""
    return [sys.executable, "-P", "-m", module]


def environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """This program's environment, or ``base``, with what a program without a terminal needs."""
    found = dict(os.environ if base is None else base)
    found |= {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "PYTHONUTF8": "1", "PYTHONSAFEPATH": "1"}
    if SOURCE.name not in ("site-packages", "dist-packages"):  # a checkout that is not installed
        found["PYTHONPATH"] = os.pathsep.join(filter(None, (str(SOURCE), found.get("PYTHONPATH"))))
    return found
