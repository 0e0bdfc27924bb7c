"""The follower's thread. Polls run folders, summarises events, determines and records states. No Qt.

Flow: run folders -> ``LiveRun`` (state and summary of every run) and ``RunHistory`` (curves of shown runs) -> store and
``Outbox``, from which the window's thread takes all pending changes together.
Offset and summary are stored in one transaction, so that no event is lost or counted twice if the window is killed.
An error in one run is reported for that run; the others are still followed.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from core.spec.errors import UserError
from core.spec.machines.record import read_record
from core.spec.reading import excerpt
from core.spec.run.events import EventError, EventReader
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState
from sdgui.runs.live import LiveRun, RunProgress
from sdgui.runs.machines.colleagues import colleague_dir
from sdgui.runs.poller import Poller
from sdgui.store.records import Run, StoreError
from sdgui.store.store import Store

if TYPE_CHECKING:
    from sdgui.runs.history import RunHistory

_IDLE_INTERVAL = 20  # the store and idle runs are polled in every 20th round
_RECORD_SECONDS = 0.5  # minimum time between two records of a run with an unchanged state
_IDLE_PER_ROUND = 500  # idle runs that are polled in one round
_CHUNK = 256 << 10  # bytes of events per step; the window's thread may have to wait until a step is complete


@dataclass
class News:
    """All changes since the last call of ``Outbox.take``; only the newest of repeated changes."""

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
    """Collects news in the follower's thread for the window's thread."""

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
        """Whether there are changes that the window has not been notified of; the caller then notifies it."""
        with self._lock:
            notify = bool(self._news) and not self._notified
            self._notified = self._notified or notify
            return notify

    def take(self) -> News:
        """The news since the last call."""
        with self._lock:
            news, self._news, self._notified = self._news, News(), False
            return news


class ShownRun:
    """A run whose curves are kept in memory."""

    def __init__(self) -> None:
        self.start_over()

    def start_over(self) -> None:
        """Discard everything that was read: the events file was replaced, or the folder was moved."""
        from sdgui.runs.history import RunHistory  # noqa: PLC0415  (imports numpy; the window opens without)

        self.history: RunHistory = RunHistory()
        self.reader: EventReader | None = None
        self.loaded = False
        self.reported_broken = 0  # unreadable lines that have been reported in the history's log


class FollowerThread(Poller):
    """Follows every run of the store; ``notify`` is called from this thread when the outbox has news."""

    def __init__(self, store: Store, outbox: Outbox, notify: Callable[[], None], poll_seconds: float) -> None:
        super().__init__("follower", "The runs", self._follow, self._failed)
        self.shown: dict[int, ShownRun] = {}  # filled and emptied by the window's thread
        self.progress: dict[int, RunProgress] = {}  # read by the window's thread
        self._store = store
        self._outbox = outbox
        self._notify = notify
        self._poll_seconds = poll_seconds
        self._live: dict[int, LiveRun] = {}
        self._active: set[int] = set()  # runs polled in every round
        self._next_idle_index = 0
        self._markers: dict[int, tuple[object, ...]] = {}  # change markers of all records, as last read
        self._requested: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._recorded_at: dict[int, float] = {}
        self._reported: dict[int, RunState] = {}  # states reported to the window
        self._problems: dict[tuple[int, str], str] = {}  # run (0: the store) and aspect -> reported message
        self._idle_poll_at = 0.0
        self._notified_at = 0.0

    def poll_now(self, run_id: int = 0) -> None:
        """Poll the store and this run immediately."""
        self._requested.put(run_id)
        self.wake()

    def run(self) -> None:
        super().run()
        for live in self._live.values():
            self._record(live, at_once=True)

    def _follow(self) -> float:
        """One round; returns the pause before the next, short while a long file is being read."""
        pause = 0.005 if self._poll_runs() else self._poll_seconds
        self._notify_window()
        return pause

    def _failed(self, sentence: str) -> None:
        self._report_problem(0, sentence)
        self._notify_window()

    def _notify_window(self) -> None:
        now = time.monotonic()
        if now - self._notified_at >= 0.8 * self._poll_seconds and self._outbox.should_notify():
            self._notified_at = now
            self._notify()

    def _poll_runs(self) -> bool:
        """Poll all runs that are due; returns whether more can be read immediately."""
        now = time.monotonic()
        requested = set()
        while not self._requested.empty():
            requested.add(self._requested.get())
        polls_idle = now >= self._idle_poll_at or bool(requested)
        if polls_idle:
            self._idle_poll_at = now + _IDLE_INTERVAL * self._poll_seconds
            self._poll_store()
        busy = False
        due_runs = {*self._active, *requested, *(self._next_idle() if polls_idle else ())}
        for run_id in sorted(due_runs.union(list(self.shown))):
            if self.ending.is_set():
                return False
            live = self._live.get(run_id)
            # An unreadable run is retried only with the idle ones.
            if live is not None and (polls_idle or (run_id, "") not in self._problems):
                busy = self._guarded_poll(live, run_id in due_runs) or busy
        return busy

    def _next_idle(self) -> list[int]:
        """The next batch of all runs: another program may have resumed a run or deleted its folder."""
        start = self._next_idle_index
        batch = list(self._live)[start : start + _IDLE_PER_ROUND]
        self._next_idle_index = start + _IDLE_PER_ROUND if len(batch) == _IDLE_PER_ROUND else 0
        return batch

    def _guarded_poll(self, live: LiveRun, is_due: bool) -> bool:
        """Poll one run; an error is shown as a failure of this run."""
        busy = False
        try:
            if live.is_remote:
                self._active.discard(live.run_id)
                return self._fill_from_mirror(live)
            if is_due:
                busy = self._poll(live)
                (self._active.add if live.state.alive or live.has_backlog else self._active.discard)(live.run_id)
            if shown_run := self.shown.get(live.run_id):
                busy = self._fill(live, shown_run, live.dir) or busy
        except Exception as error:  # noqa: BLE001  the other runs are still followed
            cause = f"{type(error).__name__}: {excerpt(str(error))}"
            sentence = f"The run in {live.dir.path} cannot be followed: {cause}."
            self._publish(live.failed(sentence))
            self._report_problem(live.run_id, sentence)
            return False
        return busy

    def _poll_store(self) -> None:
        try:
            for problem in self._store.import_logged():
                self._report_problem(0, problem, "a logged run")
            markers = self._store.change_markers()
            runs = self._store.runs_by_id(run_id for run_id in markers if self._markers.get(run_id) != markers[run_id])
            moved_runs = [run_id for run_id, run in runs.items() if self._folder(run_id) != run.folder]
            metrics = self._store.summaries(moved_runs)
        except StoreError as error:
            self._report_problem(0, str(error))
            return
        self._clear_problem(0)
        self._markers = markers
        for run_id in self._live.keys() - markers.keys():
            del self._live[run_id]
            self._active.discard(run_id)
            self.progress.pop(run_id, None)
            self._outbox.removed(run_id)
        for run_id, run in runs.items():
            live = self._live.get(run_id)
            if not run.is_local:
                self._publish_record(run)
            elif self._store.shared and run.machine and run.remote_folder is None:
                self._record_remote_folder(run)
                del markers[run_id]  # forces the record to be read again
            self._active.add(run_id)
            if live is not None and live.dir.path == run.folder:
                live.refresh(run)
                continue
            self._live[run_id] = LiveRun(run, metrics[run_id], colleague_dir(self._store.home, run))
            if live is not None:  # the study was moved
                self._start_over(run_id)
                continue
            self._reported[run_id] = run.state
            self._outbox.added(run_id)  # in the first round too: the window listed its runs some time ago

    def _publish_record(self, run: Run) -> None:
        """Publish the registry's record of a run on another computer, whose folder cannot be read here."""
        self._publish(RunProgress(run.id, run.state, run.step, run.total_steps, "", None, run.best, run.failure))
        if self._reported.get(run.id) is not run.state:
            self._reported[run.id] = run.state
            self._outbox.state(run.id, run.state)

    def _fill_from_mirror(self, live: LiveRun) -> bool:
        """Read another person's run from its local mirror; without one it counts as loaded, as no events follow."""
        shown_run = self.shown.get(live.run_id)
        if shown_run is None:
            return False
        if live.mirror.events.exists():
            return self._fill(live, shown_run, live.mirror)
        if not shown_run.loaded:
            shown_run.loaded = True
            self._outbox.loaded(live.run_id)
        return False

    def _record_remote_folder(self, run: Run) -> None:
        """Record for other users where a run launched by this window trains."""
        try:
            record = read_record(run.dir)
            if record is not None and record.folder and record.computer:
                self._store.record_remote_folder(run.id, record.computer, record.folder)
        except UserError as error:
            self._report_problem(run.id, str(error), "where it trains")

    def _start_over(self, run_id: int) -> None:
        """Discard everything that was read from a run whose folder has moved."""
        self.progress.pop(run_id, None)
        if shown_run := self.shown.get(run_id):
            shown_run.start_over()

    def _folder(self, run_id: int) -> Path | None:
        """The folder in which the run is followed; None before the first poll."""
        live = self._live.get(run_id)
        return None if live is None else live.dir.path

    def _poll(self, live: LiveRun) -> bool:
        try:
            progress = live.poll()
        except OSError as error:
            self._report_problem(live.run_id, f"The run folder {live.dir.path} cannot be read: {error.strerror}.")
            return False
        if live.trouble:
            self._report_problem(live.run_id, live.trouble)
        else:
            self._clear_problem(live.run_id)
        self._record(live, at_once=live.state is not self._reported.get(live.run_id))
        self._publish(progress)
        return live.has_backlog

    def _publish(self, progress: RunProgress) -> None:
        if self.progress.get(progress.run_id) != progress:
            self.progress[progress.run_id] = progress
            self._outbox.progress(progress)

    def _record(self, live: LiveRun, at_once: bool) -> None:
        """Update the store if due, then report a change of state."""
        now = time.monotonic()
        if live.is_remote:  # recorded by the other computer
            return
        if not at_once and now - self._recorded_at.get(live.run_id, -1.0e9) < _RECORD_SECONDS:
            return
        progress = live.to_record()
        if progress is not None:
            self._recorded_at[live.run_id] = now
            try:
                self._store.record(live.run_id, progress, rewritten=live.rewritten)
            except StoreError as error:  # retried in the next round
                self._report_problem(0, str(error), "recording")
                return
            self._clear_problem(0, "recording")
            live.recorded(progress)
        if self._reported.get(live.run_id) is not live.state:
            self._reported[live.run_id] = live.state
            self._outbox.state(live.run_id, live.state)

    def _fill(self, live: LiveRun, shown_run: ShownRun, folder: RunDir) -> bool:
        """Apply the next chunk of a shown run's events in ``folder`` to its history."""
        try:
            size = folder.events.stat().st_size
            if shown_run.reader is not None and size < shown_run.reader.offset:
                shown_run.start_over()
            if shown_run.reader is None:
                shown_run.reader = EventReader(folder.events)
            start_offset = shown_run.reader.offset
            events = shown_run.reader.read(_CHUNK) if size > start_offset else []
        except FileNotFoundError:
            return False
        except EventError as error:
            self._report_problem(live.run_id, str(error))
            return False
        except OSError as error:
            self._report_problem(live.run_id, f"The events of {folder.path} cannot be read: {error.strerror}.")
            return False
        changed = shown_run.history.apply(events)
        if shown_run.reader.broken > shown_run.reported_broken:
            changed |= shown_run.history.warn(_unreadable_lines(shown_run.reader, shown_run.reported_broken))
            shown_run.reported_broken = shown_run.reader.broken
        if changed:
            self._outbox.curves(live.run_id, changed)
        has_more = shown_run.reader.offset > start_offset and size - shown_run.reader.offset > 0
        if not has_more and not shown_run.loaded:
            shown_run.loaded = True
            self._outbox.loaded(live.run_id)
        return has_more

    def _report_problem(self, run_id: int, message: str, about: str = "") -> None:
        """Report a problem unless it was already reported last time."""
        if self._problems.get((run_id, about)) != message:
            self._problems[run_id, about] = message
            self._outbox.trouble(run_id, message)

    def _clear_problem(self, run_id: int, about: str = "") -> None:
        if self._problems.pop((run_id, about), ""):
            self._outbox.trouble(run_id, "")


def _unreadable_lines(reader: EventReader, reported: int) -> str:
    """The warning about unreadable lines, except the ``reported`` ones in an earlier warning."""
    count = reader.broken - reported
    lines = "1 line of events.jsonl was" if count == 1 else f"{count} lines of events.jsonl were"
    first = f" The first: {reader.problem}." if reported == 0 else ""
    return f"{lines} unreadable and skipped.{first}"
