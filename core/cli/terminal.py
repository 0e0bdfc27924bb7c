"""Terminal output of the verbs: results on stdout, progress and messages on stderr.

Names, captions, notes and logs come from anyone, and a terminal obeys control characters. So while a verb runs,
everything printed passes `plain`.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, TypeAlias, cast

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


# C0 but tab and line ends, DEL, C1, and what reorders or breaks lines in Unicode.
_CONTROL = re.compile("[\0-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]|\r(?!\n)")
_LINE_END = re.compile("[\r\n]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_OWN = re.compile("\r(\x1b\\[K)?")  # the start of a progress line


def plain(text: str) -> str:
    """``text`` with control characters as the escapes that JSON has for them, so that JSON stays what it is."""
    return _CONTROL.sub(_escape, text)


def one_line(text: str) -> str:
    """``text`` with line ends escaped too: a name or note with one could pass for a line of the program's own."""
    return _LINE_END.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


class _PlainStream:
    """A text stream that writes `plain` text."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        own = _OWN.match(text)
        start = own.end() if own else 0
        shown = text[:start] + plain(text[start:])
        if self._stream.errors == "strict":
            shown = _SURROGATE.sub(_escape, shown)
        self._stream.write(shown)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def plain_output() -> Iterator[None]:
    """What is printed meanwhile is `plain`."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("TextIO", stream and _PlainStream(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def say(text: str) -> None:
    """Print a message on stderr, unbuffered."""
    print(text, file=sys.stderr, flush=True)


def every(step: int) -> Callable[[int, int], None]:
    """Progress as lines on stderr, after every ``step`` images and the last."""

    def show(done: int, total: int) -> None:
        if done % step == 0 or done == total:
            say(f"{done}/{total} images")

    return show


def now_and_then(seconds: float = 5.0) -> Callable[[str, int, int], None]:
    """Progress as lines on stderr: when an activity starts, then every ``seconds``."""
    shown, at = "", 0.0

    def show(doing: str, done: int, total: int) -> None:
        nonlocal shown, at
        now = time.monotonic()
        if doing != shown or now - at >= seconds:
            shown, at = doing, now
            say(f"{doing} {done}/{total}" if total and done else doing)

    return show
