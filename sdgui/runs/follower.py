"""The follower reads run folders in a thread and notifies the window, at most ten times per second and run.

Flow: ``FollowerThread`` reads, records and fills an ``Outbox``; one queued signal passes the news to the
window's thread, where it is emitted as signals. A busy window gets one combined signal.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, QTimer, Signal, SignalInstance

from core.spec.run.status import RunState
from sdgui.runs.follower_thread import FollowerThread, News, Outbox, ShownRun
from sdgui.runs.live import RunProgress
from sdgui.store.store import Store

if TYPE_CHECKING:  # imports numpy
    from sdgui.runs.history import RunHistory

_TURN_SECONDS = 0.01  # emit signals for this long, then let other events run


class Follower(QObject):
    """Follows every run of the store from the start; keeps curves of shown runs."""

    curves_changed = Signal(int, object)  # run id, frozenset[str]: changed parts of its history (RunHistory.apply)
    curves_loaded = Signal(int)  # run id: its history is complete
    progress_changed = Signal(int, object)  # run id, RunProgress
    state_changed = Signal(int, object)  # run id, RunState; the store has it already
    run_added = Signal(int)  # run id: found in the store, at the start or later
    run_removed = Signal(int)  # run id: moved to the bin or deleted, here or by another window
    trouble = Signal(int, str)  # run id (0: the store), why it cannot be read; "" once it can be read again
    _notified = Signal()

    def __init__(self, store: Store, parent: QObject | None = None, poll_seconds: float = 0.1) -> None:
        super().__init__(parent)
        self._outbox = Outbox()
        self._closed = False
        self._pending: deque[Callable[[], object]] = deque()  # signals not emitted yet
        self._thread = FollowerThread(store, self._outbox, self._notified.emit, poll_seconds)
        self._notified.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    def start(self) -> None:
        """Reattach to every run and start to follow."""
        self._thread.start()

    def close(self) -> None:
        """Record progress and end the thread; nothing is emitted afterwards, because panels are being deleted."""
        self._closed = True
        self._thread.stop()

    def poll_now(self, run_id: int = 0) -> None:
        """Poll the store and this run immediately, after the run was launched, resumed, queued or imported."""
        self._thread.poll_now(run_id)

    def show(self, run_id: int) -> RunHistory:
        """Keep the run's curves in a history, filled from the start of the file until ``curves_loaded``."""
        shown_run = self._thread.shown.get(run_id)
        if shown_run is None:
            shown_run = self._thread.shown[run_id] = ShownRun()
            self._thread.poll_now(run_id)
        return shown_run.history

    def hide(self, run_id: int) -> None:
        """Release the curves of a run."""
        self._thread.shown.pop(run_id, None)

    def history(self, run_id: int) -> RunHistory | None:
        """The history of a shown run."""
        shown_run = self._thread.shown.get(run_id)
        return None if shown_run is None else shown_run.history

    def progress(self, run_id: int) -> RunProgress | None:
        """The current progress of a run; None before its first poll."""
        return self._thread.progress.get(run_id)

    def state(self, run_id: int) -> RunState | None:
        """The current state of a run; None before its first poll."""
        progress = self.progress(run_id)
        return None if progress is None else progress.state

    def _deliver(self) -> None:
        self._pending.extend(self._signals(self._outbox.take()))
        self._emit_pending()

    def _emit_pending(self) -> None:
        """Emit signals for a short time, and continue in the next turn of the event loop."""
        start_time = time.perf_counter()
        while self._pending and not self._closed:
            self._pending.popleft()()
            if self._pending and time.perf_counter() - start_time > _TURN_SECONDS:
                QTimer.singleShot(0, self, self._emit_pending)
                return

    def _signals(self, news: News) -> Iterator[Callable[[], object]]:
        """The signals to emit, in order."""
        yield from (partial(self.run_added.emit, run_id) for run_id in news.added)
        yield from (partial(self.run_removed.emit, run_id) for run_id in news.removed)
        yield from (partial(self.progress_changed.emit, *changed) for changed in news.progress.items())
        yield from (partial(self._emit_if_shown, self.curves_changed, *changed) for changed in news.curves.items())
        yield from (partial(self._emit_if_shown, self.curves_loaded, run_id) for run_id in news.loaded)
        yield from (partial(self.state_changed.emit, *changed) for changed in news.states.items())
        yield from (partial(self.trouble.emit, *trouble) for trouble in news.troubles)

    def _emit_if_shown(self, signal: SignalInstance, run_id: int, *names: set[str]) -> None:
        """Emit ``signal`` if the run is still shown."""
        if run_id in self._thread.shown:
            signal.emit(run_id, *map(frozenset, names))
