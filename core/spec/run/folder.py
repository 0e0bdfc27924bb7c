"""The run folder: its files, the lock that a trainer holds, and its status.

Flow: the launcher makes the folder and writes ``config.json``; the trainer claims it, appends events, renews
``status.json`` and looks at ``control``; the window reads all of it and writes only ``control``. The folder may come
from anywhere: what is written in it stays in it (``check``), and what is read is bounded and checked.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
import time
import unicodedata
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.reading import KILOBYTE, checked, excerpt, open_regular, read_bytes, read_json
from core.spec.run.status import RunStatus, StatusFile

if TYPE_CHECKING:
    import filelock

Control = Literal["stop", "pause"]


class RunDirError(UserError):
    """A run folder that cannot be used; the message names it and the remedy."""


class _Inside:
    """A path in a run folder, made when it is asked for: thousands of runs are listed by a few of theirs."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, run: RunDir, owner: type[RunDir]) -> Path:
        return run.path / self._name


class RunDir:
    """Paths in a run folder, and the few files that are written whole."""

    config = _Inside("config.json")
    events = _Inside("events.jsonl")
    status = _Inside("status.json")
    control = _Inside("control")
    stdout = _Inside("stdout.log")
    stderr = _Inside("stderr.log")
    checkpoints = _Inside("checkpoints")
    exports = _Inside("exports")
    provenance = _Inside("provenance.json")
    source = _Inside("source")  # the uncommitted changes, and the script and modules, that it ran with
    samples = _Inside("samples")  # images that a script logged
    lock = _Inside(".lock")

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def create(self) -> None:
        """Make the folder; RunDirError when that is not allowed, or what lies there is not to be written."""
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self.exports.mkdir(exist_ok=True)
        except OSError as error:
            raise self.unwritable(error) from error
        self.check()

    def unwritable(self, error: OSError) -> RunDirError:
        """The error for something in the folder that cannot be written."""
        return RunDirError(f"cannot write the run folder {self.path}: {error.strerror or error}; choose another.")

    def check(self) -> None:
        """RunDirError when a trainer would write elsewhere: through a link out of the folder, or into a pipe."""
        root = self.path.resolve()
        files = (self.config, self.events, self.status, self.control, self.stdout, self.stderr, self.lock)
        for path in (*files, self.provenance):
            _check_own(path, root, stat.S_ISREG, "file")
        for path in (self.checkpoints, self.exports, self.source, self.samples):
            _check_own(path, root, stat.S_ISDIR, "folder")

    def claim(self) -> filelock.BaseFileLock:
        """Hold the folder for this process until released or the process ends.

        Raises RunDirError when another trainer holds it, or it would be written outside of it.
        """
        import filelock  # noqa: PLC0415  (a reader of run folders does without)

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
            return RunStatus(**checked(StatusFile, raw, str(self.status), error=RunDirError).model_dump())
        except (OSError, RunDirError):
            return None

    def write_status(self, status: RunStatus) -> None:
        write_whole(self.status, json.dumps(asdict(status)).encode())

    def ask(self, what: Control) -> None:
        """Ask the trainer to stop or pause; it checks at each step.

        Not synced to the disk: after a power cut there is no trainer to ask, and the window's thread must not wait.
        """
        write_whole(self.control, what.encode(), durable=False)

    def asked(self) -> Control | None:
        """The pending request; None without one."""
        try:
            text = read_bytes(self.control, KILOBYTE, root=self.path, error=RunDirError).strip()
        except (OSError, RunDirError):
            return None
        return "stop" if text == b"stop" else "pause" if text == b"pause" else None

    def clear_control(self, older_than: float | None = None) -> None:
        """Remove the request; with ``older_than`` (seconds since the epoch) only one made before that."""
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


def new_name(name: str) -> str:
    """The name of a new run folder of the run ``name``, as the window gives it."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:40].strip("-") or "run"
    return f"{slug}-{time.strftime('%Y%m%d')}-{secrets.token_hex(4)}"
