"""Callbacks for progress and partial results of long tasks.

Flow: worker or command -> **reporter** <- classify, captions, search, noise. Any call may raise to cancel the task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

Progress = Callable[[str, int, int], None]
"""Called with (activity, done, total); total is 0 if unknown. May raise to cancel."""


class Reporter(Protocol):
    """A `Progress` that also accepts partial results."""

    def __call__(self, doing: str, done: int, total: int, /) -> None: ...

    def partial(self, result: dict[str, Any]) -> None:
        """Report a part of the answer as soon as it is available, as JSON data."""
