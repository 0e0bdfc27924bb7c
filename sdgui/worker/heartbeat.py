"""Notices a worker that has gone silent while an answer is awaited.

Flow: the worker writes a heartbeat every few seconds while it answers (``core.worker.server``) -> ``WorkerClient``
reads anything at all -> ``Heartbeat.beat``; when none arrives for too long, ``lost`` -> the client ends the process.

Silence is counted in ticks of a timer, not by a clock, so that a computer that was suspended loses no worker.
"""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal

TICK_MS = 5_000
SILENT_TICKS = 12  # a minute; the worker writes a heartbeat every 5 s
STARTING_TICKS = 60  # five minutes: loading libraries from a slow disk writes nothing


class Heartbeat(QObject):
    """``lost`` once, with the seconds of silence; then it waits to be started again."""

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
        """A new process: it may take longer to write for the first time."""
        self._silent, self._starting = 0, True

    def beat(self, ready: bool) -> None:
        """Something was read; ``ready``: the process answers by now, and so has to write a heartbeat."""
        self._silent = 0
        self._starting = not ready

    def _tick(self) -> None:
        self._silent += 1
        if self._silent >= (STARTING_TICKS if self._starting else SILENT_TICKS):
            self._timer.stop()
            self.lost.emit(self._silent * TICK_MS // 1000)
