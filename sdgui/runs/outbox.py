"""Outbox: news of the tailer's thread for the window, gathered so that a slow window gets one batch, not a backlog.

Flow: the tailer adds news and notifies the window once, where ``should_notify``; the window's thread takes all of it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from core.spec.run.status import RunState
from sdgui.runs.live import RunProgress


@dataclass
class News:
    """Everything since it was last taken; of repeated changes, only the newest."""

    added: dict[int, None] = field(default_factory=dict)
    removed: dict[int, None] = field(default_factory=dict)
    progress: dict[int, RunProgress] = field(default_factory=dict)
    states: dict[int, RunState] = field(default_factory=dict)
    curves: dict[int, set[str]] = field(default_factory=dict)
    loaded: dict[int, None] = field(default_factory=dict)
    troubles: list[tuple[int, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any((self.added, self.removed, self.progress, self.states, self.curves, self.loaded, self.troubles))


class Outbox:
    """News between two threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._news = News()
        self._notified = False

    def added(self, run_id: int) -> None:
        with self._lock:
            self._news.added[run_id] = None

    def removed(self, run_id: int) -> None:
        with self._lock:
            self._news.removed[run_id] = None

    def progress(self, progress: RunProgress) -> None:
        with self._lock:
            self._news.progress[progress.run_id] = progress

    def state(self, run_id: int, state: RunState) -> None:
        with self._lock:
            self._news.states[run_id] = state

    def curves(self, run_id: int, names: frozenset[str]) -> None:
        with self._lock:
            self._news.curves.setdefault(run_id, set()).update(names)

    def loaded(self, run_id: int) -> None:
        with self._lock:
            self._news.loaded[run_id] = None

    def trouble(self, run_id: int, message: str) -> None:
        with self._lock:
            self._news.troubles.append((run_id, message))

    def should_notify(self) -> bool:
        """Whether there is news that the window has not been notified of; the caller notifies it then."""
        with self._lock:
            notify = bool(self._news) and not self._notified
            self._notified = self._notified or notify
            return notify

    def take(self) -> News:
        """All the news, once."""
        with self._lock:
            news, self._news, self._notified = self._news, News(), False
            return news
