"""One export at a time in a thread: progress in a strip, and the outcome in the main thread."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import Any

from PySide6.QtCore import QCoreApplication, QObject, Signal

from core.spec.errors import UserError, not_written
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.shared.export.formats import Progress
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.worker.replies import Cancelled, Failure

_REPORT_SECONDS = 0.03  # minimum time between two progress reports
Work = Callable[[Progress], Any]  # gets the function that reports progress and raises if the user cancelled


class _Cancelled(Exception):
    """The user cancelled the export."""


class ExportTask(QObject):
    """Runs an export in a thread, from ``start`` to ``done`` or ``failed``; the strip shows it and can cancel it."""

    done = Signal(object)  # the result of ``work``, such as ExportResult
    failed = Signal(object)  # Failure

    _progress = Signal(int, int)

    def __init__(self, strip: ProgressStrip, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._strip = strip
        if (app := QCoreApplication.instance()) is not None:
            app.aboutToQuit.connect(self.cancel)  # before waiting for the thread
        self._tasks = BackgroundTasks(self)
        self._cancel_requested = Event()
        self._last_report = 0.0
        self.running = False
        self._progress.connect(lambda done, total: strip.advance(done, total) if self.running else None)
        strip.cancelled.connect(self.cancel)

    def start(self, title: str, total: int, work: Work) -> None:
        """Start ``work``. Raises RuntimeError if another export is running."""
        if self.running:
            raise RuntimeError("An export is already running")
        self.running = True
        self._cancel_requested.clear()
        self._last_report = 0.0
        self._strip.start(title, total, "images")
        self._tasks.run(lambda: self._work(work), self._finish, lambda sentence: self._finish(Failure(sentence)))

    def cancel(self) -> None:
        """Cancel the export; complete files are kept."""
        self._cancel_requested.set()

    def _work(self, work: Work) -> Any:
        """Run ``work`` in the thread; the result, or Cancelled."""
        try:
            return work(self._report)
        except _Cancelled:
            return Cancelled()
        except OSError as problem:
            raise UserError(not_written(problem.filename or "the file", problem)) from None

    def _report(self, done: int, total: int) -> None:
        if self._cancel_requested.is_set():
            raise _Cancelled
        if monotonic() - self._last_report > _REPORT_SECONDS:
            self._last_report = monotonic()
            self._progress.emit(done, total)

    def _finish(self, outcome: Any) -> None:
        self.running = False
        self._strip.finish()
        (self.failed if isinstance(outcome, Failure) else self.done).emit(outcome)

    def close_threads(self) -> None:
        """Cancel and wait; call this before the application ends."""
        self.cancel()
        self._tasks.wait()
