"""Launcher: starts trainers as programs of their own, pauses, stops and queues them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from PySide6.QtCore import QObject, Signal

from sdgui.store.records import Run
from sdgui.store.store import Store


class LaunchError(RuntimeError):
    """A trainer could not be started; the message says why and what to do."""


class StopStage(StrEnum):
    """How far stopping a run has gone."""

    ASKED = "asked to stop"
    TERMINATED = "told to end"
    KILLED = "killed"
    ENDED = "ended"


@dataclass(frozen=True)
class Stopping:
    """A run being stopped; unless it ends before ``deadline`` (seconds since the epoch), the next stage follows."""

    run_id: int
    stage: StopStage
    deadline: float | None


class Launcher(QObject):
    """Lives in the window's thread; nothing it does waits for a trainer."""

    launched = Signal(int)  # run id: a trainer was started (also from the queue)
    launch_failed = Signal(int, str)  # run id, sentence: a queued run could not be started
    stopping = Signal(int, object)  # run id, Stopping
    ended = Signal(int, int)  # run id, exit code of a trainer that this window started
    queue_changed = Signal()

    def __init__(
        self, store: Store, command: Sequence[str] | None = None, limit: int = 1, parent: QObject | None = None
    ) -> None: ...

    def launch(self, experiment_id: int) -> Run:
        """Start a run of the experiment now. Raises LaunchError."""
        raise NotImplementedError

    def resume(self, run_id: int) -> Run:
        """Go on with a paused, stopped, failed or interrupted run in its folder. Raises LaunchError."""
        raise NotImplementedError

    def pause(self, run_id: int) -> None:
        """Ask it to save everything and end."""

    def stop(self, run_id: int) -> Stopping:
        """Ask it to stop; if it does not in time it is told to end, then killed. Again: the next stage at once."""
        raise NotImplementedError

    def stops(self) -> dict[int, Stopping]:
        """Runs that are being stopped now."""
        raise NotImplementedError

    def enqueue(self, experiment_id: int) -> Run:
        """Freeze the definition and start it when no other run is alive (``limit`` at once)."""
        raise NotImplementedError

    def enqueue_run(self, run_id: int) -> Run:
        """Put a paused or interrupted run in the queue, to be resumed."""
        raise NotImplementedError

    def unqueue(self, run_id: int) -> None: ...
    def set_limit(self, limit: int) -> None: ...
    def close(self) -> None:
        """Let go of the trainers: they train on."""
