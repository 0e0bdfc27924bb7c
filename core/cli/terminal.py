"""Terminal output of the verbs: results on stdout, progress and messages on stderr."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import TypeAlias

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def say(text: str) -> None:
    """Print a message on stderr, unbuffered."""
    print(text, file=sys.stderr, flush=True)


def every(step: int) -> Callable[[int, int], None]:
    """Progress as lines on stderr, after every ``step`` images and the last."""

    def show(done: int, total: int) -> None:
        if done % step == 0 or done == total:
            say(f"{done}/{total} pictures")

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
