"""A thread that ends a rank which cannot end itself: its main thread waits for others that are gone.

Flow: ``core.training.over_ranks`` enters a ``Watch``. A collective waits in C, where Python's signal handlers do not
run; torchrun asks the survivors of a death to end and kills them 30 s later. The watch hears the signal through the
interpreter's wake-up descriptor, looks whether the other processes of this host live, and leaves.
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

Peer = tuple[int, int, float]  # rank, process, its start time

LOOK_SECONDS = 0.5
GRACE_SECONDS = 20.0  # after a signal for all ranks to agree to end, before torchrun kills
WORD_SECONDS = 5.0  # after a rank left word of its failure, for the main thread to end by itself


class Watch:
    """Entered while ranks train; ``leave`` is called in its thread with why, and must end the process."""

    def __init__(self, messages: Messages, peers: Sequence[Peer], leave: Callable[[str, Failure | None], None]) -> None:
        """``peers``: the other ranks on this host."""
        self._messages, self._peers, self._leave = messages, peers, leave
        self._ended = threading.Event()
        self._signalled = 0.0
        self._reader, self._writer = socket.socketpair()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._writer.setblocking(False)
        self._reader.setblocking(False)
        self._before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settled()
        self._thread.join()
        signal.set_wakeup_fd(self._before)
        self._reader.close()
        self._writer.close()

    def settled(self) -> None:
        """The ranks have agreed how the run ends; what is left to do may take its time."""
        self._ended.set()
        with suppress(OSError):  # full, of signals that wake it too
            self._writer.send(b"\0")  # no signal has this number

    def lost(self) -> str:
        """The ranks of this host that are gone, in words; "" where all live."""
        gone = [f"rank {rank} (process {pid})" for rank, pid, started in self._peers if not is_running(pid, started)]
        return " and ".join(gone)

    def _look(self) -> None:
        failed = 0.0
        while True:
            heard = self._heard()
            if self._ended.is_set():
                return
            now = time.monotonic()
            self._signalled = self._signalled or (now if heard else 0.0)
            word = self._messages.failure()
            failed = failed or (now if word is not None else 0.0)
            gone = self.lost() if self._signalled else ""
            late = self._signalled and now - self._signalled > GRACE_SECONDS
            # With word of a failure the main thread ends by itself, and knows more to record.
            if (failed and now - failed > WORD_SECONDS) or (gone and word is None) or late:
                self._leave((gone and f"{gone} is gone") or "the other ranks do not answer", word)
                return

    def _heard(self) -> bool:
        """Whether a signal to end came, which is waited for up to ``LOOK_SECONDS``."""
        select.select([self._reader], [], [], LOOK_SECONDS)
        try:
            return any(number in (signal.SIGTERM, signal.SIGINT) for number in self._reader.recv(4096))
        except OSError:
            return False
