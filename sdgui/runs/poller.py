"""A polling thread that survives every exception.

Flow: ``Poller`` calls ``poll`` repeatedly; after a failure it reports a message and tries again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from core.spec.errors import UserError
from core.spec.reading import excerpt

_RETRY_SECONDS = 1.0


class Poller(threading.Thread):
    """A thread that calls ``poll`` repeatedly. ``ending`` is set by ``stop``, so that a long round can return early."""

    def __init__(
        self, name: str, subject: str, poll: Callable[[], float | None], report: Callable[[str], object]
    ) -> None:
        """``poll`` returns the seconds until the next round, or None to wait for ``wake``.

        ``report`` receives an error message such as "The studies cannot be followed" (``subject``: "The studies"); a
        repeated failure is reported once.
        """
        super().__init__(name=name, daemon=True)
        self._subject, self._work, self._report = subject, poll, report
        self._failure = ""  # the message reported last
        self._wake, self.ending = threading.Event(), threading.Event()

    def wake(self) -> None:
        """Poll immediately, from any thread; a running round is followed by another."""
        self._wake.set()

    def begin(self) -> None:
        """Poll immediately; starts the thread if it is not running."""
        if self.ident is None:
            self.start()
        else:
            self.wake()

    def stop(self, seconds: float = 5.0) -> None:
        """Stop after the current round, for which it waits at most ``seconds``. Nothing is reported afterwards."""
        self.ending.set()
        self.wake()
        if self.ident is not None:
            self.join(seconds)

    def run(self) -> None:
        while not self.ending.is_set():
            self._wake.clear()  # before polling, so that a ``wake`` during the round counts
            self._wake.wait(self._round())

    def _round(self) -> float | None:
        try:
            pause = self._work()
        except Exception as error:  # noqa: BLE001  other runs depend on this thread
            failure = f"{type(error).__name__}: {excerpt(str(error))}"
            sentence = str(error) if isinstance(error, UserError) else f"{self._subject} cannot be followed: {failure}."
            if sentence != self._failure and not self.ending.is_set():
                self._failure = sentence
                with suppress(RuntimeError):  # the window has been deleted
                    self._report(sentence)
            return _RETRY_SECONDS
        self._failure = ""
        return pause
