"""The run folder: where a run keeps what, who may write there, and what state it is in.

Flow: the launcher makes the folder and writes ``config.json``; the trainer claims it, appends events, renews
``status.json`` and looks at ``control``; the window reads all of it and writes only ``control``. The folder may come
from anywhere: what is written in it stays in it (``check``), and what is read is bounded and checked.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated, Literal

import filelock
import psutil
from pydantic import BaseModel, ConfigDict, Field

from core.spec.errors import UserError
from core.spec.reading import KILOBYTE, checked, excerpt, open_regular, read_bytes, read_json
from core.spec.run.event_fields import LARGEST_STEP, LATEST
from core.spec.run.events import Event, RunFailed, RunFinished

Control = Literal["stop", "pause"]

HEARTBEAT_SECONDS = 2.0
LOST_AFTER_SECONDS = 30.0


class RunDirError(UserError):
    """A run folder that cannot be used; the message names it and the remedy."""


class RunState(StrEnum):
    """What the window says of a run."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    LOST_CONTACT = "lost contact"
    PAUSED = "paused"
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def alive(self) -> bool:
        """Whether a trainer process belongs to this state."""
        return self in (RunState.STARTING, RunState.RUNNING, RunState.LOST_CONTACT)


@dataclass(frozen=True)
class RunStatus:
    """``status.json``: who trains here and how far it is. ``pid`` alone may be reused; with ``started`` it may not."""

    pid: int
    started: float  # the process's own start time, seconds since the epoch
    heartbeat: float  # seconds since the epoch
    step: int = 0
    total_steps: int = 0
    doing: str = ""  # "reading data", "training", "validating", "saving"
    seconds_left: float | None = None
    host: str = ""  # the machine that ``pid`` belongs to; "" for this one

    @property
    def here(self) -> bool:
        """Whether the process is one of this machine's, so that the process table knows it."""
        return self.host in ("", platform.node())


_Moment = Annotated[float, Field(ge=0, le=LATEST)]
_Step = Annotated[int, Field(ge=0, le=LARGEST_STEP)]


class _StatusFile(BaseModel):
    """What ``status.json`` may hold; a later version's further fields are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore")

    pid: Annotated[int, Field(ge=0, lt=1 << 31)]
    started: _Moment
    heartbeat: _Moment
    step: _Step = 0
    total_steps: _Step = 0
    doing: Annotated[str, Field(max_length=1000)] = ""
    seconds_left: Annotated[float, Field(ge=0, le=1e15)] | None = None
    host: Annotated[str, Field(max_length=1000)] = ""


class RunDir:
    """Paths in a run folder, and the few files that are written whole."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.events = self.path / "events.jsonl"
        self.status = self.path / "status.json"
        self.control = self.path / "control"
        self.stdout = self.path / "stdout.log"
        self.stderr = self.path / "stderr.log"
        self.checkpoints = self.path / "checkpoints"
        self.exports = self.path / "exports"
        self.lock = self.path / ".lock"

    def create(self) -> None:
        """Make the folder; RunDirError when that is not allowed, or what lies there is not to be written."""
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self.exports.mkdir(exist_ok=True)
        except OSError as error:
            raise self.unwritable(error) from error
        self.check()

    def unwritable(self, error: OSError) -> RunDirError:
        """What to say when something in the folder cannot be written."""
        return RunDirError(f"cannot write the run folder {self.path}: {error.strerror or error}; choose another.")

    def check(self) -> None:
        """RunDirError when a trainer would write elsewhere: through a link out of the folder, or into a pipe."""
        root = self.path.resolve()
        for path in (self.config, self.events, self.status, self.control, self.stdout, self.stderr, self.lock):
            _check_own(path, root, stat.S_ISREG, "file")
        for path in (self.checkpoints, self.exports):
            _check_own(path, root, stat.S_ISDIR, "folder")

    def claim(self) -> filelock.BaseFileLock:
        """Hold the folder for this process until released or the process ends.

        Raises RunDirError when another trainer holds it, or it would be written outside of it.
        """
        self.check()
        lock = filelock.FileLock(self.lock, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            status = self.read_status()
            holder = f" (process {status.pid})" if status else ""
            raise RunDirError(
                f"the run folder {self.path} is in use by a trainer{holder}; stop it first or choose another folder."
            ) from error
        except OSError as error:
            raise self.unwritable(error) from error
        return lock

    def read_status(self) -> RunStatus | None:
        """The last status; None when there is none that can be read."""
        try:
            raw = read_json(self.status, 64 * KILOBYTE, root=self.path, error=RunDirError)
            return RunStatus(**checked(_StatusFile, raw, str(self.status), error=RunDirError).model_dump())
        except (OSError, RunDirError):
            return None

    def write_status(self, status: RunStatus) -> None:
        write_whole(self.status, json.dumps(asdict(status)).encode())

    def ask(self, what: Control) -> None:
        """Ask the trainer to stop or pause; it looks each step."""
        write_whole(self.control, what.encode())

    def asked(self) -> Control | None:
        """What was asked, if anything."""
        try:
            text = read_bytes(self.control, KILOBYTE, root=self.path, error=RunDirError).strip()
        except (OSError, RunDirError):
            return None
        return "stop" if text == b"stop" else "pause" if text == b"pause" else None

    def clear_control(self, older_than: float | None = None) -> None:
        """Forget what was asked; with ``older_than`` (seconds since the epoch) only what was asked before that."""
        try:
            if older_than is None or self.control.stat().st_mtime < older_than:
                self.control.unlink()
        except FileNotFoundError:
            return

    def stderr_end(self, lines: int = 40) -> str:
        """The last lines that the trainer wrote to stderr, whatever their encoding."""
        try:
            with open_regular(self.stderr, root=self.path, error=RunDirError) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 65536))
                text = file.read(65536).decode("utf-8", "replace")
        except (OSError, RunDirError):
            return ""
        # A progress bar rewrites its line with carriage returns; keep what stood there last.
        shown = [line.rsplit("\r", 1)[-1] for line in text.replace("\r\n", "\n").split("\n")]
        return "\n".join(shown[-lines:]).strip()


