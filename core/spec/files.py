"""Atomic writes: a reader sees the old file or the new file, never a partial one."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from core.spec.errors import UserError


def write_whole(path: Path, content: bytes, durable: bool = True) -> None:
    """Write ``content`` to ``path`` atomically; see `whole_file`."""
    with whole_file(path, durable) as file:
        file.write(content)


@contextmanager
def whole_file(path: Path, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open a file that replaces ``path`` atomically when the block ends without an error.

    ``durable``: flush to disk before renaming; not needed for files that can be created again. On Windows, which cannot
    replace a file that is open in another program, it retries briefly. Raises OSError, with ``path`` as its filename;
    also if ``path`` is a device or a pipe.
    """
    _require_regular(path)
    temporary = temporary_path(path)
    try:
        with open(temporary, "xb", opener=_open_safely) as file:
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


def temporary_path(path: Path) -> Path:
    """A unique path in the folder of ``path``. A process ID is not enough, since containers may share a folder."""
    return path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(6)}.tmp")


def _rename(temporary: Path, path: Path) -> None:
    for attempt in range(20):
        try:
            temporary.replace(path)
            return
        except PermissionError:
            if attempt == 19:
                raise
            time.sleep(0.02)


def _require_regular(path: Path) -> None:
    """Raise OSError for a device or pipe, since the rename would replace ``/dev/null`` with a file."""
    try:
        mode = path.stat().st_mode
    except OSError:  # does not exist yet, or the write will raise
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # for a folder, the rename itself raises
        raise OSError(errno.EINVAL, "it is a pipe or a device", str(path))


def _open_safely(path: str, flags: int) -> int:
    """Open for writing without following a link or waiting for a pipe."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)


def check_inside(folder: Path, paths: Iterable[Path], error: type[UserError]) -> None:
    """Raise ``error`` for the first of ``paths``, existing or not, that leads out of ``folder`` through a link."""
    # os.path.realpath, since Path.resolve raises for circular links
    root = Path(os.path.realpath(folder))
    for path in paths:
        if not Path(os.path.realpath(path)).is_relative_to(root):
            raise error(
                f"{path} leads out of {folder} through a link, so it is not written; replace the link with a folder "
                "or file."
            )
