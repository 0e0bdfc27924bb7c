"""``status.json``: the training process, its progress, and the resulting state of a run."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from core.spec.run.events import Event, RunFailed, RunFinished, Step, Time
from core.spec.run.processes import is_running, own_start_time

HEARTBEAT_SECONDS = 2.0
LOST_AFTER_SECONDS = 30.0
_Text = Annotated[str, Field(max_length=1000)]


class RunState(StrEnum):
    """The state of a run, as the window shows it."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    LOST_CONTACT = "lost contact"
    PAUSED = "paused"
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def alive(self) -> bool:
        """Whether a trainer process belongs to this state."""
        return self in (RunState.STARTING, RunState.RUNNING, RunState.LOST_CONTACT)


@dataclass(frozen=True)
class RunStatus:
    """``status.json``: the process that trains, and its progress. ``pid`` and ``started`` together are unique."""

    pid: Annotated[int, Field(ge=0, lt=1 << 31)]
    started: Time  # start time of the process
    heartbeat: Time
    step: Step = 0
    total_steps: Step = 0
    doing: _Text = ""  # "reading data", "training", "validating", "saving"
    seconds_left: Annotated[float, Field(ge=0, le=1e15)] | None = None
    host: _Text = ""  # the machine on which the process runs; "" for this machine
    # Only for mirrored runs, whose ``heartbeat`` is on the local clock:
    verdict: RunState | Literal[""] = ""  # the state reported by its machine; "" in a trainer's status
    note: Annotated[str, Field(max_length=4000)] = (
        ""  # the machine's reason: "Slurm ended job 12 at its time limit ..."
    )

    @property
    def is_local(self) -> bool:
        """Whether the process runs on this machine."""
        return self.host in ("", platform.node())


def own_status(step: int = 0, total_steps: int = 0, doing: str = "", seconds_left: float | None = None) -> RunStatus:
    """A status of the calling process, with a fresh heartbeat."""
    return RunStatus(
        pid=os.getpid(),
        started=own_start_time(),
        heartbeat=time.time(),
        step=step,
        total_steps=total_steps,
        doing=doing,
        seconds_left=seconds_left,
        host=platform.node(),
    )


def process_alive(status: RunStatus) -> bool:
    """Whether the process in ``status`` is running. On another host, heartbeat and ``verdict`` decide."""
    if status.verdict and not RunState(status.verdict).alive:
        return False
    if not status.is_local:
        return time.time() - status.heartbeat <= LOST_AFTER_SECONDS
    return is_running(status.pid, status.started)


def derive_state(status: RunStatus | None, terminal: Event | None, now: float | None = None) -> RunState:
    """The state of a launched run.

    ``terminal``: the last lifecycle event if it is a RunFinished or RunFailed, None after a RunStarted.
    A terminal event takes precedence, unless a process that started later resumes the run. Without one, a missing
    process means interrupted, and a stale heartbeat of a running process means lost contact, never failed. The launcher
    writes the first status, so that a trainer that exits early is detected. For a trainer on another machine, the
    heartbeat or the ``verdict`` of the machine decides.
    """
    if status is not None and status.verdict:
        return _mirrored_state(status, terminal, time.time() if now is None else now)
    if terminal is None or status is None or status.started <= terminal.time:
        if isinstance(terminal, RunFinished):
            return RunState(terminal.outcome)
        if isinstance(terminal, RunFailed):
            return RunState.FAILED
    if status is None:
        return RunState.STARTING
    if status.is_local and not process_alive(status):
        return RunState.INTERRUPTED
    age = (time.time() if now is None else now) - status.heartbeat
    return RunState.LOST_CONTACT if age > LOST_AFTER_SECONDS else RunState.RUNNING


def _mirrored_state(status: RunStatus, terminal: Event | None, now: float) -> RunState:
    """The state of a mirrored run. The verdict "starting" overrides the last event, since a scheduler may have requeued
    the run; a running run with a stale heartbeat has lost contact.
    """
    state = RunState(status.verdict)
    if terminal is not None and state is not RunState.STARTING:
        return derive_state(None, terminal)
    stale = now - status.heartbeat > LOST_AFTER_SECONDS
    return RunState.LOST_CONTACT if state.alive and stale else state
