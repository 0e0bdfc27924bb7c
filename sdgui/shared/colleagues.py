"""What others change in a shared registry, so that the window reads it again.

Flow: the registry's activity -> a thread that reads on from the last row known -> ``changed`` in the window's thread.
"""

from __future__ import annotations

import threading

from PySide6.QtCore import QObject, Signal

from sdgui.store.changes import Changes
from sdgui.store.records import StoreError
from sdgui.store.store import Store

_POLL_SECONDS = 3.0


class Colleagues(QObject):
    """Looks every three seconds; nothing in a registry that is nobody else's."""

    changed = Signal(object)  # Changes

    def __init__(self, store: Store, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look, where the registry is shared."""
        if self._store.shared and self._thread is None:
            self._thread = threading.Thread(target=self._work, name="colleagues", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def _work(self) -> None:
        last = -1
        while not self._ending.is_set():
            try:
                if last < 0:
                    last = self._store.last_activity()
                found = self._store.activity_of_others(last)
            except StoreError:  # out of reach for now, as the tailer says
                found = []
            if found:
                last = found[-1].id
                experiments = frozenset(one.experiment_id for one in found if one.experiment_id is not None)
                runs = frozenset(one.run_id for one in found if one.run_id is not None)
                self.changed.emit(Changes(experiments, runs))
            self._ending.wait(_POLL_SECONDS)
