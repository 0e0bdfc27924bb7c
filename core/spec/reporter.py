"""Callbacks by which long work reports its progress, and partial results.

Flow: worker or verb -> **reporter** <- classify, captions, search, noise. Any call may raise, which ends the work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done and of how many (0 when unknown); may raise to end the work."""


class Reporter(Protocol):
    """Called with what is being done, how many are done, and of how many (0 when that is not known)."""

    def __call__(self, doing: str, done: int, total: int, /) -> None: ...

    def partial(self, result: dict[str, Any]) -> None:
        """A part of the answer, as soon as it is there: plain data that JSON can hold."""
