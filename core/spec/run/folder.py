"""The run folder: files, status, and the lock of the trainer.

Flow: the launcher creates the folder and writes ``config.json``; the trainer claims it, appends events, updates
``status.json`` and polls ``control``; the window reads all files and writes only ``control``. The folder may be
untrusted: writes stay inside it (``check``), and reads are bounded and validated.
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
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import TypeAdapter, ValidationError

from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.reading import KILOBYTE, open_regular, read_bytes
from core.spec.run.status import RunStatus

if TYPE_CHECKING:
    import filelock

_ERROR = re.compile(
    r"\b(\w*error|\w*exception|killed|abort\w*|fatal|fault|failed|out of memory|no space left|exceeded)\b",
    re.IGNORECASE,
)

Control = Literal["stop", "pause"]


class RunDirError(UserError):
    """An unusable run folder; the message names the folder and the remedy."""


class _PathInside:
    """A path in the run folder, built on access, since listing thousands of runs needs only a few paths."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, run: RunDir, owner: type[RunDir]) -> Path:
        return run.path / self._name


class RunDir:
    """Paths in a run folder, and access to its small files."""

    config = _PathInside("config.json")
    events = _PathInside("events.jsonl")
    status = _PathInside("status.json")
    control = _PathInside("control")
    stdout = _PathInside("stdout.log")
    stderr = _PathInside("stderr.log")
    checkpoints = _PathInside("checkpoints")
    exports = _PathInside("exports")
    provenance = _PathInside("provenance.json")
    source = _PathInside("source")  # uncommitted changes, script and modules of the run
    samples = _PathInside("samples")  # images that a script logged
    lock = _PathInside(".lock")

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def create(self) -> None:
        """Create the folder. Raises RunDirError if that fails, or if `check` fails."""
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self.exports.mkdir(exist_ok=True)
        except OSError as error:
            raise self.unwritable(error) from error
        self.check()

    def unwritable(self, error: OSError) -> RunDirError:
        """The error to raise if the folder is not writable."""
        return RunDirError(f"cannot write the run folder {self.path}: {error.strerror or error}; choose another.")

    def check(self) -> None:
        """Raise RunDirError if a trainer would write outside the folder (through a link), or into a pipe."""
        root = self.path.resolve()
        files = (self.config, self.events, self.status, self.control, self.stdout, self.stderr, self.lock)
        for path in (*files, self.provenance):
            _check_path(path, root, stat.S_ISREG, "file")
        for path in (self.checkpoints, self.exports, self.source, self.samples):
            _check_path(path, root, stat.S_ISDIR, "folder")

    def claim(self) -> filelock.BaseFileLock:
        """Lock the folder for this process until the lock is released or the process ends.

        Raises RunDirError if another trainer has the lock, and the errors of `check`.
        """
        import filelock  # noqa: PLC0415  (not needed for reading)

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
        """The last written status; None if it is missing or unreadable."""
        try:
            content = read_bytes(self.status, 64 * KILOBYTE, root=self.path, error=RunDirError)
            return _status_reader().validate_json(content, strict=True)
        except (OSError, RunDirError, ValidationError):
            return None

    def write_status(self, status: RunStatus, durable: bool = True) -> None:
        write_whole(self.status, json.dumps(asdict(status)).encode(), durable)

    def ask(self, request: Control) -> None:
        """Request the trainer to stop or pause. The trainer checks for requests at each step.

        The request is not synced to disk: the GUI thread must not wait, and a power failure ends the trainer anyway.
        """
        write_whole(self.control, request.encode(), durable=False)

    def pending_request(self) -> Control | None:
        """The pending request, or None."""
        try:
            text = read_bytes(self.control, KILOBYTE, root=self.path, error=RunDirError).strip()
        except (OSError, RunDirError):
            return None
        return "stop" if text == b"stop" else "pause" if text == b"pause" else None

    def clear_control(self, older_than: float | None = None) -> None:
        """Remove the request. With ``older_than`` (seconds since the epoch), keep newer requests."""
        try:
            if older_than is None or self.control.stat().st_mtime < older_than:
                self.control.unlink()
        except FileNotFoundError:
            return

    def stderr_end(self, lines: int = 40) -> str:
        """The last lines of the trainer's stderr, decoded leniently."""
        try:
            with open_regular(self.stderr, root=self.path, error=RunDirError) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 65536))
                text = file.read(65536).decode("utf-8", "replace")
        except (OSError, RunDirError):
            return ""
        # A progress bar rewrites its line with carriage returns; keep its last state.
        visible_lines = [line.rsplit("\r", 1)[-1] for line in text.replace("\r\n", "\n").split("\n")]
        return "\n".join(visible_lines[-lines:]).strip()


def error_line(output: str) -> str:
    """The last line of a process's ``output`` that reports an error; "" if none does, such as if it was killed."""
    return next((line.strip() for line in reversed(output.splitlines()) if _ERROR.search(line)), "")


@cache
def _status_reader() -> TypeAdapter[RunStatus]:
    return TypeAdapter(RunStatus)


def _check_path(path: Path, root: Path, is_kind: Callable[[int], bool], kind: str) -> None:
    """Raise RunDirError unless ``path`` is a ``kind`` under ``root`` after resolving links, or does not exist."""
    try:
        if not path.resolve().is_relative_to(root):
            raise RunDirError(
                f"{path} is a link out of its run folder, but a run writes only in its folder; replace the link with "
                f"the {kind} itself, or choose another run folder."
            )
        if not is_kind(path.stat().st_mode):
            raise RunDirError(f"{path} is not a {kind} and cannot be written; remove it, or choose another run folder.")
    except FileNotFoundError:
        return
    except (OSError, RuntimeError) as error:  # an unreadable folder, or circular links
        raise RunDirError(f"{path} cannot be used: {error}; remove it or choose another.") from error


def slug(name: str, default: str = "run") -> str:
    """``name`` as lower-case text that is valid in folder names on every file system."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:40].strip("-") or default


def new_name(name: str, key: str = "") -> str:
    """A unique name for the folder of a new run ``name``; it ends with ``key``, by default a random one."""
    return f"{slug(name)}-{time.strftime('%Y%m%d')}-{key or secrets.token_hex(4)}"
