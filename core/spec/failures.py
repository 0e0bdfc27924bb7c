"""Error messages of programs that end with an exception: a sentence for problems that the user can fix.

Flow: ``core.__main__`` or a study's job catches an exception -> `sentence` -> `say_error`; the window's message bar
shows them through `displayed` too.
"""

from __future__ import annotations

import errno
import os
import re
import sys

from core.spec.errors import UserError, is_full, not_written
from core.spec.installed import not_installed
from core.spec.reading import excerpt

_LONGEST_LINE = 1000  # characters
# A line of a list in a message is indented; every other line end comes from a name or value in the message.
_FOREIGN_LINE_END = re.compile("(?:\r\n|[\n\v\f\r\x1c-\x1e\x85\u2028\u2029])(?!  \\S)")

_NO_MEMORY = "not enough memory; close other programs, raise the limit (ulimit -v), or process less at once"
# Messages of libraries' RuntimeErrors and ImportErrors when memory cannot be allocated.
_REFUSED = ("allocate memory", "out of memory", "start new thread", "failed to map segment", "bad_alloc")


def sentence(error: Exception) -> str | None:
    """The message for ``error``; None for a bug in this program, which needs its traceback."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return f"{_NO_MEMORY}."
    if isinstance(error, SystemError):  # Python had no memory to raise MemoryError
        return f"{_NO_MEMORY}."
    if isinstance(error, (RuntimeError, ImportError)) and any(words in str(error).lower() for words in _REFUSED):
        return f"{_NO_MEMORY} ({excerpt(' '.join(str(error).split()))})."
    if isinstance(error, ModuleNotFoundError) and (part := not_installed(error)) is not None:
        return part
    if isinstance(error, ImportError):
        return f"a part of this program cannot be loaded ({excerpt(' '.join(str(error).split()))}); reinstall it."
    if isinstance(error, OSError) and is_full(error):
        return not_written(error.filename or "the output", error)
    if isinstance(error, OSError):
        problem = f"cannot use {excerpt(str(error.filename))}" if error.filename else "the output cannot be written"
        return f"{problem}: {error.strerror or excerpt(str(error))}; fix that and try again."
    return None


def displayed(message: str) -> str:
    """``message`` as the terminal and the window show it, whatever names and values it contains.

    Line ends become JSON escapes, except before an indented line; the middle of a line over 1000 characters is cut.
    """
    text = _FOREIGN_LINE_END.sub(lambda end: "".join(f"\\u{ord(c):04x}" for c in end[0]), message.rstrip())
    lines = (
        line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE // 2]} … {line[-_LONGEST_LINE // 2 :]}"
        for line in text.split("\n")
    )
    return "\n".join(lines)


def say_error(text: str) -> None:
    """Print ``text`` as `displayed` on stderr, unless that is full or closed."""
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
