"""``remote.json`` in a run folder here: on which machine the run is, and in which folder there.

A run folder that has it is a mirror: its events, logs and status come from that machine, and its trainer is there. Its
checkpoints are there too, as ``checkpoints.json`` lists them, until one is fetched.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.machines.answers import CheckpointFacts
from core.spec.reading import KILOBYTE, checked, checked_as, read_json
from core.spec.run.folder import RunDir

NAME = "remote.json"
CHECKPOINTS = "checkpoints.json"
_LIST: TypeAdapter[list[CheckpointFacts]] = TypeAdapter(list[CheckpointFacts], config=ConfigDict(defer_build=True))
_Line = Annotated[str, Field(max_length=4096)]


class RecordError(UserError):
    """A ``remote.json`` that cannot be read or written."""


class RemoteRecord(BaseModel):
    """``folder`` is "" until the machine has confirmed that it has the run, and ``waiting`` until then."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    machine: _Line  # its name in the list
    host: _Line = ""  # its name for ssh, at the time
    folder: _Line = ""
    computer: _Line = ""  # what the machine calls itself
    token: _Line = ""  # of the last submission: the same again starts nothing twice
    waiting: bool = False  # submitted, and not confirmed yet
    devices: list[_Line] = []
    study: bool = False  # a part of a study, which alone starts it
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


def write_checkpoints(run: RunDir, found: list[CheckpointFacts]) -> None:
    """Note which checkpoints the machine has. RecordError when the disk refuses."""
    path = run.path / CHECKPOINTS
    content = json.dumps([one.model_dump() for one in found], ensure_ascii=False).encode()
    with writing(path, RecordError):
        write_whole(path, content, durable=False)


def read_checkpoints(run: RunDir) -> list[CheckpointFacts]:
    """Which checkpoints the machine had when it was last heard, oldest first; none where that cannot be read."""
    path = run.path / CHECKPOINTS
    try:
        raw = read_json(path, 1024 * KILOBYTE, root=run.path, error=RecordError)
        return checked_as(_LIST, raw, str(path), error=RecordError)
    except (FileNotFoundError, RecordError):
        return []


def here_or_there(run: RunDir, which: str) -> str:
    """The name of the listed checkpoint that ``which`` means: "best", "last", a step or a name; "" when none."""
    found = read_checkpoints(run)
    for one in found:
        if which in (one.name, *one.pointers) or (which.isdecimal() and one.name == f"step-{int(which):08d}"):
            return one.name
    return found[-1].name if found and which in ("", "best", "last") else ""
