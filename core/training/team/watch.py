"""A thread that ends this rank if its main thread is blocked waiting for ranks that died.

Flow: ``core.training.over_ranks`` enters a ``Watch``. Collectives block in C, where Python's signal handlers do not
run; after the death of a rank, torchrun signals the others and kills them 30 s later. The watch gets the signal through
the interpreter's wake-up descriptor, checks whether the other processes of this host are alive, and exits.
"""

from __future__ import annotations

import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType

from core.ranks.messages import Failure, Messages
from core.spec.run.processes import is_running

Peer = tuple[int, int, float]  # rank, process id, start time of the process

POLL_INTERVAL_S = 0.5
SIGNAL_GRACE_S = 20.0  # time after a signal for all ranks to agree to end before torchrun kills them
FAILURE_GRACE_S = 5.0  # time after a failure report for the main thread to end by itself


class Watch:
    """Active while ranks train; its thread calls ``leave`` with the reason, and ``leave`` must end the process."""

    def __init__(self, messages: Messages, peers: Sequence[Peer], leave: Callable[[str, Failure | None], None]) -> None:
        """``peers``: the other ranks on this host."""
        self._messages, self._peers, self._leave = messages, peers, leave
        self._ended = threading.Event()
        self._signalled_at = 0.0  # time.monotonic(); 0.0 before a signal
        self._reader, self._writer = socket.socketpair()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._writer.setblocking(False)
        self._reader.setblocking(False)
        self._previous_wakeup_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.allow_slow_exit()
        self._thread.join()
        signal.set_wakeup_fd(self._previous_wakeup_fd)
        self._reader.close()
        self._writer.close()

    def allow_slow_exit(self) -> None:
        """Stop watching once the ranks have agreed to end, so that saving has no time limit."""
        self._ended.set()
        with suppress(OSError):  # a full socket has signals in it, which wake the thread too
            self._writer.send(b"\0")  # wakes the thread; no signal has the number 0

    def lost_ranks(self) -> str:
        """The dead ranks of this host as text; "" if all are alive."""
        lost = [f"rank {rank} (process {pid})" for rank, pid, started in self._peers if not is_running(pid, started)]
        return " and ".join(lost)

    def _watch(self) -> None:
        failed_at = 0.0
        while True:
            signalled = self._wait_for_signal()
            if self._ended.is_set():
                return
            seconds = time.monotonic()
            self._signalled_at = self._signalled_at or (seconds if signalled else 0.0)
            failure = self._messages.failure()
            failed_at = failed_at or (seconds if failure is not None else 0.0)
            lost = self.lost_ranks() if self._signalled_at else ""
            is_late = self._signalled_at and seconds - self._signalled_at > SIGNAL_GRACE_S
            # After a failure report the main thread usually ends by itself, and records more details.
            if (failed_at and seconds - failed_at > FAILURE_GRACE_S) or (lost and failure is None) or is_late:
                self._leave(f"{lost} died" if lost else "the other ranks do not respond", failure)
                return

    def _wait_for_signal(self) -> bool:
        """Wait up to ``POLL_INTERVAL_S`` for a signal that requests the end; returns whether one arrived."""
        select.select([self._reader], [], [], POLL_INTERVAL_S)
        try:
            return any(number in (signal.SIGTERM, signal.SIGINT) for number in self._reader.recv(4096))
        except OSError:
            return False
