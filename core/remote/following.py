"""Follows runs for the client: sends the appended bytes of their files, and their progress.

Flow: ``follow`` with the sizes that the client has -> new bytes of ``events.jsonl``, ``stdout.log`` and
``stderr.log`` -> a ``run_status`` message on each change, and every few seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from core.remote.run_progress import WatchedRun
from core.remote.slurm import Slurm
from core.spec.errors import UserError
from core.spec.machines.answers import RemoteStatus, pack_bytes
from core.spec.machines.mirror import MIRRORED_FILES, digest_before
from core.spec.reading import excerpt, open_regular, validate_as
from core.spec.run.folder import RunDir, RunDirError

POLL_SECONDS = 0.05
_QUIET_POLL_SECONDS = 0.15  # poll interval of a run that has not written for `_QUIET_AFTER` seconds
_QUIET_AFTER = 5.0
_ENDED_POLL_SECONDS = 1.0  # poll interval of a run without a trainer
_PROGRESS_SECONDS = 1.0
_RENEWAL_SECONDS = 5.0  # interval between messages in which only the heartbeat is new
_CHUNK_BYTES = 256 << 10
_LIFECYCLE_MARK = b'"kind":"run_'

Send = Callable[[dict[str, Any]], None]


class _KnownPart(BaseModel):
    """The size and digest of the part of a file that the client already has."""

    model_config = ConfigDict(strict=True, extra="ignore", defer_build=True)

    offset: int = Field(0, ge=0)
    digest: str = ""


_FILES = TypeAdapter(dict[str, _KnownPart])


class _FollowedRun:
    """A followed run: the size of each file that the client has, and when to poll and report next."""

    def __init__(self, watched: WatchedRun, files: dict[str, _KnownPart]) -> None:
        self.watched = watched
        self.folder = str(watched.run.path)
        self.offsets, self.from_start = dict.fromkeys(MIRRORED_FILES, 0), set(MIRRORED_FILES)
        for name, known_part in files.items():
            if name in MIRRORED_FILES and _has_same_start(watched.run.path / name, known_part):
                self.offsets[name] = known_part.offset
                self.from_start.discard(name)
        self.next_poll, self.next_progress, self.next_renewal = 0.0, 0.0, 0.0
        self.last_growth = 0.0
        self.last_progress: RemoteStatus | None = None
        self.trouble = ""

    @property
    def alive(self) -> bool:
        return self.last_progress is None or self.last_progress.state.alive


def _has_same_start(path: Path, known_part: _KnownPart) -> bool:
    """Whether the file still begins with the part that the client has."""
    try:
        if known_part.offset == 0:
            return True
        return path.stat().st_size >= known_part.offset and digest_before(path, known_part.offset) == known_part.digest
    except (OSError, UserError):
        return False


class Follower:
    """Polls all followed runs in a thread, since ``send`` may block on a slow connection."""

    def __init__(self, send: Send, slurm: Slurm) -> None:
        self._send, self._slurm = send, slurm
        self._runs: dict[str, _FollowedRun] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        threading.Thread(target=self._poll_runs, name="following", daemon=True).start()

    def follow(self, folder: str, files: Any) -> None:
        """Send the parts of the files in ``folder`` that the client lacks. ``files``: the client's sizes and digests.

        Raises UserError if ``files`` is invalid.
        """
        known_parts = validate_as(_FILES, files, "the files to follow")
        followed_run = _FollowedRun(WatchedRun(RunDir(folder), self._slurm), known_parts)
        with self._lock:
            self._runs[folder] = followed_run

    def unfollow(self, folder: str) -> None:
        """Stop following ``folder``."""
        with self._lock:
            self._runs.pop(folder, None)

    def watched_run(self, folder: str) -> WatchedRun:
        """The followed run in ``folder``, which has the pending request, or a new object if it is not followed."""
        with self._lock:
            followed_run = self._runs.get(folder)
        return followed_run.watched if followed_run is not None else WatchedRun(RunDir(folder), self._slurm)

    def poll_now(self, folder: str) -> None:
        """Poll the run in ``folder`` immediately, after a request or a start."""
        with self._lock:
            if followed_run := self._runs.get(folder):
                followed_run.next_poll = followed_run.next_progress = 0.0

    def stop(self) -> None:
        self._stopped.set()

    def _poll_runs(self) -> None:
        while not self._stopped.wait(POLL_SECONDS):
            with self._lock:
                runs = list(self._runs.values())
            for followed_run in runs:
                with suppress(BrokenPipeError):
                    self._poll(followed_run)

    def _poll(self, followed_run: _FollowedRun) -> None:
        monotonic_now = time.monotonic()
        if monotonic_now < followed_run.next_poll:
            return
        try:
            has_lifecycle_event = False
            for name in MIRRORED_FILES:
                has_lifecycle_event = self._send_new_bytes(followed_run, name) or has_lifecycle_event
            if has_lifecycle_event or monotonic_now >= followed_run.next_progress:
                followed_run.next_progress = monotonic_now + _PROGRESS_SECONDS
                self._send_progress(followed_run, monotonic_now)
            followed_run.trouble = ""
        except Exception as error:  # noqa: BLE001  a bug must not end the following of the other runs
            followed_run.next_progress = monotonic_now + _PROGRESS_SECONDS
            message = _problem(followed_run.folder, error)
            if followed_run.trouble != message:
                followed_run.trouble = message
                self._send({"event": "trouble", "folder": followed_run.folder, "message": message})
        quiet = _QUIET_POLL_SECONDS if monotonic_now - followed_run.last_growth > _QUIET_AFTER else 0.0
        followed_run.next_poll = monotonic_now + (quiet if followed_run.alive else _ENDED_POLL_SECONDS)

    def _send_new_bytes(self, followed_run: _FollowedRun, name: str) -> bool:
        """Send the appended part of a file. Returns whether this part contains a start or an end of the run."""
        path = followed_run.watched.run.path / name
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return False
        offset = followed_run.offsets[name]
        if size < offset:  # the file was replaced
            offset = followed_run.offsets[name] = 0
            followed_run.from_start.add(name)
        has_lifecycle_event = False
        while offset < size and not self._stopped.is_set():
            with open_regular(path, root=path.parent, error=RunDirError) as file:
                file.seek(offset)
                data = file.read(_CHUNK_BYTES)
            if not data:
                break
            part = {
                "file": name,
                "offset": offset,
                "data": pack_bytes(data),
                "restart": name in followed_run.from_start,
            }
            self._send({"event": "bytes", "folder": followed_run.folder, **part})
            followed_run.from_start.discard(name)
            followed_run.last_growth = time.monotonic()
            offset += len(data)
            followed_run.offsets[name] = offset
            has_lifecycle_event = has_lifecycle_event or _LIFECYCLE_MARK in data
        return has_lifecycle_event and name == MIRRORED_FILES[0]

    def _send_progress(self, followed_run: _FollowedRun, monotonic_now: float) -> None:
        progress = followed_run.watched.progress()
        is_new = _without_times(progress) != _without_times(followed_run.last_progress)
        if not is_new and monotonic_now < followed_run.next_renewal:
            return
        followed_run.last_progress, followed_run.next_renewal = progress, monotonic_now + _RENEWAL_SECONDS
        self._send({"event": "run_status", **progress.model_dump(mode="json")})


def _problem(folder: str, error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or folder} cannot be read: {error.strerror or error}."
    return f"{type(error).__name__}: {excerpt(str(error))}"


def _without_times(progress: RemoteStatus | None) -> Any:
    """``progress`` without the values that change with time only."""
    if progress is None:
        return None
    status = progress.status
    seen = None if status is None else (status.pid, status.step, status.doing, status.verdict)
    return progress.model_copy(update={"age": None, "status": None, "expected": None}), seen
