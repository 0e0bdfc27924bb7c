"""Sends short JSON messages between the processes of a run, through the rendezvous store.

Flow: collectives need every rank at the same point. Failures of a rank are reported here: ``exchange`` waits for all
ranks and checks for failures; ``report_failure`` stores one for the other ranks.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from torch.distributed import PrefixStore  # type: ignore[attr-defined]  # documented, but not exported

from core.spec.reading import parse_json

T = TypeVar("T")
_FAILURE = "failure"
_POLL_SECONDS = 0.5
STORE_TIMEOUT = 20.0  # seconds to wait for the store, which normally responds immediately
FAILURE_TIMEOUT = 5.0  # the same when reading or writing a failure
MAX_MESSAGE_BYTES = 1 << 20
FOREVER = float("inf")


@dataclass(frozen=True)
class Failure:
    """The error that ended a rank."""

    rank: int
    host: str
    error: str  # type of the error
    message: str  # shown to the user
    traceback: str = ""


class RankFailed(Exception):
    """Another rank has failed or does not respond, and has stored no reason."""


class Messages:
    """Messages of one rank through the store of a run."""

    def __init__(self, store: Any, rank: int, size: int) -> None:
        self._store, self.rank, self.size = store, rank, size
        self._exchanges = 0

    def store(self, name: str) -> Any:
        """The store under a prefix, for other uses."""
        return PrefixStore(name, self._store)

    def exchange(self, topic: str, value: T, seconds: float = FOREVER) -> list[T]:
        """Exchange plain data: the ``value`` of every rank. All ranks must make the same calls in the same order.

        Raises TimeoutError after ``seconds``, RankFailed when a rank has failed.
        """
        self._exchanges += 1
        key = f"{self._exchanges}/{topic}"
        self._call_store(lambda: self._store.set(f"{key}/{self.rank}", json.dumps(value)))
        deadline = time.monotonic() + seconds
        return [self._wait(f"{key}/{rank}", deadline) for rank in range(self.size)]

    def _wait(self, key: str, deadline: float) -> Any:
        pause = 0.001
        while True:
            if self._call_store(lambda: self._store.check([key])):
                return parse_json(self._call_store(lambda: self._store.get(key)), "a message between ranks")
            if pause > _POLL_SECONDS / 2 and self._call_store(lambda: self._store.check([_FAILURE])):
                raise RankFailed(f"a rank failed before it sent {key}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"no message from rank {key.rpartition('/')[2]}")
            time.sleep(pause)
            pause = min(2 * pause, _POLL_SECONDS)

    def _call_store(self, call: Callable[[], Any], seconds: float = STORE_TIMEOUT) -> Any:
        """The result of ``call`` on the store. Raises RankFailed without a response in time."""
        results: list[Any] = []

        def run_call() -> None:
            try:
                results.append(call())
            except Exception as error:  # noqa: BLE001  (the calling thread raises it as RankFailed)
                results.append(RankFailed(str(error)))

        thread = threading.Thread(target=run_call, name="store call", daemon=True)
        thread.start()
        thread.join(seconds)
        result = results[0] if results else RankFailed("the host of rank 0 does not respond")
        if isinstance(result, RankFailed):
            raise result
        return result

    def report_failure(self, failure: Failure) -> None:
        """Store the error that ended this rank. Only the first error of the run is kept."""
        short = {
            name: value[-MAX_MESSAGE_BYTES // 8 :] if isinstance(value, str) else value
            for name, value in asdict(failure).items()
        }
        with suppress(RankFailed):  # the host of rank 0 is lost
            self._call_store(lambda: self._store.compare_set(_FAILURE, "", json.dumps(short)), FAILURE_TIMEOUT)

    def failure(self, seconds: float = 0.0) -> Failure | None:
        """The stored failure of any rank, after waiting up to ``seconds``; None if no rank stored a failure."""
        deadline = time.monotonic() + seconds
        with suppress(RankFailed):
            while True:
                if self._call_store(lambda: self._store.check([_FAILURE]), FAILURE_TIMEOUT):
                    text = self._call_store(lambda: self._store.get(_FAILURE), FAILURE_TIMEOUT)
                    return Failure(**parse_json(text, "a message between ranks"))
                if time.monotonic() >= deadline:
                    return None
                time.sleep(0.1)
        return None
