"""Detects changes by others in a shared registry, so that the window reloads them.

Flow: the registry's activity -> a thread reads new rows -> ``changed`` in the window's thread.
"""

from __future__ import annotations

from contextlib import suppress

from PySide6.QtCore import QObject, Signal

from sdgui.runs.poller import Poller
from sdgui.store.changes import Changes
from sdgui.store.records import StoreError
from sdgui.store.store import Store

_POLL_SECONDS = 3.0


class RegistryChanges(QObject):
    """Polls a shared registry every three seconds; a local database is not polled."""

    changed = Signal(object)  # Changes
    trouble = Signal(str)  # why changes by others cannot be followed at present

    def __init__(self, store: Store, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._last = -1  # id of the last known row; -1 if it could not be read
        if store.shared:  # read before the window reads the registry, so that no change in between is missed
            with suppress(StoreError):
                self._last = store.last_activity()
        self.poller = Poller("registry changes", "Changes by others", self._work, self.trouble.emit)

    def start(self) -> None:
        """Start polling if the registry is shared."""
        if self._store.shared:
            self.poller.begin()

    def close(self) -> None:
        """Stop polling."""
        self.poller.stop()

    def _work(self) -> float:
        try:
            if self._last < 0:
                self._last = self._store.last_activity()
            rows = self._store.activity_of_others(self._last)
        except StoreError:  # temporarily unreachable, which the follower reports
            return _POLL_SECONDS
        if rows:
            self._last = rows[-1].id
            experiments = frozenset(row.experiment_id for row in rows if row.experiment_id is not None)
            runs = frozenset(row.run_id for row in rows if row.run_id is not None)
            self.changed.emit(Changes(experiments, runs))
        return _POLL_SECONDS
