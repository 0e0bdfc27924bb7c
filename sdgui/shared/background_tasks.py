"""Short tasks with files or the store, run in a background thread; their results come back to the window's thread.

Flow: panel -> ``BackgroundTasks.run(work, done, failed)`` -> thread -> ``done(result)`` or ``failed(sentence)``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from PySide6.QtCore import QCoreApplication, QObject, Qt, QThreadPool, Signal

from core.spec.errors import UserError


class BackgroundTasks(QObject):
    """One thread that runs tasks in the order in which they were given."""

    _ended = Signal(object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)
        self._open = True
        self._ended.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        if (app := QCoreApplication.instance()) is not None:
            app.aboutToQuit.connect(self.close)

    def run(
        self,
        work: Callable[[], Any],
        done: Callable[[Any], object] | None = None,
        failed: Callable[[str], object] | None = None,
    ) -> None:
        """Run ``work`` in the thread; ``done`` gets its result, ``failed`` an error message for the user."""
        self._pool.start(lambda: self._work(work, done, failed))

    def _work(
        self,
        work: Callable[[], Any],
        done: Callable[[Any], object] | None,
        failed: Callable[[str], object] | None,
    ) -> None:
        try:
            result = work()
        except UserError as error:
            self._end(failed, str(error))
        except OSError as error:
            file_name = f" {error.filename}" if error.filename else ""
            self._end(failed, f"The file{file_name} cannot be used: {error.strerror or error}.")
        except Exception as error:  # noqa: BLE001  whatever ends a task must be reported
            self._end(failed, f"{type(error).__name__}: {error}")
        else:
            self._end(done, result)

    def _end(self, receiver: Callable[[Any], object] | None, outcome: Any) -> None:
        with suppress(RuntimeError):  # the owner was deleted while the task ran, so nobody waits for the outcome
            self._ended.emit(receiver, outcome)

    def _deliver(self, receiver: Callable[[Any], object] | None, outcome: Any) -> None:
        if receiver is not None and self._open:
            receiver(outcome)

    def wait(self) -> None:
        """Wait until every task is finished; results are delivered later, by the event loop."""
        self._pool.waitForDone()

    def close(self) -> None:
        """Finish the tasks that were given and deliver nothing more."""
        self._open = False
        self._pool.waitForDone()
