"""Writes to the store outside of the window's thread, in the order in which they were submitted.

Another window, or a backup, may hold the database for seconds, and a commit may wait for a slow disk: no write is done
in the window's own thread. Reads are: they are short, and never wait for a writer.

Flow: panel -> ``submit(write, done, failed)`` -> thread -> ``done(result)`` or ``failed(error)``, in the window's
thread and in the order of submission. Who must read what was just written submits the read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, Qt, QThreadPool, QTimer, Signal

from core.spec.errors import UserError

Done = Callable[[Any], object]
Failed = Callable[[UserError], object]


class StoreWriter(QObject):
    """Lives in the window's thread; ``submit`` is called there."""

    idle = Signal()  # every write is done and its outcome delivered
    trouble = Signal(str)  # a write failed that nobody else reports
    _ended = Signal(object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)
        self._ended.connect(self._arrived, Qt.ConnectionType.QueuedConnection)
        self._outcomes: deque[tuple[Callable[[Any], object] | None, Any]] = deque()
        self._turn = QTimer(self, interval=0)  # one outcome a turn of the event loop: what each causes adds up
        self._turn.timeout.connect(self._deliver)
        self.pending = 0  # submitted, and the outcome not delivered yet
        self.failures = 0  # so far

    def submit(self, write: Callable[[], Any], done: Done | None = None, failed: Failed | None = None) -> None:
        """Run ``write`` after the earlier ones. Without ``failed``, an error goes to ``trouble``."""
        self.pending += 1
        self._pool.start(lambda: self._work(write, done, failed))

    def _work(self, write: Callable[[], Any], done: Done | None, failed: Failed | None) -> None:
        try:
            result = write()
        except UserError as error:
            self._ended.emit(failed or self._report, error)
        except Exception as error:  # noqa: BLE001  what ends a job must be reported, whatever it is
            self._ended.emit(failed or self._report, UserError(f"{type(error).__name__}: {error}"))
        else:
            self._ended.emit(done, result)

    def _arrived(self, callback: Callable[[Any], object] | None, outcome: Any) -> None:
        self._outcomes.append((callback, outcome))
        self._turn.start()

    def _deliver(self) -> None:
        callback, outcome = self._outcomes.popleft()
        if not self._outcomes:
            self._turn.stop()
        self.pending -= 1
        self.failures += isinstance(outcome, UserError)
        try:
            if callback is not None:
                callback(outcome)
        finally:
            if not self.pending:
                self.idle.emit()

    def _report(self, error: UserError) -> None:
        self.trouble.emit(str(error))

    def wait(self) -> None:
        """Block until every write is done; outcomes are delivered by the event loop later."""
        self._pool.waitForDone()
