"""Waiting for the window while its event loop runs."""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtWidgets import QApplication

_PAUSE = 0.01  # seconds between two looks


def until(holds: Callable[[], object], what: str, seconds: float = 300.0) -> None:
    """Run the event loop until ``holds()`` is true. TimeoutError naming ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        QApplication.processEvents()
        time.sleep(_PAUSE)


def settle(seconds: float = 0.5) -> None:
    """Run the event loop for so long: layouts, thumbnails and animations come to rest."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(_PAUSE)
