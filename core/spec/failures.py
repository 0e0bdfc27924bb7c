"""Turns the exception that ends a program into an error message for problems that the user can fix.

Flow: ``core.__main__`` or a study's job catches an exception -> `sentence` -> `say_error`. The message bar uses
`displayed` too.
"""

from __future__ import annotations

import atexit
import errno
import os
import re
import sys

from core.spec.errors import UserError, is_full, not_written
from core.spec.installed import not_installed
from core.spec.reading import excerpt

_MAX_LINE_LENGTH = 1000  # characters
# A list in a message has indented lines; every other line break comes from a name or value in the message.
_UNTRUSTED_LINE_BREAK = re.compile("(?:\r\n|[\n\v\f\r\x1c-\x1e\x85\u2028\u2029])(?!  \\S)")

_NO_MEMORY = "not enough memory; close other programs, raise the limit (ulimit -v), or process less data at a time"
# Parts of the messages of RuntimeErrors and ImportErrors if memory cannot be allocated: of torch, CUDA, NCCL, cuBLAS,
# cuDNN, the C++ library and the dynamic linker.
_OUT_OF_MEMORY = (
    "allocate memory", "out of memory", "start new thread", "failed to map segment", "bad_alloc", "status_alloc_failed",
)  # fmt: skip


def is_out_of_memory(error: Exception) -> bool:
    """Whether ``error`` means that memory of the machine or its GPU could not be allocated."""
    return (sentence(error) or "").startswith(_NO_MEMORY)


def hide_errors_at_exit() -> None:
    """Print nothing if exit handlers fail, as those of a library do that was loaded in part when memory ran out."""

    def hide() -> None:
        sys.unraisablehook = lambda _: None

    atexit.register(hide)  # the handler registered last is called first


def sentence(error: Exception) -> str | None:
    """The message for ``error``; None for a bug in this program, whose traceback should be shown."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return f"{_NO_MEMORY}."
    if isinstance(error, SystemError):  # Python had no memory to raise MemoryError
        return f"{_NO_MEMORY}."
    if isinstance(error, (RuntimeError, ImportError)) and any(part in str(error).lower() for part in _OUT_OF_MEMORY):
        return f"{_NO_MEMORY} ({excerpt(' '.join(str(error).split()))})."
    if isinstance(error, ModuleNotFoundError) and (message := not_installed(error)) is not None:
        return message
    if isinstance(error, ImportError):
        return f"a part of this program cannot be loaded ({excerpt(' '.join(str(error).split()))}); reinstall sdgui."
    if isinstance(error, OSError) and is_full(error):
        return not_written(error.filename or "the output", error)
    if isinstance(error, OSError):
        problem = f"cannot use {excerpt(str(error.filename))}" if error.filename else "the output cannot be written"
        return f"{problem}: {error.strerror or excerpt(str(error))}; fix this and try again."
    return None


def displayed(message: str) -> str:
    """``message`` in a form that is safe to show, whatever names and values it contains.

    Line breaks become JSON escapes, except before an indented line. A line over 1000 characters is cut in the middle.
    """
    text = _UNTRUSTED_LINE_BREAK.sub(lambda end: "".join(f"\\u{ord(c):04x}" for c in end[0]), message.rstrip())
    lines = (
        line if len(line) <= _MAX_LINE_LENGTH else f"{line[: _MAX_LINE_LENGTH // 2]} … {line[-_MAX_LINE_LENGTH // 2 :]}"
        for line in text.split("\n")
    )
    return "\n".join(lines)


def say_error(text: str) -> None:
    """Print ``displayed(text)`` on stderr, unless stderr is full or closed."""
    text = displayed(text)
    try:
        print(text.encode("utf-8", "backslashreplace").decode(), file=sys.stderr, flush=True)
    except OSError:
        return


def drop_output() -> None:
    """Discard unwritten output, so that Python does not try to write it again at exit."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
