"""Mirrors a remote run into a local run folder, so that it can be followed like a local run.

Flow: ``Connection`` -> ``Mirror`` (its ``Sink``) -> ``events.jsonl``, ``stdout.log``, ``stderr.log``, ``status.json``.

A local file is always a prefix of the remote file: its size is the offset to continue from after any interruption, so
that nothing is lost or duplicated. A digest of the local file's end identifies the remote file; a remote file that was
replaced is copied from the start. The heartbeat is converted to the local clock by its age.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from core.spec.errors import UserError, is_full
from core.spec.files import write_whole
from core.spec.machines.answers import Bytes, RemoteStatus, Trouble
from core.spec.machines.record import RemoteRecord
from core.spec.reading import excerpt, open_regular
from core.spec.run.folder import RunDir, RunDirError
from core.spec.run.status import RunState, RunStatus

MIRRORED_FILES = ("events.jsonl", "stdout.log", "stderr.log")
DIGEST_BYTES = 4096  # the last bytes before an offset identify a file
REFRESH_SECONDS = 8.0  # between two writes of a status in which only the heartbeat changes

_SAVED = b'"kind":"checkpoint_saved"'


class InUse(UserError):
    """The run is already mirrored by another program on this computer."""


def digest_before(path: Path, offset: int) -> str:
    """A digest of the last `DIGEST_BYTES` bytes before ``offset``; "" for offset 0. Raises OSError or RunDirError."""
    if offset <= 0:
        return ""
    with open_regular(path, root=path.parent, error=RunDirError) as file:
        file.seek(max(0, offset - DIGEST_BYTES))
        return hashlib.sha256(file.read(min(offset, DIGEST_BYTES))).hexdigest()


class Mirror:
    """A mirrored run. Its methods are called in the connection's thread, ``close`` in any thread."""

    def __init__(self, run: RunDir, record: RemoteRecord) -> None:
        """Raises InUse if another program mirrors the run, RunDirError if the folder is not writable."""
        import filelock  # noqa: PLC0415  (not needed for reading)

        self.run, self.record = run, record
        run.check()
        self._lock = filelock.FileLock(run.path / ".mirror.lock", timeout=0, thread_local=False)
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            raise InUse(f"the run {run.path.name} is already followed by another program.") from error
        except OSError as error:
            raise run.unwritable(error) from error
        self.problem = ""  # why received data cannot be written
        self.trouble = ""  # why the machine cannot read the run
        self.has_unlisted_checkpoints = True  # the machine may have checkpoints that ``checkpoints.json`` does not list
        self.gap = False  # received data could not be written, so that following must start again
        self.remote_status: RemoteStatus | None = None
        self._last_status: RunStatus | None = None
        self._last_write = 0.0
        self._status_lock = threading.Lock()

    def close(self) -> None:
        """Let other programs mirror the run."""
        self._lock.release()

    @property
    def done(self) -> bool:
        """Whether the machine has reported the run as done."""
        return self.remote_status is not None and self.remote_status.state is RunState.DONE

    def offsets(self) -> dict[str, Any]:
        """The size of each local file, and a digest of its end, which identifies the remote file."""
        self.gap = False
        files = {}
        for name in MIRRORED_FILES:
            path = self.run.path / name
            size = _size(path)
            files[name] = {"offset": size, "digest": digest_before(path, size)}
        return {"files": files}

    def append(self, part: Bytes) -> None:
        """Append the new bytes of ``part``."""
        path = self.run.path / part.file
        self.has_unlisted_checkpoints = self.has_unlisted_checkpoints or _SAVED in part.data
        try:
            self._append(path, part)
            self.problem = ""
        except (OSError, UserError) as error:
            self.gap = True
            full = isinstance(error, OSError) and is_full(error)
            remedy = "free some space" if full else "make it writable"
            reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
            self.problem = f"{path} cannot be written: {reason}; {remedy}, and following continues."

    def _append(self, path: Path, part: Bytes) -> None:
        if part.restart and part.offset == 0:
            with suppress(FileNotFoundError):
                path.unlink()
        size = _size(path)
        if part.offset > size:  # earlier bytes were not written
            self.gap = True
            return
        new = part.data[size - part.offset :]
        if not new:
            return
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            unwritten = memoryview(new)
            while unwritten:
                unwritten = unwritten[os.write(file, unwritten) :]
        finally:
            os.close(file)

    def update_status(self, remote_status: RemoteStatus) -> None:
        """Write the status, with the heartbeat on the local clock."""
        self.remote_status, self.trouble = remote_status, ""
        source, state = remote_status.status, remote_status.state
        status = RunStatus(
            pid=source.pid if source else 0,
            started=source.started if source else 0.0,
            heartbeat=self._heartbeat(remote_status),
            step=source.step if source else remote_status.step,
            total_steps=source.total_steps if source else 0,
            doing=self._activity(remote_status),
            seconds_left=source.seconds_left if source and state is RunState.RUNNING else None,
        )
        self.write_status(status, state, remote_status.note)

    def report_trouble(self, trouble: Trouble) -> None:
        """Keep the reason why the machine cannot read the run, until the next status."""
        self.trouble = f"{self.record.machine}: {excerpt(trouble.message, 1000)}"

    def _heartbeat(self, remote_status: RemoteStatus) -> float:
        """The heartbeat on the local clock; its age is ignored if a scheduler reports the run as running or pending."""
        by_trainer = remote_status.state.alive and not remote_status.scheduler
        age = remote_status.age if by_trainer and remote_status.age is not None else 0.0
        return max(0.0, time.time() - max(0.0, age))

    def _activity(self, remote_status: RemoteStatus) -> str:
        if remote_status.state is RunState.STARTING:
            return (remote_status.note or "starting")[:1000]
        return remote_status.status.doing if remote_status.status and remote_status.state.alive else ""

    def write_status(self, status: RunStatus, state: RunState, note: str = "") -> None:
        """Write ``status`` and the reported ``state`` to ``status.json``, if they changed or the heartbeat is due."""
        new_status = replace(status, host=f"{self.record.machine} (remote)", verdict=state, note=note[:4000])
        with self._status_lock:
            previous, time_now = self._last_status, time.monotonic()
            same = previous is not None and replace(previous, heartbeat=0.0) == replace(new_status, heartbeat=0.0)
            if same and time_now - self._last_write < REFRESH_SECONDS:
                return
            try:
                write_whole(self.run.status, json.dumps(asdict(new_status)).encode(), durable=False)
            except OSError as error:
                self.problem = f"{self.run.status} cannot be written: {error.strerror}; free some space."
                return
            self._last_status, self._last_write = new_status, time_now


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
