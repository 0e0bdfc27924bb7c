"""Following runs for whoever is on the other end of the line: what their files grow by, and how they stand.

Flow: ``follow`` with the sizes that the other side has -> parts of ``events.jsonl``, ``stdout.log`` and ``stderr.log``
from there on -> a ``standing`` whenever it changed, and every few seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from core.remote.slurm import Slurm
from core.remote.standing import Watched
from core.spec.errors import UserError
from core.spec.machines.answers import RemoteStatus, packed
from core.spec.machines.mirror import FILES, digest_before
from core.spec.reading import checked_as, open_regular
from core.spec.run.folder import RunDir, RunDirError

POLL_SECONDS = 0.05
_QUIET_SECONDS = 0.15  # between two looks at a run that has not written for a while
_QUIET_AFTER = 5.0
_REST_SECONDS = 1.0  # between two looks at a run that has no trainer
_STAND_SECONDS = 1.0
_RENEW_SECONDS = 5.0  # between two standings in which nothing but the heartbeat is new
_PART = 256 << 10
_LIFECYCLE = b'"kind":"run_'

Send = Callable[[dict[str, Any]], None]


class _Had(BaseModel):
    """What the other side has of a file."""

    model_config = ConfigDict(strict=True, extra="ignore", defer_build=True)

    offset: int = Field(0, ge=0)
    digest: str = ""


_FILES = TypeAdapter(dict[str, _Had])


class _Followed:
    def __init__(self, watched: Watched, files: dict[str, _Had]) -> None:
        self.watched = watched
        self.folder = str(watched.run.path)
        self.offsets, self.restarted = dict.fromkeys(FILES, 0), set(FILES)
        for name, had in files.items():
            if name in FILES and _same(watched.run.path / name, had):
                self.offsets[name] = had.offset
                self.restarted.discard(name)
        self.look_at, self.stand_at, self.renew_at = 0.0, 0.0, 0.0
        self.grew_at = 0.0
        self.stood: RemoteStatus | None = None
        self.trouble = ""

    @property
    def alive(self) -> bool:
        return self.stood is None or self.stood.state.alive


def _same(path: Path, had: _Had) -> bool:
    """Whether the file still begins with what the other side has of it."""
    try:
        if had.offset == 0:
            return True
        return path.stat().st_size >= had.offset and digest_before(path, had.offset) == had.digest
    except (OSError, UserError):
        return False


class Following:
    """A thread that looks at all followed runs; ``send`` may block while the line is slow."""

    def __init__(self, send: Send, slurm: Slurm) -> None:
        self._send, self._slurm = send, slurm
        self._runs: dict[str, _Followed] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        threading.Thread(target=self._work, name="following", daemon=True).start()

    def follow(self, folder: str, files: Any) -> None:
        """Send what is new in ``folder`` from these sizes on. UserError for what are none."""
        had = checked_as(_FILES, files, "what is to be followed")
        followed = _Followed(Watched(RunDir(folder), self._slurm), had)
        with self._lock:
            self._runs[folder] = followed

    def unfollow(self, folder: str) -> None:
        """No longer."""
        with self._lock:
            self._runs.pop(folder, None)

    def watched(self, folder: str) -> Watched:
        """What judges the run in ``folder``: of a followed one, that which knows what it was asked."""
        with self._lock:
            followed = self._runs.get(folder)
        return followed.watched if followed is not None else Watched(RunDir(folder), self._slurm)

    def look(self, folder: str) -> None:
        """Look at it at once: something was asked of it, or started in it."""
        with self._lock:
            if followed := self._runs.get(folder):
                followed.look_at = followed.stand_at = 0.0

    def end(self) -> None:
        self._ended.set()

    def _work(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            with self._lock:
                runs = list(self._runs.values())
            for followed in runs:
                with suppress(BrokenPipeError):
                    self._look(followed)

    def _look(self, followed: _Followed) -> None:
        now = time.monotonic()
        if now < followed.look_at:
            return
        try:
            turned = False
            for name in FILES:
                turned = self._grow(followed, name) or turned
            if turned or now >= followed.stand_at:
                followed.stand_at = now + _STAND_SECONDS
                self._stand(followed, now)
            followed.trouble = ""
        except (OSError, UserError) as error:
            followed.stand_at = now + _STAND_SECONDS
            if followed.trouble != str(error):
                followed.trouble = str(error)
                self._send({"event": "trouble", "folder": followed.folder, "message": str(error)})
        quiet = _QUIET_SECONDS if now - followed.grew_at > _QUIET_AFTER else 0.0
        followed.look_at = now + (quiet if followed.alive else _REST_SECONDS)

    def _grow(self, followed: _Followed, name: str) -> bool:
        """Send what is new of a file; whether a start or an ending was in it."""
        path = followed.watched.run.path / name
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return False
        at = followed.offsets[name]
        if size < at:  # it has become another file
            at = followed.offsets[name] = 0
            followed.restarted.add(name)
        turned = False
        while at < size and not self._ended.is_set():
            with open_regular(path, root=path.parent, error=RunDirError) as file:
                file.seek(at)
                data = file.read(_PART)
            if not data:
                break
            part = {"event": "bytes", "folder": followed.folder, "file": name, "offset": at, "data": packed(data)}
            self._send(part | {"restart": name in followed.restarted})
            followed.restarted.discard(name)
            followed.grew_at = time.monotonic()
            at += len(data)
            followed.offsets[name] = at
            turned = turned or _LIFECYCLE in data
        return turned and name == FILES[0]

    def _stand(self, followed: _Followed, now: float) -> None:
        standing = followed.watched.stand()
        if _still(standing) == _still(followed.stood) and now < followed.renew_at:
            return
        followed.stood, followed.renew_at = standing, now + _RENEW_SECONDS
        self._send({"event": "run_status", **standing.model_dump(mode="json")})


def _still(standing: RemoteStatus | None) -> Any:
    """A standing without what changes by time alone."""
    if standing is None:
        return None
    status = standing.status
    seen = None if status is None else (status.pid, status.step, status.doing, status.verdict)
    return standing.model_copy(update={"age": None, "status": None, "expected": None}), seen
