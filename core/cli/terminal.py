"""Terminal output of the commands: results on stdout, progress and messages on stderr.

Names, captions, notes and logs are untrusted, and terminals obey control characters. So while a command runs,
everything that it prints passes through `escape_controls`.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, TypeAlias, cast

from core.spec.errors import UserError

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


# C0 except tab and line ends, DEL, C1, and Unicode characters that reorder text or break lines.
_CONTROL = re.compile("[\0-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]|\r(?!\n)")
_LINE_END = re.compile("[\r\n]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_PROGRESS_START = re.compile("\r(\x1b\\[K)?")


def escape_controls(text: str) -> str:
    """``text`` with control characters as JSON escapes, so that JSON remains valid."""
    return _CONTROL.sub(_escape, text)


def one_line(text: str) -> str:
    """``text`` with line ends escaped too, so that a name or note cannot imitate a line of this program."""
    return _LINE_END.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


class _PlainStream:
    """A text stream that writes text with `escape_controls`, except the characters that start a progress bar."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        progress_start = _PROGRESS_START.match(text)
        start = progress_start.end() if progress_start else 0
        output = text[:start] + escape_controls(text[start:])
        if self._stream.errors == "strict":
            output = _SURROGATE.sub(_escape, output)
        self._stream.write(output)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def plain_output() -> Iterator[None]:
    """Pass everything printed within the block through `escape_controls`."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("TextIO", stream and _PlainStream(stream)) for stream in streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


def add_weights(parser: argparse.ArgumentParser, default: str = "the one with the better validation") -> None:
    """Add the option ``--weights``; ``default`` describes what is used without the option."""
    text = f"network to use (default: {default})"
    parser.add_argument("--weights", default="", choices=("student", "teacher"), help=text)


def folder_path(text: str) -> Path:
    """A folder given as an argument. An empty text, such as an unset shell variable, would mean the current folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty; specify a folder, or . for the current one")
    return Path(text)


def refuse_existing(file: Path | None) -> None:
    """Raise UserError if a file to be written exists."""
    if file is not None and file.exists():
        raise UserError(f"{file} already exists; choose another file.")


def seed(text: str) -> int:
    """A seed given as an option, with the range of a config's seed."""
    if not re.fullmatch(r"\d{1,10}", text) or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a seed; use a number from 0 to {2**31 - 1}.")
    return int(text)


def comma_separated(text: str) -> list[str]:
    """The values of an option such as ``--devices 0,1``."""
    return [value.strip() for value in text.split(",") if value.strip()]


def say(text: str) -> None:
    """Print a message on stderr, unbuffered."""
    print(text, file=sys.stderr, flush=True)


def periodic_progress(seconds: float = 5.0) -> Callable[[str, int, int], None]:
    """A progress function that prints a line on stderr when an activity starts, then every ``seconds``."""
    last_activity, last_time = "", 0.0

    def show(doing: str, done: int, total: int) -> None:
        nonlocal last_activity, last_time
        time_now = time.monotonic()
        if doing != last_activity or time_now - last_time >= seconds:
            last_activity, last_time = doing, time_now
            say(f"{doing} {done}/{total}" if total and done else doing)

    return show
