"""Files that are written whole: a reader sees the old one or the new one, never a part."""

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
from core.spec.reading import excerpt


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
    temporary = temporary_beside(path)
    try:
        with open(temporary, "xb", opener=_own) as file:
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


def temporary_beside(path: Path) -> Path:
    """A name in the folder of ``path`` that no other writer uses: containers that share a folder have equal process
    numbers, and often equal host names.
    """
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


def check_inside(folder: Path, paths: Iterable[Path], error: type[UserError]) -> None:
    """Raises ``error`` for the first of ``paths``, there or not, that a link leads out of ``folder``."""
    # os.path.realpath, since Path's resolve raises for links that lead round in a circle
    root = Path(os.path.realpath(folder))
    for path in paths:
        if not Path(os.path.realpath(path)).is_relative_to(root):
            raise error(
                f"{excerpt(str(path))} leads out of {excerpt(str(folder))} by a link, and nothing is written there; "
                "replace the link by a folder or file of its own."
            )
