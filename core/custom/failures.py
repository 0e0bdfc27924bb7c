"""Converts errors in the user's code to one sentence with file and line; the original error is chained as the cause."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from core.spec.errors import UserError
from core.spec.failures import is_out_of_memory
from core.spec.reading import excerpt
from core.spec.run.code import CodeError


@contextmanager
def user_code(subject: str, file: str = "") -> Iterator[None]:
    """A context in which the user's code in ``file`` runs. ``subject``: the name of the code in error messages.

    Converts exceptions to CodeError with the line in ``file``, except for UserError and out-of-memory errors.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        message = " ".join(str(error).split())
        problem = f"{type(error).__name__}: {excerpt(message, 300)}" if message else type(error).__name__
        raise CodeError(f"{_line(error, file)}{problem} (in {subject}).") from error


def file_of(target: Any) -> str:
    """The source file of a class, a function or an object's class; "" if it is unknown."""
    try:
        plain = target if inspect.isclass(target) or inspect.isroutine(target) else type(target)
        return inspect.getfile(plain)
    except (TypeError, OSError):
        return ""


def _line(error: Exception, file: str) -> str:
    """``FILE, line N: `` with the innermost line in ``file``; "" if no line is known."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return f"{file}, line {error.lineno}: "
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if file and frame.filename == file]
    return f"{file}, line {lines[-1]}: " if lines else ""
