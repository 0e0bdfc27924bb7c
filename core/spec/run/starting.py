"""Starts a trainer as an independent process.

Flow: the window's launcher, or the program on another machine, creates the run folder -> ``start_trainer``.
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

STARTING = "starting"  # the activity in the first status


def start_trainer(
    command: Sequence[str], run: RunDir, variables: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a trainer that outlives this program; its output is appended to the run's logs.

    Writes the first ``status.json``, unless the trainer already has. ``variables`` are added to its environment.
    Raises OSError if the trainer cannot be started, or its status cannot be written (the trainer is then killed);
    RunDirError if logs or status would be written outside the run folder.
    """
    run.check()
    run.status.unlink(missing_ok=True)  # written by the previous trainer
    run.clear_control()
    with run.stdout.open("ab") as stdout, run.stderr.open("ab") as stderr:
        process = start_program(command, stdout, stderr, detached=True, variables=variables)
    try:
        _write_first_status(process.pid, run)
    except OSError:  # without a status the process could not be found again
        process.kill()
        process.wait()
        raise
    return process


def _write_first_status(pid: int, run: RunDir) -> None:
    """Write the first status unless the file exists, so that the trainer's status is never overwritten."""
    status = RunStatus(pid=pid, started=start_time(pid), heartbeat=time.time(), doing=STARTING)
    try:
        with run.status.open("xb") as file:
            file.write(json.dumps(asdict(status)).encode())
    except FileExistsError:
        pass
