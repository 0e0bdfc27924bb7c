"""How a verb speaks to a terminal: results on stdout, progress and remarks on stderr."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import TypeAlias

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def say(text: str) -> None:
    """A remark, on stderr at once."""
    print(text, file=sys.stderr, flush=True)


def every(step: int) -> Callable[[int, int], None]:
    """Progress as lines on stderr: every ``step`` done, and the last."""

    def show(done: int, total: int) -> None:
        if done % step == 0 or done == total:
            say(f"{done}/{total} pictures")

    return show


def now_and_then(seconds: float = 5.0) -> Callable[[str, int, int], None]:
    """Progress as lines on stderr: what is begun, and each ``seconds`` how far it is."""
    shown, at = "", 0.0

    def show(doing: str, done: int, total: int) -> None:
        nonlocal shown, at
        now = time.monotonic()
        if doing != shown or now - at >= seconds:
            shown, at = doing, now
            say(f"{doing} {done}/{total}" if total and done else doing)

    return show
