"""One progress strip for several jobs: shows the oldest running job; its button cancels this job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QObject

from sdgui.widgets.progress_strip import ProgressStrip


@dataclass
class _Job:
    text: str
    cancel: Callable[[], None]
    completed: int = 0
    total: int = 0


class Jobs(QObject):
    """The running jobs by name."""

    def __init__(self, strip: ProgressStrip, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._strip = strip
        self._jobs: dict[str, _Job] = {}
        self._shown_job = ""
        strip.cancelled.connect(self._cancel)

    def advance(self, name: str, text: str, completed: int, total: int, cancel: Callable[[], None]) -> None:
        """Start the job ``name``, or update its progress."""
        text = text[:1].upper() + text[1:]
        job = self._jobs.setdefault(name, _Job(text, cancel))
        job.text, job.completed, job.total = text, completed, total
        self._show()

    def end(self, name: str) -> None:
        """Remove a job that succeeded or failed; an unknown name is ignored."""
        if self._jobs.pop(name, None) is not None:
            self._show()

    def _show(self) -> None:
        name = next(iter(self._jobs), "")
        if not name:
            self._shown_job = ""
            self._strip.finish()
            return
        job = self._jobs[name]
        if name != self._shown_job:
            self._strip.start(job.text, job.total)
            self._shown_job = name
        self._strip.advance(job.completed, job.total, job.text)

    def _cancel(self) -> None:
        if self._shown_job in self._jobs:
            self._jobs[self._shown_job].cancel()