def _check_own(path: Path, root: Path, is_sort: Callable[[int], bool], sort: str) -> None:
    """RunDirError unless ``path`` is nothing yet or a ``sort`` that lies under ``root``, links followed."""
    try:
        if not path.resolve().is_relative_to(root):
            raise RunDirError(
                f"{excerpt(str(path))} is a link out of its run folder, and a run writes in its own folder only; put "
                f"the {sort} itself there, or choose another run folder."
            )
        if not is_sort(path.stat().st_mode):
            raise RunDirError(
                f"{excerpt(str(path))} is no {sort} and cannot be written; remove it, or choose another run folder."
            )
    except FileNotFoundError:
        return
    except (OSError, RuntimeError) as error:  # a folder that may not be read, or links in a circle
        raise RunDirError(f"{excerpt(str(path))} cannot be used: {error}; remove it or choose another.") from error


def write_whole(path: Path, content: bytes, durable: bool = True) -> None:
    """Write ``content`` as `whole_file` does."""
    with whole_file(path, durable) as file:
        file.write(content)


@contextmanager
def whole_file(path: Path, durable: bool = True) -> Iterator[IO[bytes]]:
    """Takes what ``path`` is to hold, so that readers see the old file or the new one, never a part.

    ``durable``: it is on the disk before it has its name, which one of thousands that can be made anew need not be.
    Windows refuses to rename over a file that is open elsewhere; such a refusal passes within moments. An OSError names
    ``path``, which a full disk's own would not. What is there and no file (a device, a pipe) is left there: OSError.
    """
    _refuse_special(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb", opener=_own) as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        _rename(temporary, path)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _refuse_special(path: Path) -> None:
    """A rename would put a file in the place of ``/dev/null``, for whoever may write there."""
    try:
        mode = path.stat().st_mode
    except OSError:  # nothing there yet, or the write itself will say what is wrong
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # the rename refuses a folder by itself
        raise OSError(errno.EINVAL, "it is a folder, a pipe or a device", str(path))


def _own(path: str, flags: int) -> int:
    """Opens for writing, but follows no link and waits for no pipe that somebody put there."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)


def _rename(temporary: Path, path: Path) -> None:
    for attempt in range(20):
        try:
            temporary.replace(path)
            return
        except PermissionError:
            if attempt == 19:
                raise
            time.sleep(0.02)


def own_status(step: int = 0, total_steps: int = 0, doing: str = "", seconds_left: float | None = None) -> RunStatus:
    """A status of the calling process, with a fresh heartbeat."""
    return RunStatus(
        pid=os.getpid(),
        started=psutil.Process().create_time(),
        heartbeat=time.time(),
        step=step,
        total_steps=total_steps,
        doing=doing,
        seconds_left=seconds_left,
        host=platform.node(),
    )


def process_alive(status: RunStatus) -> bool:
    """Whether the process that wrote ``status`` is still the one with its pid; elsewhere, its heartbeat speaks."""
    if not status.here:
        return time.time() - status.heartbeat <= LOST_AFTER_SECONDS
    try:
        process = psutil.Process(status.pid)
        return abs(process.create_time() - status.started) < 2.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def judge(status: RunStatus | None, terminal: Event | None, now: float | None = None) -> RunState:
    """The state of a launched run.

    ``terminal`` is the last lifecycle event when that is a RunFinished or RunFailed, None after a RunStarted.
    The launcher writes the first status, so a trainer that dies before it can report is still seen to be dead.
    A terminal event wins; without one, no such process means interrupted, and a stale heartbeat on a live process
    means lost contact, never failed. A trainer on another machine cannot be seen here: its heartbeat speaks for it.
    """
    if isinstance(terminal, RunFinished):
        return {"done": RunState.DONE, "stopped": RunState.STOPPED, "paused": RunState.PAUSED}[terminal.outcome]
    if isinstance(terminal, RunFailed):
        return RunState.FAILED
    if status is None:
        return RunState.STARTING
    if status.here and not process_alive(status):
        return RunState.INTERRUPTED
    age = (time.time() if now is None else now) - status.heartbeat
    return RunState.LOST_CONTACT if age > LOST_AFTER_SECONDS else RunState.RUNNING
