"""``remote.json`` in a run folder here: on which machine the run is, and in which folder there.

A run folder that has it is a mirror: its events, logs and status come from that machine, and its trainer is there. Its
checkpoints are there too, as ``checkpoints.json`` lists them, until one is fetched.

A record is acted on: its script is submitted, and requests go to the folder that it names. So each carries a seal, an
HMAC (RFC 2104) over its fields and its own folder, made with a key that only this user can read. A record without a
valid seal, because someone else wrote it or its folder was copied or moved, counts as none: the run is local data.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.machines.answers import CheckpointFacts
from core.spec.reading import KILOBYTE, checked, checked_as, parse_json, read_bytes, read_json
from core.spec.run.folder import RunDir

NAME = "remote.json"
CHECKPOINTS = "checkpoints.json"
_KEY_BYTES = 32
_LIST: TypeAdapter[list[CheckpointFacts]] = TypeAdapter(list[CheckpointFacts], config=ConfigDict(defer_build=True))
LONGEST_SCRIPT = 100_000  # characters
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
    script: Annotated[str, Field(max_length=LONGEST_SCRIPT)] = (
        ""  # in place of the sbatch script that the settings make
    )


def record_file(folder: Path) -> Path:
    """Where the record of the run in ``folder`` would be."""
    return folder / NAME


def is_remote(folder: Path) -> bool:
    """Whether the run in ``folder`` is on another machine. RecordError as `read_record`."""
    return read_record(RunDir(folder)) is not None


def read_record(run: RunDir) -> RemoteRecord | None:
    """The record; None for a run of this computer, and for a record that this user did not write for this folder.

    RecordError when the disk refuses.
    """
    path = record_file(run.path)
    try:
        raw = parse_json(read_bytes(path, 256 * KILOBYTE, root=run.path, error=RecordError), NAME, error=RecordError)
        record = checked(RemoteRecord, raw, NAME, error=RecordError)
        genuine = hmac.compare_digest(str(raw.get("seal")).encode(errors="replace"), _seal(run, record, _key()))
    except FileNotFoundError:  # no record, or no key: this user has never written one
        return None
    except RecordError as error:
        if isinstance(error.__cause__, OSError):
            raise
        return None
    return record if genuine else None


def no_record(run: RunDir) -> str:
    """Why nothing can be fetched for a run without a record, and what to do, for people."""
    if not record_file(run.path).exists():
        return f"{run.path.name} trains on this computer; its checkpoints are in {run.checkpoints}."
    return (
        f"{record_file(run.path)} was not written by you for this folder, so no machine is asked; move the folder back "
        "if you moved it, or copy the checkpoint from the machine yourself."
    )


def write_record(run: RunDir, record: RemoteRecord) -> None:
    """RecordError when the disk refuses."""
    path = record_file(run.path)
    with writing(path, RecordError):
        seal = _seal(run, record, _make_key())
        write_whole(path, json.dumps({**record.model_dump(), "seal": seal.decode()}, ensure_ascii=False).encode())


def _seal(run: RunDir, record: RemoteRecord, key: bytes) -> bytes:
    sealed: list[Any] = [os.path.realpath(run.path), record.model_dump()]
    return hmac.new(key, json.dumps(sealed, sort_keys=True).encode(), hashlib.sha256).hexdigest().encode()


def _key_file() -> Path:
    import platformdirs  # noqa: PLC0415  (most runs have no record)

    return platformdirs.user_data_path("sdgui", appauthor=False) / "remote.key"


def _key() -> bytes:
    """This user's key; FileNotFoundError before one was made."""
    key = read_bytes(_key_file(), KILOBYTE, error=RecordError)
    if len(key) < _KEY_BYTES:
        raise RecordError(f"{_key_file()} is damaged; delete it. Runs on other machines must then be launched again.")
    return key


def _make_key() -> bytes:
    """This user's key, made where there is none; two programs that make one at once agree."""
    import filelock  # noqa: PLC0415  (whoever only reads does without)

    path = _key_file()
    try:
        return _key()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_suffix(".lock")):
        if not path.exists():
            temporary = path.with_suffix(".tmp")
            temporary.unlink(missing_ok=True)
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
            temporary.replace(path)
    return _key()


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
