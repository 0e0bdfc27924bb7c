"""``job.json`` in a remote run folder: how the run was started, and its process or Slurm job.

The stages of a chain share one process or job, and one file in the chain's folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from core.spec.chain import chain_file
from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.machines.machine import Launcher
from core.spec.reading import KILOBYTE, read_json, validate
from core.spec.run.folder import RunDir, RunDirError

_ShortText = Annotated[str, Field(max_length=4096)]
_JOB_FILE = "job.json"


class Job(BaseModel):
    """How a run was started."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    token: _ShortText  # identifies the request, so that a repeated request is recognised
    launcher: Launcher = "direct"
    submitted: float = 0.0  # time on this machine's clock
    pid: Annotated[int, Field(ge=0, lt=1 << 31)] = 0  # session leader of a direct start
    started: float = 0.0  # start time of the process ``pid``
    job: Annotated[str, Field(pattern=r"^\d{0,20}$")] = ""  # number of the Slurm job, never an option of scancel
    name: _ShortText = ""  # name of the Slurm job; "" for the run folder's name
    result: _ShortText = ""  # file in the run folder that marks completion; "" if the trainer's last event does

    @property
    def is_unconfirmed(self) -> bool:
        """Whether sbatch did not report a number; Slurm may nevertheless have accepted the job."""
        return self.launcher == "slurm" and not self.job


def read_job(run: RunDir) -> Job | None:
    """The job of ``run``; None if nothing was started. Raises UserError for an unreadable file."""
    path = _file(run)
    try:
        raw = read_json(path, 64 * KILOBYTE, root=path.parent, error=RunDirError)
    except FileNotFoundError:
        return None
    return validate(Job, raw, str(path), error=RunDirError)


def write_job(run: RunDir, job: Job) -> None:
    """Write the job of ``run``. Raises UserError if the file cannot be written."""
    path = _file(run)
    with writing(path, UserError):
        write_whole(path, json.dumps(job.model_dump()).encode())


def _file(run: RunDir) -> Path:
    chain = chain_file(run.path)
    return (chain.parent if chain else run.path) / _JOB_FILE
