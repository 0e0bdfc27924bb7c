"""``remote.json`` in a local run folder: the run's machine and remote folder.

A run folder with this file is a mirror: the trainer, events, logs and status are on the machine, and so are the
checkpoints (listed in ``checkpoints.json``) until they are fetched.

A record has effects: its script is submitted, and requests are sent to its remote folder. So each record has a seal, an
HMAC (RFC 2104) over its fields and its local folder, with a key that only this user can read. A record without a valid
seal, because someone else wrote it or the folder was copied or moved, is ignored: the run counts as local.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.machines.answers import CheckpointFacts
from core.spec.reading import KILOBYTE, parse_json, read_bytes, read_json, validate, validate_as
from core.spec.run.folder import RunDir

RECORD_FILE = "remote.json"
CHECKPOINTS_FILE = "checkpoints.json"
_KEY_BYTES = 32
_CHECKPOINT_LIST: TypeAdapter[list[CheckpointFacts]] = TypeAdapter(
    list[CheckpointFacts], config=ConfigDict(defer_build=True)
)
MAX_SCRIPT_LENGTH = 100_000
_Line = Annotated[str, Field(max_length=4096)]


class RecordError(UserError):
    """A ``remote.json`` that cannot be read or written."""


class RemoteRecord(BaseModel):
    """The machine of a run. ``folder`` is "" and ``waiting`` is true until the machine has confirmed the run."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    machine: _Line  # the machine's name in the list
    host: _Line = ""  # the machine's ssh name at the time of the launch
    folder: _Line = ""
    computer: _Line = ""  # the machine's host name
    token: _Line = ""  # makes the last submission idempotent
    waiting: bool = False  # submitted, but not confirmed yet
    devices: list[_Line] = []
    study: bool = False  # whether the run belongs to a study, which alone may start the run
    script: Annotated[str, Field(max_length=MAX_SCRIPT_LENGTH)] = ""  # replaces the sbatch script from the settings


def record_file(folder: Path) -> Path:
    """The path of the record of a run folder."""
    return folder / RECORD_FILE


def is_remote(folder: Path) -> bool:
    """Whether the run in ``folder`` is on another machine. Raises the errors of `read_record`."""
    return read_record(RunDir(folder)) is not None


def read_record(run: RunDir) -> RemoteRecord | None:
    """The record of a run; None for a local run, and for a record that this user did not write for this folder.

    Raises RecordError if the file cannot be read.
    """
    path = record_file(run.path)
    try:
        raw = parse_json(
            read_bytes(path, 256 * KILOBYTE, root=run.path, error=RecordError), RECORD_FILE, error=RecordError
        )
        record = validate(RemoteRecord, raw, RECORD_FILE, error=RecordError)
        genuine = hmac.compare_digest(str(raw.get("seal")).encode(errors="replace"), _seal(run, record, _key()))
    except FileNotFoundError:  # there is no record, or no key because this user has never written a record
        return None
    except RecordError as error:
        if isinstance(error.__cause__, OSError):
            raise
        return None
    return record if genuine else None


def no_record(run: RunDir) -> str:
    """The message that a run without a record has no remote checkpoints, with the remedy."""
    if not record_file(run.path).exists():
        return f"{run.path.name} is trained on this computer; its checkpoints are in {run.checkpoints}."
    return (
        f"{record_file(run.path)} was not written by you for this folder, so no machine is contacted; if you moved the "
        "folder, move it back, or copy the checkpoint from the machine manually."
    )


def write_record(run: RunDir, record: RemoteRecord) -> None:
    """Write the record of ``run``. Raises RecordError if it cannot be written."""
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
        raise RecordError(f"{_key_file()} is damaged; delete it, and launch your runs on other machines again.")
    return key


def _make_key() -> bytes:
    """This user's key, created if missing. Two programs may call this at the same time."""
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
    """Write the list of the checkpoints on the machine. Raises RecordError if it cannot be written."""
    path = run.path / CHECKPOINTS_FILE
    content = json.dumps([checkpoint.model_dump() for checkpoint in checkpoints], ensure_ascii=False).encode()
    with writing(path, RecordError):
        write_whole(path, content, durable=False)


def read_checkpoints(run: RunDir) -> list[CheckpointFacts]:
    """The last known checkpoints on the machine, oldest first; [] if unknown."""
    path = run.path / CHECKPOINTS_FILE
    try:
        raw = read_json(path, 1024 * KILOBYTE, root=run.path, error=RecordError)
        return validate_as(_CHECKPOINT_LIST, raw, str(path), error=RecordError)
    except (FileNotFoundError, RecordError):
        return []


def find_checkpoint(checkpoints: Sequence[CheckpointFacts], name: str) -> CheckpointFacts | None:
    """The checkpoint called ``name``: "best", "last" (by default the newest), a step or a name; None if missing."""
    step_name = f"step-{name.lstrip('0'):0>8}" if name.isdecimal() else name
    for checkpoint in checkpoints:
        if checkpoint.name == step_name or name in checkpoint.pointers:
            return checkpoint
    return checkpoints[-1] if checkpoints and name in ("", "best", "last") else None


def remote_checkpoint(run: RunDir, name: str) -> str:
    """The name of the listed checkpoint ``name`` of ``run``, see `find_checkpoint`; "" if unknown."""
    checkpoint = find_checkpoint(read_checkpoints(run), name)
    return checkpoint.name if checkpoint is not None else ""
