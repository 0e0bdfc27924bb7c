"""WorkerPool: one worker process per model, a few at a time; idle ones are ended.

Flow: panel -> ``client(key)`` -> ``WorkerClient`` -> process. Clients are kept, so that panels connect only once. A
client's process starts with the first request, and ends when another model needs the memory or after some idle minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from core.spec.run.model_names import tuned_name
from sdgui.worker.client import AskCode, WorkerClient

MAX_WORKERS = 2  # models in memory at the same time
_IDLE_SECONDS = 600.0
DATA_WORKER = "data"  # key of the worker that reads tables and folders; it loads no model and is not counted
CHECK_WORKER = "data checks"  # key of the worker that reads every image of a source, so that nothing waits for it
_WITHOUT_MODEL = frozenset((DATA_WORKER, CHECK_WORKER))
_IDLE_CHECK_MS = 15_000  # interval of checks for idle processes


@dataclass
class _Member:
    client: WorkerClient
    title: str
    used: float  # time on the pool's clock
    trouble: str = ""  # why its last process exited; cleared when it is used again
    details: str = ""
    is_replaced: bool = False  # the model is local now, so the process on the other machine ends after its answers


@dataclass(frozen=True)
class WorkerState:
    """A worker's state, for the status bar. ``details``: end of stderr after a crash."""

    key: str
    title: str
    state: str  # see ``WorkerClient.state``
    trouble: str = ""
    details: str = ""

    @property
    def text(self) -> str:
        """A text such as ``teacher @2400 ready``."""
        state = "waiting for another model to finish" if self.state == "waiting" else self.state
        return f"{self.title} {'crashed' if self.trouble else state}"


class WorkerPool(QObject):
    """At most ``MAX_WORKERS`` processes with a model; when all are busy, the next model waits for one to finish."""

    state_changed = Signal()

    def __init__(
        self,
        command: Sequence[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        remote_command: Callable[[str], Sequence[str] | None] = lambda key: None,
    ) -> None:
        """``remote_command``: the command of the worker for a model on another machine; None for a local model."""
        super().__init__()
        self._command, self._remote_command, self._clock = command, remote_command, clock
        self.ask_code: AskCode = lambda _files, answer: answer(False)  # set by the window; asks whether code may run
        self._members: dict[str, _Member] = {}
        self._ended = False
        self._timer = QTimer(self, interval=_IDLE_CHECK_MS)
        self._timer.timeout.connect(self.free_idle)

    def client(self, key: str, title: str = "") -> WorkerClient:
        """The worker of the model ``key`` (a name for ``open_model``); a new worker is not started yet.

        Interpolated weights are opened by the run's worker, which keeps both models in memory.
        """
        key, title = tuned_name(key), title if tuned_name(key) == key else ""
        member = self._members.get(key)
        if member is None:
            may_start, remote_command = partial(self._may_start, key), partial(self._remote_command, key)
            client = WorkerClient(
                self._command, self, may_start, remote_command, lambda files, answer: self.ask_code(files, answer)
            )
            member = self._members[key] = _Member(client, title or short_title(key), self._clock())
            client.state_changed.connect(partial(self._on_state_changed, key))
            client.lost.connect(partial(self._on_lost, key))
        elif title:
            member.title = title
        return member.client

    def states(self) -> list[WorkerState]:
        """Workers that have a process, wait for one, or lost theirs, most recently used first."""
        members = sorted(self._members.items(), key=lambda item: -item[1].used)
        return [
            WorkerState(key, member.title, member.client.state, member.trouble, member.details)
            for key, member in members
            if member.client.state != "off" or member.trouble
        ]

    def use_local(self, run_folder: Path) -> None:
        """Answer later requests on this computer, because a checkpoint of this run has been fetched."""
        for key, member in self._members.items():
            if key.startswith(f"{run_folder}@") and member.client.state != "off":
                member.is_replaced = True
                self._end_replaced(member)

    def _end_replaced(self, member: _Member) -> None:
        if member.is_replaced and member.client.state == "ready":
            member.is_replaced = False
            member.client.shutdown()

    def free_idle(self) -> None:
        """End processes that were idle for long enough."""
        now = self._clock()
        for member in self._members.values():
            if member.client.state == "ready" and now - member.used >= _IDLE_SECONDS:
                member.client.shutdown()

    def shutdown(self) -> None:
        """Ask all workers to exit; a later request starts one again."""
        for member in self._members.values():
            member.client.shutdown()

    def end(self) -> None:
        """Shut down all workers and start no more, because the window closes."""
        self._ended = True
        self.shutdown()

    def close(self) -> None:
        """Kill all workers because the window has closed."""
        for member in self._members.values():
            member.client.close()

    # Room for a process
    def _alive(self) -> dict[str, _Member]:
        return {
            key: member
            for key, member in self._members.items()
            if key not in _WITHOUT_MODEL and member.client.state in ("starting", "ready", "busy")
        }

    def _may_start(self, key: str) -> bool:
        if self._ended:
            return False
        if key in _WITHOUT_MODEL:
            return True
        alive = self._alive()
        if len(alive) < MAX_WORKERS:
            return True
        idle = [member for member in alive.values() if member.client.state == "ready"]
        if not idle:
            return False
        min(idle, key=lambda member: member.used).client.shutdown()
        return True

    def _on_state_changed(self, key: str, state: str) -> None:
        member = self._members[key]
        if state != "off":
            member.used = self._clock()
            member.trouble = member.details = ""
        if state in ("off", "ready"):
            QTimer.singleShot(0, self, self._admit)
            QTimer.singleShot(0, self, partial(self._end_replaced, member))
        has_idle = any(member.client.state == "ready" for member in self._members.values())
        if has_idle and not self._timer.isActive():
            self._timer.start()
        elif not has_idle:
            self._timer.stop()
        self.state_changed.emit()

    def _admit(self) -> None:
        """Start waiting workers while there is room, those that have waited longest first."""
        waiting = [member for member in self._members.values() if member.client.state == "waiting"]
        for member in sorted(waiting, key=lambda member: member.used):
            member.client.start_waiting()

    def _on_lost(self, key: str, sentence: str, details: str) -> None:
        self._members[key].trouble, self._members[key].details = sentence, details
        self.state_changed.emit()


def short_title(key: str) -> str:
    """A model's name without its folder: ``sd-clip-demo-ab12 @2400``, ``ViT-B-32,openai``."""
    name = key.removeprefix("open_clip:")
    if name != key:
        return name
    folder, separator, checkpoint = key.rpartition("@")
    return (
        f"{Path(folder).name} @{checkpoint}"
        if separator and folder and "/" not in checkpoint
        else Path(key).name or key
    )
