"""Detects a worker that is silent while an answer is awaited.

Flow: the worker writes a heartbeat every few seconds while it answers (``core.worker.server``) -> ``WorkerClient``
reads any line -> ``Heartbeat.beat``; after a long silence, ``lost`` -> the client ends the process.

Silence is counted in ticks of a timer instead of by a clock, so that no worker is lost when the computer is suspended.
"""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal

TICK_MS = 5_000
SILENT_TICKS = 12  # one minute; the worker writes a heartbeat every 5 s
STARTING_TICKS = 60  # five minutes, since no heartbeat is written while libraries are loaded from a slow disk


class Heartbeat(QObject):
    """Emits ``lost`` once, with the seconds of silence, and then waits to be restarted."""

    lost = Signal(int)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._silent = 0
        self._starting = True
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._tick)

    def watch(self, awaited: bool) -> None:
        """Count silence while an answer is ``awaited``, and only then."""
        if awaited and not self._timer.isActive():
            self._silent = 0
            self._timer.start(TICK_MS)
        elif not awaited:
            self._timer.stop()

    def restart(self) -> None:
        """Restart for a new process, whose first line may take longer."""
        self._silent, self._starting = 0, True

    def beat(self, ready: bool) -> None:
        """Note that a line was read. ``ready``: the process has started and must write heartbeats."""
        self._silent = 0
        self._starting = not ready

    def _tick(self) -> None:
        self._silent += 1
        if self._silent >= (STARTING_TICKS if self._starting else SILENT_TICKS):
            self._timer.stop()
            self.lost.emit(self._silent * TICK_MS // 1000)
