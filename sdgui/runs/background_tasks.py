"""Tasks on files or the store, run in order by a background thread; outcomes are delivered in the main thread.

Another window or a backup may lock the database for seconds, and a disk may be slow, so the window's thread never
writes. It does read from the store: reads are short, and never wait for a writer.

Flow: panel -> ``run(work, done, failed)`` -> thread -> ``done(result)`` or ``failed(sentence)``. Writes to the store go
through the window's one ``StoreWriter``, in the order of submission. Code that must read what was just written submits
the read too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from PySide6.QtCore import QCoreApplication, QObject, Qt, QThreadPool, QTimer, Signal

from core.spec.errors import UserError

Work = Callable[[], Any]
Done = Callable[[Any], object]
Failed = Callable[[UserError], object]


class BackgroundTasks(QObject):
    """Runs tasks in a background thread. ``run`` and ``submit`` are called in the window's thread."""

    _ended = Signal(object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)
        self._open = True
        self._ended.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        if (app := QCoreApplication.instance()) is not None:
            app.aboutToQuit.connect(self.close)

    def run(self, work: Work, done: Done | None = None, failed: Callable[[str], object] | None = None) -> None:
        """Run ``work`` in the thread; ``done`` gets its result, ``failed`` an error message for the user."""
        self.submit(work, done, None if failed is None else lambda error: failed(str(error)))

    def submit(self, work: Work, done: Done | None = None, failed: Failed | None = None) -> None:
        """Like ``run``, but ``failed`` gets the error itself."""
        self._pool.start(lambda: self._work(work, done, failed))

    def _work(self, work: Work, done: Done | None, failed: Failed | None) -> None:
        receiver: Callable[[Any], object] | None = failed
        outcome: Any
        try:
            receiver, outcome = done, work()
        except UserError as error:
            receiver, outcome = failed, error
        except OSError as error:
            file_name = f" {error.filename}" if error.filename else ""
            receiver = failed
            outcome = UserError(f"The file{file_name} cannot be used: {error.strerror or error}.")
        except Exception as error:  # noqa: BLE001  every failure of a task is reported
            receiver, outcome = failed, UserError(f"{type(error).__name__}: {error}")
        with suppress(RuntimeError):  # the owner was deleted while the task ran
            self._ended.emit(receiver, outcome)

    def _deliver(self, receiver: Callable[[Any], object] | None, outcome: Any) -> None:
        if receiver is not None and self._open:
            receiver(outcome)

    def wait(self) -> None:
        """Wait until every task is finished; results are delivered later, by the event loop."""
        self._pool.waitForDone()

    def close(self) -> None:
        """Finish the submitted tasks without delivering their results."""
        self._open = False
        self._pool.waitForDone()


class StoreWriter(BackgroundTasks):
    """Runs writes to the store; delivers one outcome per turn of the event loop, since a lock causes a backlog."""

    idle = Signal()  # every write is done and its outcome delivered
    trouble = Signal(str)  # a write failed, and its caller does not report it

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._outcomes: deque[tuple[Callable[[Any], object] | None, Any]] = deque()
        self._turn = QTimer(self, interval=0)
        self._turn.timeout.connect(self._deliver_next)
        self.pending = 0  # submitted tasks whose outcome has not been delivered
        self.failures = 0  # number of failed writes so far

    def submit(self, work: Work, done: Done | None = None, failed: Failed | None = None) -> None:
        """Run ``work`` after the earlier ones. Without ``failed``, an error goes to ``trouble``."""
        self.pending += 1
        super().submit(work, done, failed or (lambda error: self.trouble.emit(str(error))))

    def _deliver(self, receiver: Callable[[Any], object] | None, outcome: Any) -> None:
        self._outcomes.append((receiver, outcome))
        self._turn.start()

    def _deliver_next(self) -> None:
        receiver, outcome = self._outcomes.popleft()
        if not self._outcomes:
            self._turn.stop()
        self.pending -= 1
        self.failures += isinstance(outcome, UserError)
        try:
            super()._deliver(receiver, outcome)
        finally:
            if not self.pending:
                self.idle.emit()
