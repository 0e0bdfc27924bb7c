"""WorkerClient: asks a long-lived ``python -m core worker`` over its pipes; the window never waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QObject, Signal


class WorkerClient(QObject):
    """One worker process, started by the first request, started anew after a crash."""

    progress = Signal(int, str, int, int)  # request, what is being done, done, total
    done = Signal(int, object)  # request, result (dict)
    failed = Signal(int, str, str)  # request, sentence, details
    state_changed = Signal(str)  # "off", "starting", "ready", "busy"

    def __init__(self, command: Sequence[str] | None = None, parent: QObject | None = None) -> None: ...

    def request(self, do: str, **arguments: Any) -> int:
        """Send a request and return its number; the answer comes as ``done`` or ``failed``."""
        raise NotImplementedError

    def cancel(self, number: int) -> None:
        """Give a request up; it ends as ``failed`` with the message "cancelled"."""

    def shutdown(self) -> None:
        """Ask the worker to end; it is killed if it has not within a moment."""
