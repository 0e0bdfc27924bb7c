"""Errors with a message for the user.

Each package raises its own subclass (ConfigError, DataError, ...); the command line and the worker print only the
message. Any other exception is a bug and is shown with its traceback.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UserError(Exception):
    """A problem that the user can fix. The message says what is wrong, with the value, and how to fix it."""


def nearest(name: str, names: Iterable[str], cutoff: float) -> list[str]:
    """Up to three of ``names`` that are similar to ``name``, the most similar first, for a "did you mean"."""
    from difflib import get_close_matches  # noqa: PLC0415  (only a mistake needs it)

    return get_close_matches(name, list(names), n=3, cutoff=cutoff)


@contextmanager
def writing(path: Path | str, error: type[UserError] = UserError, consequence: str = "") -> Iterator[None]:
    """Convert an OSError from writing ``path`` to an ``error`` that names the file and the remedy.

    ``consequence``: what this means for existing data, as a clause of the message.
    """
    try:
        yield
    except OSError as problem:
        raise error(not_written(path, problem, consequence)) from problem


def not_written(path: Path | str, problem: OSError, consequence: str = "") -> str:
    """The message that ``path`` cannot be written, with the reason and the remedy."""
    remedy = "free some space and try again" if is_full(problem) else "choose a folder that you may write to"
    reason = "; ".join(filter(None, (problem.strerror or str(problem), consequence)))
    return f"cannot write {path}: {reason}; {remedy}."


def is_full(problem: OSError) -> bool:
    """Whether the disk or the user's quota is full."""
    return problem.errno in _FULL
