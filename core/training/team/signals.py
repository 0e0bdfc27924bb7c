"""Signals that end a run after its step: stop (TERM, INT) or pause (USR1, USR2: a scheduler's warning).

Flow: ``core.training.train`` installs the handlers; the loop checks for requests before each step.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from core.spec.run.folder import Control

_STOP = ("SIGTERM", "SIGINT")
_PAUSE = ("SIGUSR1", "SIGUSR2")  # missing on Windows
DUPLICATE_SIGNAL_S = 5.0  # torchrun and a scheduler may both send a signal; within this time they count as one


class Requests(threading.Event):
    """An event that the first signal sets; ``request``: what this signal asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.request: Control = "stop"
        self.requested_at = 0.0  # time.monotonic()

    def set_request(self, request: Control) -> None:
        """Record the request; only the first one counts."""
        if not self.is_set():
            self.request, self.requested_at = request, time.monotonic()
            self.set()


@contextmanager
def signals_as_requests(launched: bool = False) -> Iterator[Requests]:
    """The first SIGTERM or Ctrl+C requests a stop, the second ends the process; SIGUSR1 and SIGUSR2 request a pause.

    ``launched``: whether torchrun launched this process. A signal then arrives twice, from the scheduler and forwarded
    by torchrun, so only a signal that arrives ``DUPLICATE_SIGNAL_S`` after the first ends the process.
    """
    requests = Requests()
    if threading.current_thread() is not threading.main_thread():
        yield requests
        return

    def restore_default(number: int) -> None:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    def stop(number: int, frame: FrameType | None) -> None:
        is_repeated = requests.is_set()
        requests.set_request("stop")
        if not launched:
            restore_default(number)  # so that the next signal ends the process
        elif is_repeated and time.monotonic() - requests.requested_at > DUPLICATE_SIGNAL_S:
            restore_default(number)
            signal.raise_signal(number)

    def pause(number: int, frame: FrameType | None) -> None:
        requests.set_request("pause")

    handlers = dict.fromkeys(_STOP, stop) | dict.fromkeys(_PAUSE, pause)
    previous_handlers = {
        getattr(signal, name): signal.signal(getattr(signal, name), handler)
        for name, handler in handlers.items()
        if hasattr(signal, name)
    }
    try:
        yield requests
    finally:
        for number, previous in previous_handlers.items():
            signal.signal(number, previous)
