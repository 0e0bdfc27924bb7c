"""Several jobs, one progress strip: it shows the oldest running job, and its cancel button ends that one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QObject

from sdgui.widgets.progress_strip import ProgressStrip


@dataclass
class _Job:
    what: str
    cancel: Callable[[], None]
    done: int = 0
    total: int = 0


class Jobs(QObject):
    """Jobs by name."""

    def __init__(self, strip: ProgressStrip, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._strip = strip
        self._jobs: dict[str, _Job] = {}
        self._shown = ""
        strip.cancelled.connect(self._cancel)

    def advance(self, name: str, what: str, done: int, total: int, cancel: Callable[[], None]) -> None:
        """Start ``name``, or update its progress."""
        what = what[:1].upper() + what[1:]
        job = self._jobs.setdefault(name, _Job(what, cancel))
        job.what, job.done, job.total = what, done, total
        self._show()

    def end(self, name: str) -> None:
        """The job has ended, successfully or not; an unknown name is ignored."""
        if self._jobs.pop(name, None) is not None:
            self._show()

    def running(self) -> list[str]:
        return list(self._jobs)

    def _show(self) -> None:
        name = next(iter(self._jobs), "")
        if not name:
            self._shown = ""
            self._strip.finish()
            return
        job = self._jobs[name]
        if name != self._shown:
            self._strip.start(job.what, job.total)
            self._shown = name
        self._strip.advance(job.done, job.total, job.what)

    def _cancel(self) -> None:
        if self._shown in self._jobs:
            self._jobs[self._shown].cancel()
