"""One export at a time in a thread: its progress in a strip, and its outcome back on the window's thread."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from time import monotonic

from PySide6.QtCore import QCoreApplication, QObject, Qt, QThreadPool, Signal

from core.spec.errors import UserError
from sdgui.shared.export.formats import Exported, Progress
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.worker.replies import Cancelled, Failure

_EVERY = 0.03  # seconds between two reports of progress
Work = Callable[[Progress], Exported]


class _Cancelled(Exception):
    """The user cancelled the export."""


class ExportTask(QObject):
    """``done`` or ``failed`` ends what ``start`` began; the strip shows it and can cancel it."""

    done = Signal(object)  # Exported
    failed = Signal(object)  # Failure

    _progress = Signal(int, int)
    _ended = Signal(object)  # Exported or Failure

    def __init__(self, strip: ProgressStrip, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._strip = strip
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)
        self._leave = Event()
        self._reported = 0.0
        self.running = False
        self._progress.connect(lambda done, total: strip.advance(done, total) if self.running else None)
        self._ended.connect(self._finish, Qt.ConnectionType.QueuedConnection)
        strip.cancelled.connect(self.cancel)
        if (app := QCoreApplication.instance()) is not None:
            app.aboutToQuit.connect(self.close_threads)

    def start(self, title: str, total: int, work: Work) -> None:
        """Start ``work``; RuntimeError while another export runs."""
        if self.running:
            raise RuntimeError("An export is already running")
        self.running = True
        self._leave.clear()
        self._reported = 0.0
        self._strip.start(title, total, "images")
        self._pool.start(lambda: self._work(work))

    def cancel(self) -> None:
        """End it soon; complete files are kept."""
        self._leave.set()

    def _work(self, work: Work) -> None:
        """In the thread."""
        try:
            self._ended.emit(work(self._report))
        except _Cancelled:
            self._ended.emit(Cancelled())
        except UserError as problem:
            self._ended.emit(Failure(str(problem)))
        except OSError as problem:
            subject = f"{problem.filename} " if problem.filename else "The file "
            self._ended.emit(
                Failure(f"{subject}cannot be written: {problem.strerror or problem}; choose another folder.")
            )
        except Exception as problem:  # noqa: BLE001  the outcome of a thread must be reported
            self._ended.emit(Failure(f"The export failed: {type(problem).__name__}: {problem}."))

    def _report(self, done: int, total: int) -> None:
        if self._leave.is_set():
            raise _Cancelled
        if monotonic() - self._reported > _EVERY:
            self._reported = monotonic()
            self._progress.emit(done, total)

    def _finish(self, outcome: Exported | Failure) -> None:
        self.running = False
        self._strip.finish()
        (self.failed if isinstance(outcome, Failure) else self.done).emit(outcome)

    def close_threads(self) -> None:
        """Cancel and wait; call it before the application ends."""
        self.cancel()
        self._pool.waitForDone()
