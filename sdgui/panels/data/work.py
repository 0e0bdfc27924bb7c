"""The Data panel's requests: one worker reads and saves rows, a second worker runs checks.

Flow: ``open`` -> ``data_open`` -> rows in parts, then statistics; ``check`` -> ``data_check``; ``save`` ->
``data_save``. A check reads every image. It has its own process, so that other requests do not wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from sdgui.panels.data import exclusions
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.worker.calls import WorkerCalls
from sdgui.worker.data_verbs import DATA_CHECK, DATA_OPEN, DATA_SAVE
from sdgui.worker.pool import CHECK_WORKER, DATA_WORKER, WorkerPool

_OPEN, _CHECK, _SAVE = "open", "check", "save"


class DataWork(QObject):
    """Requests for one source at a time; a newer source replaces the previous one."""

    progress = Signal(str, str, int, int)  # purpose, activity, finished, total
    part = Signal(object)  # RowsPart
    opened = Signal(object)  # RowsOpened
    open_failed = Signal(object)  # Failure
    checked = Signal(object)  # Checked
    check_failed = Signal(object)  # Failure
    saved = Signal(object)  # SavedSource
    save_failed = Signal(object)  # Failure
    exclusions_failed = Signal(str)  # why exclusions could not be read or written

    def __init__(self, pool: WorkerPool, home: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._home = home
        self._data = WorkerCalls(pool.client(DATA_WORKER, "data"), self)
        self._checks = WorkerCalls(pool.client(CHECK_WORKER, "data checks"), self)
        self._files = BackgroundTasks(self)
        for calls in (self._data, self._checks):
            calls.progress.connect(self.progress)

    def open(self, source: str) -> None:
        """Read the rows of ``source``. Another source is no longer read or checked; a save continues."""
        self._checks.drop(_CHECK)
        self._data.ask(
            _OPEN, DATA_OPEN, self.opened.emit, self.open_failed.emit, self.part.emit, source=source, images_only=True
        )

    def check(self, source: str, splits: Mapping[str, str], label: str) -> None:
        """Find broken images, duplicates, and leaks to ``splits`` (name -> source) or between values of ``label``."""
        done, failed = self.checked.emit, self.check_failed.emit
        self._checks.ask(_CHECK, DATA_CHECK, done, failed, source=source, others=dict(splits), label=label)

    def cancel(self) -> None:
        """Cancel all requests because the user asked for it; each fails with ``Cancelled``."""
        for purpose in (_OPEN, _SAVE):
            self._data.cancel(purpose)
        self._checks.cancel(_CHECK)

    def save(self, source: str, target: Path, excluded: Sequence[str], only: Sequence[str], replace: bool) -> None:
        """Write the rows that are not excluded as a new source; if ``only`` is not empty, only these paths."""
        self._data.ask(
            _SAVE,
            DATA_SAVE,
            self.saved.emit,
            self.save_failed.emit,
            source=source,
            to=str(target),
            excluded=list(excluded),
            only=list(only),
            replace=replace,
        )

    # Exclusions
    def update_exclusions(self, source: str, excluded: Sequence[str], included: Sequence[str]) -> None:
        """Save changes of the exclusions in the background."""
        home = self._home
        self._files.run(lambda: exclusions.update(home, source, excluded, included), None, self.exclusions_failed.emit)

    def read_exclusions(self, source: str, done: Callable[[list[str]], object]) -> None:
        """Read the exclusions of ``source`` in the background and pass them to ``done``."""
        home = self._home
        self._files.run(lambda: exclusions.read(home, source), done, self.exclusions_failed.emit)

    def wait(self) -> None:
        """Wait until all exclusions are written."""
        self._files.wait()
