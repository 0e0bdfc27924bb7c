"""``remote.json`` in a local run folder: the machine of the run, and its remote folder.

A run folder with this file is a mirror: its trainer, events, logs and status are on that machine, and so are its
checkpoints (listed in ``checkpoints.json``) until they are fetched.

A record has effects: its script is submitted, and requests go to the folder that it names. So each has a seal, an HMAC
(RFC 2104) over its fields and its local folder, with a key that only this user can read. A record without a valid seal,
because someone else wrote it or its folder was copied or moved, is ignored: the run is local data.
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
from core.spec.reading import KILOBYTE, parse_json, read_bytes, read_json, validate, validate_as
from core.spec.run.folder import RunDir

NAME = "remote.json"
CHECKPOINTS = "checkpoints.json"
_KEY_BYTES = 32
_LIST: TypeAdapter[list[CheckpointFacts]] = TypeAdapter(list[CheckpointFacts], config=ConfigDict(defer_build=True))
MAX_SCRIPT_LENGTH = 100_000  # characters
_Line = Annotated[str, Field(max_length=4096)]


class RecordError(UserError):
    """A ``remote.json`` that cannot be read or written."""


class RemoteRecord(BaseModel):
    """``folder`` is "" and ``waiting`` is true until the machine has confirmed the run."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    machine: _Line  # its name in the list
    host: _Line = ""  # its ssh name at that time
    folder: _Line = ""
    computer: _Line = ""  # the machine's host name
    token: _Line = ""  # of the last submission, which it makes idempotent
    waiting: bool = False  # submitted, but not confirmed yet
    devices: list[_Line] = []
    study: bool = False  # a run of a study, which only the study starts
    script: Annotated[str, Field(max_length=MAX_SCRIPT_LENGTH)] = ""  # instead of the sbatch script from the settings


def record_file(folder: Path) -> Path:
    """The path of the record of a run folder."""
    return folder / NAME


def is_remote(folder: Path) -> bool:
    """Whether the run in ``folder`` is on another machine. Raises RecordError as `read_record` does."""
    return read_record(RunDir(folder)) is not None


def read_record(run: RunDir) -> RemoteRecord | None:
    """The record; None for a local run, and for a record that this user did not write for this folder.

    RecordError when it cannot be read.
    """
    path = record_file(run.path)
    try:
        raw = parse_json(read_bytes(path, 256 * KILOBYTE, root=run.path, error=RecordError), NAME, error=RecordError)
        record = validate(RemoteRecord, raw, NAME, error=RecordError)
        genuine = hmac.compare_digest(str(raw.get("seal")).encode(errors="replace"), _seal(run, record, _key()))
    except FileNotFoundError:  # no record, or no key: this user has never written one
        return None
    except RecordError as error:
        if isinstance(error.__cause__, OSError):
            raise
        return None
    return record if genuine else None


def no_record(run: RunDir) -> str:
    """The message that a run without a record has nothing to fetch, with the remedy."""
    if not record_file(run.path).exists():
        return f"{run.path.name} trains on this computer; its checkpoints are in {run.checkpoints}."
    return (
        f"{record_file(run.path)} was not written by you for this folder, so no machine is contacted; move the folder "
        "back if you moved it, or copy the checkpoint from the machine yourself."
    )


def write_record(run: RunDir, record: RemoteRecord) -> None:
    """Write the record. RecordError when it cannot be written."""
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
    """This user's key; FileNotFoundError before it is created."""
    key = read_bytes(_key_file(), KILOBYTE, error=RecordError)
    if len(key) < _KEY_BYTES:
        raise RecordError(f"{_key_file()} is damaged; delete it. Runs on other machines must then be launched again.")
    return key


def _make_key() -> bytes:
    """This user's key, created if missing; safe if two programs create it at once."""
    import filelock  # noqa: PLC0415  (not needed for reading)

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


def write_checkpoints(run: RunDir, checkpoints: list[CheckpointFacts]) -> None:
    """Record the checkpoints on the machine. RecordError when it cannot be written."""
    path = run.path / CHECKPOINTS
    content = json.dumps([checkpoint.model_dump() for checkpoint in checkpoints], ensure_ascii=False).encode()
    with writing(path, RecordError):
        write_whole(path, content, durable=False)


def read_checkpoints(run: RunDir) -> list[CheckpointFacts]:
    """The machine's checkpoints as last known, oldest first; [] if unknown."""
    path = run.path / CHECKPOINTS
    try:
        raw = read_json(path, 1024 * KILOBYTE, root=run.path, error=RecordError)
        return validate_as(_LIST, raw, str(path), error=RecordError)
    except (FileNotFoundError, RecordError):
        return []


def remote_checkpoint(run: RunDir, name: str) -> str:
    """The listed checkpoint that ``name`` denotes: "best", "last", a step or a name; "" if unknown."""
    checkpoints = read_checkpoints(run)
    for checkpoint in checkpoints:
        if name in (checkpoint.name, *checkpoint.pointers) or (
            name.isdecimal() and checkpoint.name == f"step-{int(name):08d}"
        ):
            return checkpoint.name
    return checkpoints[-1].name if checkpoints and name in ("", "best", "last") else ""
