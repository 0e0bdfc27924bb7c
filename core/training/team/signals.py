"""Signals that ask a run to end after its step: to stop (TERM, INT) or to pause (USR1, USR2: a scheduler's warning).

Flow: ``core.training.train`` installs them; the loop looks at the request before each step.
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
_PAUSE = ("SIGUSR1", "SIGUSR2")  # Windows has none
AGAIN_SECONDS = 5.0  # torchrun and a scheduler both send the same: what comes again so soon is one request


class Requests(threading.Event):
    """Set by the first signal; ``what`` it asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.what: Control = "stop"
        self.since = 0.0  # time.monotonic of it

    def ask(self, what: Control) -> None:
        """Note the request; of two the first counts."""
        if not self.is_set():
            self.what, self.since = what, time.monotonic()
            self.set()


@contextmanager
def signals_as_requests(launched: bool = False) -> Iterator[Requests]:
    """The first SIGTERM or Ctrl+C asks to stop, the second one ends the process; SIGUSR1 and SIGUSR2 ask to pause.

    ``launched``: by torchrun, which passes on what the scheduler sends to everyone, so that each signal comes twice:
    then only one that comes ``AGAIN_SECONDS`` after the first ends the process.
    """
    requests = Requests()
    if threading.current_thread() is not threading.main_thread():
        yield requests
        return

    def stop(number: int, frame: FrameType | None) -> None:
        again = requests.is_set() and (not launched or time.monotonic() - requests.since > AGAIN_SECONDS)
        requests.ask("stop")
        if again or not launched:
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
        if again and launched:
            signal.raise_signal(number)

    def pause(number: int, frame: FrameType | None) -> None:
        requests.ask("pause")

    handlers = dict.fromkeys(_STOP, stop) | dict.fromkeys(_PAUSE, pause)
    numbers = {getattr(signal, name): handler for name, handler in handlers.items() if hasattr(signal, name)}
    before = {number: signal.signal(number, handler) for number, handler in numbers.items()}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
