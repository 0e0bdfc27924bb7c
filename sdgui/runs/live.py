"""LiveRun: the current state of one run folder, from new events and the status file. No Qt.

Flow: the follower's thread polls one LiveRun per run, passes its progress to the window and records ``to_record``.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass

from core.spec.run.events import EventError, EventReader
from core.spec.run.folder import RunDir, error_line
from core.spec.run.starting import STARTING
from core.spec.run.status import RunState, RunStatus
from sdgui.store.records import BestPoint, MetricSummary, Progress, Run
from sdgui.store.summary import RunSummary, run_state, summarise

_CHUNK = 1 << 20  # bytes of events per poll
_CHECK_SECONDS = 0.5  # minimum time between two checks whether the trainer's process is alive


@dataclass(frozen=True)
class RunProgress:
    """The progress of a run as the tree shows it."""

    run_id: int
    state: RunState
    step: int
    total_steps: int
    doing: str  # "starting", "reading data", "training", "validating", "saving"; "" when no trainer is alive
    seconds_left: float | None
    best: BestPoint | None
    failure: str
    folder_missing: bool = False  # moved, deleted or unreachable; other values are the last known ones


class LiveRun:
    """The state of a run; reads its events from ``run.offset``, since the store has the earlier ones."""

    def __init__(self, run: Run, metrics: Mapping[str, MetricSummary], mirror: RunDir | None = None) -> None:
        """``mirror``: the local copy of a run on another computer, from which its curves are read."""
        self.run_id = run.id
        self.mirror = mirror or run.dir
        self.dir = run.dir
        self.launched = run.launched
        self.state = run.state
        self.queued = run.queue_position is not None
        self.is_remote = not run.is_local
        self.rewritten = False  # whether the events file was replaced
        self.trouble = ""  # why its events cannot be read now
        self._summary = RunSummary.of(run, metrics)
        # from the start if no event could be read, so that the problem is reported again
        self._reader = EventReader(self.dir.events, 0 if self._summary.empty else run.offset)
        self._last_poll_read_events = False
        self._failure = run.failure
        self._status: RunStatus | None = None
        self._status_stamp: int | None = None
        self._checked_at = 0.0
        self._folder_existed = False  # at an earlier poll
        self._folder_missing = False
        self._recorded: tuple[int, RunState, str] = (run.offset, run.state, run.failure)

    def refresh(self, run: Run) -> None:
        """Apply a changed record of the store: launched again, queued, or removed from the queue."""
        if run.launched != self.launched or self.queued != (run.queue_position is not None):
            self._checked_at = 0.0
        self.launched = run.launched
        self.queued = run.queue_position is not None
        self._recorded = (run.offset, run.state, run.failure)
        if run.ending == "failed" and run.launched is None:  # its trainer could not be started
            self._summary.ending, self._summary.failure, self._summary.finished = "failed", run.failure, run.finished

    def poll(self) -> RunProgress:
        """Read new events, one chunk at most, and determine the state."""
        try:
            has_news, self.trouble = self._read_events(), ""
        except EventError as error:
            has_news, self.trouble = self.trouble != str(error), str(error)
        self._last_poll_read_events = has_news and not self.trouble
        status_changed = self._read_status()
        now = time.time()
        is_due = self._checked_at == 0 or (self.state.alive and abs(now - self._checked_at) > _CHECK_SECONDS)
        if has_news or status_changed or is_due:
            self._checked_at = now
            self._determine_state(now)
        return self._progress()

    def _read_events(self) -> bool:
        self._folder_missing = False
        try:
            info = self.dir.events.stat()
        except FileNotFoundError:  # not created yet or temporarily unreachable: keep the last state
            has_begun = self._folder_existed or self._reader.offset > 0
            self._folder_missing = has_begun and not self.queued and not self.dir.path.exists()
            return False
        if not stat.S_ISREG(info.st_mode):
            self._reader.read()  # raises an error that names the kind of file
        size = info.st_size
        if size < self._reader.offset:  # replaced, perhaps from a backup
            return self._reread()
        if size == self._reader.offset:
            return False
        start_offset = self._reader.offset
        self._summary.apply(self._reader.read(_CHUNK))
        self._summary.problem = self._summary.problem or self._reader.problem
        if self._summary.stale:  # training was resumed from an earlier step
            return self._reread()
        return self._reader.offset > start_offset

    def _reread(self) -> bool:
        self._summary, offset = summarise(self.dir.events)
        self.rewritten = self.rewritten or offset < self._recorded[0]
        self._reader.offset = offset
        return True

    def _read_status(self) -> bool:
        try:
            stamp = self.dir.status.stat().st_mtime_ns
        except FileNotFoundError:
            stamp = None
        if stamp == self._status_stamp:
            return False
        status = self.dir.read_status() if stamp is not None else None
        if stamp is not None and status is None:
            return False  # it is being replaced; the next poll reads it
        self._status, self._status_stamp = status, stamp
        return True

    def _determine_state(self, now: float) -> None:
        if self.queued:
            self.state = RunState.QUEUED
            return
        exists = self.dir.path.exists()
        self.state = run_state(self._summary.terminal, self._status, self.launched, now)
        if self.state is RunState.STARTING and self._folder_existed and not exists:
            self.state = RunState.INTERRUPTED
        self._folder_existed = self._folder_existed or exists
        self._failure = self._summary.failure
        if self.state is RunState.INTERRUPTED:
            self._failure = self._interruption_cause()

    def _interruption_cause(self) -> str:
        if not self.dir.path.exists():
            return f"The run folder {self.dir.path} no longer exists."
        if unreadable := self.trouble or self._summary.unreadable:
            return unreadable
        if self._status is not None and self._status.note:
            return self._status.note
        if self.dir.pending_request() == "stop":  # a trainer that exits by itself clears the request
            return "Ended as requested, before it could save. Resume continues from the last checkpoint."
        if line := error_line(self.dir.stderr_end()):
            return f"The trainer exited unexpectedly: {line}"
        return "The trainer exited unexpectedly; it may have been killed or run out of memory."

    def _progress(self) -> RunProgress:
        status = self._status if self.state.alive else None
        activity = status.doing if status else STARTING if self.state is RunState.STARTING else ""
        return RunProgress(
            run_id=self.run_id,
            state=self.state,
            step=max(self._summary.step, status.step if status else 0),
            total_steps=self._summary.total_steps or (status.total_steps if status else 0),
            doing=activity,
            seconds_left=status.seconds_left if status else None,
            best=self._summary.best,
            failure=self._failure,
            folder_missing=self._folder_missing,
        )

    def failed(self, sentence: str) -> RunProgress:
        """The progress of a run that cannot be followed: the last known one, with the reason."""
        self._failure = sentence
        return self._progress()

    def to_record(self) -> Progress | None:
        """The progress that the store does not have yet; None if it is up to date."""
        if not self.rewritten and self._recorded == (self._reader.offset, self.state, self._failure):
            return None
        return self._summary.progress(self._reader.offset, self.state, self._failure)

    def recorded(self, progress: Progress) -> None:
        """Note that ``progress`` has been stored."""
        self._recorded = (progress.offset, progress.state, progress.failure)
        self.rewritten = False

    @property
    def has_backlog(self) -> bool:
        """Whether the last poll read a chunk and more than one further chunk is left."""
        if not self._last_poll_read_events:
            return False
        try:
            return self.dir.events.stat().st_size - self._reader.offset > _CHUNK
        except OSError:
            return False
