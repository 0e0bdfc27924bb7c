"""Errors in the user's code as one sentence that names file and line; the traceback is chained as the cause."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from core.spec.errors import UserError
from core.spec.reading import excerpt
from core.spec.run.code import CodeError


@contextmanager
def user_code(subject: str, file: str = "") -> Iterator[None]:
    """While entered, the user's ``subject`` (a reference or a place) runs, from ``file``.

    Raises CodeError naming the line in ``file`` for what it raises; a UserError, and memory that runs out, go on as
    they are.
    """
    try:
        yield
    except (UserError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        message = " ".join(str(error).split())
        if isinstance(error, RuntimeError) and "allocate memory" in message:
            raise
        problem = f"{type(error).__name__}: {excerpt(message, 300)}" if message else type(error).__name__
        raise CodeError(f"{_line(error, file)}{problem} (in {subject}).") from error


def file_of(target: Any) -> str:
    """The file that a class, a function or an object's class is written in; "" if it is unknown."""
    try:
        plain = target if inspect.isclass(target) or inspect.isroutine(target) else type(target)
        return inspect.getfile(plain)
    except (TypeError, OSError):
        return ""


def _line(error: Exception, file: str) -> str:
    """``FILE, line N: `` of the innermost line in ``file``; "" where none of it is known."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return f"{file}, line {error.lineno}: "
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if file and frame.filename == file]
    return f"{file}, line {lines[-1]}: " if lines else ""
