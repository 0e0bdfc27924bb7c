"""Small work with files or the store, done beside the window's thread; its outcome comes back into it.

Flow: panel -> ``Aside.do(work, done, failed)`` -> thread -> ``done(result)`` or ``failed(sentence)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QCoreApplication, QObject, Qt, QThreadPool, Signal

from core.spec.errors import UserError


class Aside(QObject):
    """Works one after another, in the order in which they were given."""

    _ended = Signal(object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)
        self._open = True
        self._ended.connect(self._tell, Qt.ConnectionType.QueuedConnection)
        if (app := QCoreApplication.instance()) is not None:
            app.aboutToQuit.connect(self.close)

    def do(
        self,
        work: Callable[[], Any],
        done: Callable[[Any], object] | None = None,
        failed: Callable[[str], object] | None = None,
    ) -> None:
        """Do ``work`` in the thread; ``failed`` gets a sentence for the user."""
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
            self._ended.emit(failed, str(error))
        except OSError as error:
            where = f" {error.filename}" if error.filename else ""
            self._ended.emit(failed, f"The file{where} cannot be used: {error.strerror or error}.")
        except Exception as error:  # noqa: BLE001  a thread's end must be told
            self._ended.emit(failed, f"{type(error).__name__}: {error}")
        else:
            self._ended.emit(done, result)

    def _tell(self, told: Callable[[Any], object] | None, what: Any) -> None:
        if told is not None and self._open:
            told(what)

    def wait(self) -> None:
        """Until everything is done; what it came to is told afterwards, by the event loop."""
        self._pool.waitForDone()

    def close(self) -> None:
        """Finish what was begun and tell no more."""
        self._open = False
        self._pool.waitForDone()
