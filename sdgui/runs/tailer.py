"""Tailer: follows the runs' folders in a thread and notifies the window, at most ten times per second and run.

Flow: ``Follower`` (thread) reads, records and fills an ``Outbox``; one queued signal takes the news over to the
window's thread, where it is handed out as signals. A window that is busy gets one gathered signal, not a flood.
"""

from __future__ import annotations

from PySide6.QtCore import QObject, Qt, Signal

from core.spec.run.status import RunState
from sdgui.runs.follower import Follower, ShownRun
from sdgui.runs.history import RunHistory
from sdgui.runs.live import RunProgress
from sdgui.runs.outbox import Outbox
from sdgui.store.store import Store


class Tailer(QObject):
    """Every run of the store is followed from the start; curves are held for those that are shown."""

    curves_changed = Signal(int, object)  # run id, frozenset[str] of what changed in its history (RunHistory.apply)
    curves_loaded = Signal(int)  # run id: everything written before is in its history now
    progress_changed = Signal(int, object)  # run id, RunProgress
    state_changed = Signal(int, object)  # run id, RunState; the store has it already
    run_added = Signal(int)  # run id: launched here or by another window, or imported
    run_removed = Signal(int)  # run id: in the bin now, or removed for good, here or by another window
    trouble = Signal(int, str)  # run id (0: the store), a sentence: a folder or the database cannot be read
    _notified = Signal()

    def __init__(self, store: Store, parent: QObject | None = None, poll_seconds: float = 0.1) -> None:
        super().__init__(parent)
        self._outbox = Outbox()
        self._follower = Follower(store, self._outbox, self._notified.emit, poll_seconds)
        self._notified.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    def start(self) -> None:
        """Reattach to every run and begin to follow."""
        self._follower.start()

    def close(self) -> None:
        """Record what was read and end the thread."""
        self._follower.end(5.0)

    def follow(self, run_id: int) -> None:
        """Poll this run now: it was just launched, resumed, queued or imported."""
        self._follower.poll_now(run_id)

    def show(self, run_id: int) -> RunHistory:
        """Hold the run's curves: a history that fills from the file's start; ``curves_loaded`` when it is whole."""
        shown = self._follower.shown.get(run_id)
        if shown is None:
            shown = self._follower.shown[run_id] = ShownRun()
            self._follower.poll_now(run_id)
        return shown.history

    def hide(self, run_id: int) -> None:
        """Release its curves."""
        self._follower.shown.pop(run_id, None)

    def history(self, run_id: int) -> RunHistory | None:
        """The history of a shown run."""
        shown = self._follower.shown.get(run_id)
        return None if shown is None else shown.history

    def progress(self, run_id: int) -> RunProgress | None:
        """The current progress of a run; None before it was first polled."""
        return self._follower.progress.get(run_id)

    def state(self, run_id: int) -> RunState | None:
        """Its current state; None before it was first polled."""
        progress = self.progress(run_id)
        return None if progress is None else progress.state

    def _deliver(self) -> None:
        news = self._outbox.take()
        for run_id in news.added:
            self.run_added.emit(run_id)
        for run_id in news.removed:
            self.run_removed.emit(run_id)
        for run_id, progress in news.progress.items():
            self.progress_changed.emit(run_id, progress)
        for run_id, names in news.curves.items():
            if run_id in self._follower.shown:
                self.curves_changed.emit(run_id, frozenset(names))
        for run_id in news.loaded:
            if run_id in self._follower.shown:
                self.curves_loaded.emit(run_id)
        for run_id, state in news.states.items():
            self.state_changed.emit(run_id, state)
        for run_id, message in news.troubles:
            self.trouble.emit(run_id, message)
