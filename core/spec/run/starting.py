"""Starting a trainer as a program of its own, which outlives whoever started it.

Flow: the window's launcher, or the program on another machine, makes the run folder -> ``start_trainer``.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from core.spec.children import start_program
from core.spec.run.folder import RunDir
from core.spec.run.processes import start_time
from core.spec.run.status import RunStatus

STARTING = "starting"  # ``doing`` in the first status


def start_trainer(
    command: Sequence[str], run: RunDir, variables: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a trainer that outlives this program, its output appended to the run's logs.

    The first ``status.json`` names it, unless it was quicker and has written its own. ``variables`` are added to its
    environment. OSError when it cannot start, or its status cannot be written (it is ended then); RunDirError when its
    logs or its status would be written outside of its folder.
    """
    run.check()
    run.status.unlink(missing_ok=True)  # the previous trainer's
    run.clear_control()
    with run.stdout.open("ab") as stdout, run.stderr.open("ab") as stderr:
        process = start_program(command, stdout, stderr, detached=True, variables=variables)
    try:
        _write_first_status(process.pid, run)
    except OSError:  # nobody would find it again
        process.kill()
        process.wait()
        raise
    return process


def _write_first_status(pid: int, run: RunDir) -> None:
    """Created only where there is no file: the trainer replaces it whole, and is never overwritten."""
    status = RunStatus(pid=pid, started=start_time(pid), heartbeat=time.time(), doing=STARTING)
    try:
        with run.status.open("xb") as file:
            file.write(json.dumps(asdict(status)).encode())
    except FileExistsError:
        pass
