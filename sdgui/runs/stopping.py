"""Stops a run in visible stages: requested through ``control``, then terminated, then killed. No Qt.

Flow: the launcher makes a ``StopPlan`` when the user stops a run and calls ``advance`` a few times a second.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import psutil

from core.spec.run.folder import RunDir
from core.spec.run.status import RunStatus, process_alive
from sdgui.runs.program import end_process
from sdgui.store.summary import START_SECONDS

_SAVING_SECONDS = 300.0  # extra time for a trainer that is saving at its deadline
_SILENT_SECONDS = 10.0  # a saving trainer without a heartbeat for this long is considered hung


class StopStage(StrEnum):
    """The stages of stopping a run; ``PAUSING``: asked to pause, without a deadline."""

    PAUSING = "pausing"
    ASKED = "stopping"
    TERMINATED = "terminating"
    KILLED = "killed"
    ENDED = "ended"


@dataclass(frozen=True)
class Stopping:
    """A run being stopped; unless it ends before ``deadline`` (seconds since the epoch), the next stage follows.

    A trainer on another ``host``, or of another user, only gets the request: it cannot be signalled.
    """

    run_id: int
    stage: StopStage
    deadline: float | None
    host: str = ""  # machine of a trainer that cannot be signalled, otherwise ""


class StopPlan:
    """The progress of stopping one run; with the request "pause", it only waits until the trainer exits."""

    def __init__(
        self,
        run_id: int,
        folder: RunDir,
        asked_seconds: float,
        terminated_seconds: float,
        request: Literal["stop", "pause"] = "stop",
    ) -> None:
        self._folder = folder
        self._terminated_seconds = terminated_seconds
        self._begun = time.time()
        folder.ask(request)
        is_pause = request == "pause"
        stage, deadline = (StopStage.PAUSING, None) if is_pause else (StopStage.ASKED, self._begun + asked_seconds)
        self.current = Stopping(run_id, stage, deadline)

    def advance(self, hurry: bool = False) -> bool:
        """Go to the next stage if the run ended or its deadline passed (or ``hurry``); returns whether it changed.

        Raises OSError if a repeated request cannot be written to the run folder.
        """
        now = time.time()
        status = self._folder.read_status()
        if trainer_ended(status, self._begun):
            return self._enter(StopStage.ENDED, None)
        if status is None or self.current.stage is StopStage.PAUSING:
            return False
        if not status.is_local:
            return self._only_ask(status.host, hurry)
        waits = self.current.deadline is None or now < self.current.deadline
        if self.current.stage is StopStage.KILLED or (waits and not hurry):
            return False
        saving = status.doing == "saving" and now - status.heartbeat < _SILENT_SECONDS
        if saving and not hurry and now - self._begun < _SAVING_SECONDS:
            return False
        kill = self.current.stage is not StopStage.ASKED
        try:
            end_process(status, kill)
        except psutil.AccessDenied:
            return self._only_ask(f"{platform.node()} as another user", hurry)
        if kill:
            return self._enter(StopStage.KILLED, None)
        return self._enter(StopStage.TERMINATED, now + self._terminated_seconds)

    @property
    def may_advance(self) -> bool:
        """Whether a later stage may follow; not if the run ended, was killed or can only be asked."""
        return self.current.stage in (StopStage.ASKED, StopStage.TERMINATED) and not self.current.host

    def _only_ask(self, host: str, hurry: bool) -> bool:
        if hurry:  # the trainer may have cleared the request before it resumed
            self._folder.ask("stop")
        previous, self.current = self.current, Stopping(self.current.run_id, StopStage.ASKED, None, host)
        return self.current != previous

    def _enter(self, stage: StopStage, deadline: float | None) -> bool:
        self.current = Stopping(self.current.run_id, stage, deadline)
        return True


def trainer_ended(status: RunStatus | None, asked: float) -> bool:
    """Whether the trainer that was asked at the time ``asked`` to stop or pause has exited, by its current status.

    Without a status, it may still be starting.
    """
    return time.time() - asked > START_SECONDS if status is None else not process_alive(status)


def finish_stops(plans: Sequence[StopPlan], interval: float = 0.2) -> None:
    """Advance ``plans`` until none may advance. Blocks for up to minutes."""
    while plans := [plan for plan in plans if plan.may_advance]:
        time.sleep(interval)
        for plan in plans:
            plan.advance()
