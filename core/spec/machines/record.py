"""``remote.json`` in a run folder here: on which machine the run is, and in which folder there.

A run folder that has it is a mirror: its events, logs and status come from that machine, and its trainer is there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.reading import KILOBYTE, checked, read_json
from core.spec.run.folder import RunDir

NAME = "remote.json"
_Line = Annotated[str, Field(max_length=4096)]


class RecordError(UserError):
    """A ``remote.json`` that cannot be read or written."""


class RemoteRecord(BaseModel):
    """``folder`` is "" until the machine has confirmed that it has the run, and ``waiting`` until then."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    machine: _Line  # its name in the list
    host: _Line = ""  # its name for ssh, at the time
    folder: _Line = ""
    token: _Line = ""  # of the last submission: the same again starts nothing twice
    waiting: bool = False  # submitted, and not confirmed yet
    devices: list[_Line] = []
    script: Annotated[str, Field(max_length=100_000)] = ""  # in place of the sbatch script that the settings make


def record_file(folder: Path) -> Path:
    """Where the record of the run in ``folder`` would be."""
    return folder / NAME


def is_remote(folder: Path) -> bool:
    """Whether the run in ``folder`` is on another machine."""
    return record_file(folder).is_file()


def read_record(run: RunDir) -> RemoteRecord | None:
    """The record; None for a run of this computer. RecordError when it cannot be read."""
    path = record_file(run.path)
    try:
        raw = read_json(path, 256 * KILOBYTE, root=run.path, error=RecordError)
    except FileNotFoundError:
        return None
    return checked(RemoteRecord, raw, str(path), error=RecordError)


def write_record(run: RunDir, record: RemoteRecord) -> None:
    """RecordError when the disk refuses."""
    path = record_file(run.path)
    with writing(path, RecordError):
        write_whole(path, json.dumps(record.model_dump(), ensure_ascii=False).encode())
