"""A run on a machine, mirrored into a run folder here, so that whoever follows run folders follows it too.

Flow: ``Connection`` -> ``Mirror`` (its ``Sink``) -> ``events.jsonl``, ``stdout.log``, ``stderr.log``, ``status.json``.

A file here is always a beginning of the file there: its size is the offset to go on from, whatever was killed or cut
in between, so that nothing can be lost or doubled. What was read before is recognised by a digest of its end; where the
file there has become another one, it is copied anew. The heartbeat is set to this computer's clock by its age there.
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
from core.spec.machines.answers import Bytes, Standing
from core.spec.machines.record import RemoteRecord
from core.spec.reading import excerpt, open_regular
from core.spec.run.folder import RunDir, RunDirError
from core.spec.run.status import RunState, RunStatus

FILES = ("events.jsonl", "stdout.log", "stderr.log")
DIGESTED = 4096  # bytes before an offset, by which a file is recognised
REFRESH_SECONDS = 8.0  # between two writes of a status in which only the heartbeat is new

_SAVED = b'"kind":"checkpoint_saved"'


class InUse(UserError):
    """Another program of this computer mirrors the run already."""


def digest_before(path: Path, offset: int) -> str:
    """A digest of the last `DIGESTED` bytes before ``offset``; "" where there are none. OSError, RunDirError."""
    if offset <= 0:
        return ""
    with open_regular(path, root=path.parent, error=RunDirError) as file:
        file.seek(max(0, offset - DIGESTED))
        return hashlib.sha256(file.read(min(offset, DIGESTED))).hexdigest()


class Mirror:
    """One run. Its methods are called in the connection's thread, ``close`` in any."""

    def __init__(self, run: RunDir, record: RemoteRecord) -> None:
        """InUse when another program mirrors it; RunDirError when the folder cannot be written."""
        import filelock  # noqa: PLC0415  (whoever only reads does without)

        self.run, self.record = run, record
        run.check()
        self._lock = filelock.FileLock(run.path / ".mirror.lock", timeout=0, thread_local=False)
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            raise InUse(f"the run {run.path.name} is followed by another program already.") from error
        except OSError as error:
            raise run.unwritable(error) from error
        self.trouble = ""  # why what arrives cannot be written here
        self.saved = True  # there may be checkpoints that ``checkpoints.json`` does not list
        self.gap = False  # something could not be written: following must begin again
        self.standing: Standing | None = None
        self._shown: RunStatus | None = None
        self._renewed = 0.0
        self._status_lock = threading.Lock()

    def close(self) -> None:
        """Another program may mirror it now."""
        self._lock.release()

    @property
    def done(self) -> bool:
        """Whether its machine has called it done."""
        return self.standing is not None and self.standing.state is RunState.DONE

    def offsets(self) -> dict[str, Any]:
        """The sizes of what is here, and a digest of the end of each, by which the other side recognises it."""
        self.gap = False
        found = {}
        for name in FILES:
            path = self.run.path / name
            size = _size(path)
            found[name] = {"offset": size, "digest": digest_before(path, size)}
        return {"files": found}

    def grew(self, part: Bytes) -> None:
        """Append what is new of it."""
        path = self.run.path / part.file
        self.saved = self.saved or _SAVED in part.data
        try:
            self._append(path, part)
            self.trouble = ""
        except (OSError, UserError) as error:
            self.gap = True
            full = isinstance(error, OSError) and is_full(error)
            remedy = "free some space" if full else "see that it can be written"
            said = (error.strerror if isinstance(error, OSError) else "") or str(error)
            self.trouble = f"{excerpt(str(path))} cannot be written: {said}; {remedy}, and following goes on."

    def _append(self, path: Path, part: Bytes) -> None:
        if part.anew and part.at == 0:
            with suppress(FileNotFoundError):
                path.unlink()
        size = _size(path)
        if part.at > size:  # something before it was not written
            self.gap = True
            return
        new = part.data[size - part.at :]
        if not new:
            return
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            left = memoryview(new)
            while left:
                left = left[os.write(file, left) :]
        finally:
            os.close(file)

    def stands(self, standing: Standing) -> None:
        """Write the status, on this computer's clock."""
        self.standing = standing
        told = standing.status
        status = RunStatus(
            pid=told.pid if told else 0,
            started=told.started if told else 0.0,
            heartbeat=self._heartbeat(standing),
            step=told.step if told else standing.step,
            total_steps=told.total_steps if told else 0,
            doing=self._doing(standing),
            seconds_left=told.seconds_left if told and standing.state is RunState.RUNNING else None,
        )
        self.show(status, standing.state, standing.note)

    def _heartbeat(self, standing: Standing) -> float:
        """Now, less its age. A scheduler that says that it runs or waits is believed whatever its age."""
        by_trainer = standing.state.alive and not standing.scheduler
        age = standing.age if by_trainer and standing.age is not None else 0.0
        return max(0.0, time.time() - max(0.0, age))

    def _doing(self, standing: Standing) -> str:
        if standing.state is RunState.STARTING:
            return (standing.note or "starting")[:1000]
        return standing.status.doing if standing.status and standing.state.alive else ""

    def show(self, status: RunStatus, state: RunState, note: str = "") -> None:
        """Write ``status.json``, if it says something new or its heartbeat is due."""
        told = replace(status, host=f"{self.record.machine} (remote)", verdict=state.value, note=note[:4000])
        with self._status_lock:
            shown, now = self._shown, time.monotonic()
            same = shown is not None and replace(shown, heartbeat=0.0) == replace(told, heartbeat=0.0)
            if same and now - self._renewed < REFRESH_SECONDS:
                return
            try:
                write_whole(self.run.status, json.dumps(asdict(told)).encode(), durable=False)
            except OSError as error:
                self.trouble = f"{self.run.status} cannot be written: {error.strerror}; free some space."
                return
            self._shown, self._renewed = told, now


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
