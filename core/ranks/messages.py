"""Short messages between the processes of a run, through the store that they met at: what happened, in JSON.

Flow: collectives need every rank alive and at the same place. What goes wrong in one rank is told here: ``exchange``
waits for all while it looks for failures; ``fail`` leaves word for those who find a rank gone.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from torch.distributed import PrefixStore  # type: ignore[attr-defined]  # it is documented, and not listed

from core.spec.reading import parse_json

T = TypeVar("T")
_FAILURE = "failure"
_LOOK_SECONDS = 0.5
STUCK_SECONDS = 20.0  # without an answer of the store, which answers at once
WORD_SECONDS = 5.0  # the same, for one that looks for the word of a failure
LONGEST = 1 << 20  # bytes of a message
FOREVER = float("inf")


@dataclass(frozen=True)
class Failure:
    """What ended a rank."""

    rank: int
    host: str
    error: str  # the kind of error
    message: str  # for the user
    traceback: str = ""


class Gone(Exception):
    """Another rank is gone, or does not answer, and left no word why."""


class Messages:
    """The store of a run, as one of its ranks uses it."""

    def __init__(self, store: Any, rank: int, size: int) -> None:
        self._store, self.rank, self.size = store, rank, size
        self._exchanges = 0

    def store(self, name: str) -> Any:
        """A part of the store for others to use."""
        return PrefixStore(name, self._store)

    def exchange(self, about: str, value: T, seconds: float = FOREVER) -> list[T]:
        """What every rank says, plain data, in their order; all have to ask in the same order.

        TimeoutError after ``seconds``; Gone when a rank has failed.
        """
        self._exchanges += 1
        key = f"{self._exchanges}/{about}"
        self._ask(lambda: self._store.set(f"{key}/{self.rank}", json.dumps(value)))
        until = time.monotonic() + seconds
        return [self._wait(f"{key}/{one}", until) for one in range(self.size)]

    def _wait(self, key: str, until: float) -> Any:
        pause = 0.001
        while True:
            if self._ask(lambda: self._store.check([key])):
                return parse_json(self._ask(lambda: self._store.get(key)), "a message between ranks")
            if pause > _LOOK_SECONDS / 2 and self._ask(lambda: self._store.check([_FAILURE])):
                raise Gone(f"a rank failed before it said {key}")
            if time.monotonic() > until:
                raise TimeoutError(f"no answer of {key.rpartition('/')[2]}")
            time.sleep(pause)
            pause = min(2 * pause, _LOOK_SECONDS)

    def _ask(self, call: Callable[[], Any], seconds: float = STUCK_SECONDS) -> Any:
        """What ``call`` gets of the store; Gone without an answer, as over a link that is down."""
        answers: list[Any] = []

        def ask() -> None:
            try:
                answers.append(call())
            except Exception as error:  # noqa: BLE001  (whatever it is, the thread that asked raises it as Gone)
                answers.append(Gone(str(error)))

        thread = threading.Thread(target=ask, name="asking the store", daemon=True)
        thread.start()
        thread.join(seconds)
        answer = answers[0] if answers else Gone("the host of rank 0 does not answer")
        if isinstance(answer, Gone):
            raise answer
        return answer

    def fail(self, failure: Failure) -> None:
        """Leave word of what ended this rank; the first one counts."""
        short = {
            name: value[-LONGEST // 8 :] if isinstance(value, str) else value for name, value in asdict(failure).items()
        }
        with suppress(Gone):  # with the host of rank 0
            self._ask(lambda: self._store.compare_set(_FAILURE, "", json.dumps(short)), WORD_SECONDS)

    def failure(self, seconds: float = 0.0) -> Failure | None:
        """The word that a failed rank left, waiting up to ``seconds`` for it; None without any."""
        until = time.monotonic() + seconds
        with suppress(Gone):
            while True:
                if self._ask(lambda: self._store.check([_FAILURE]), WORD_SECONDS):
                    word = self._ask(lambda: self._store.get(_FAILURE), WORD_SECONDS)
                    return Failure(**parse_json(word, "a message between ranks"))
                if time.monotonic() >= until:
                    return None
                time.sleep(0.1)
        return None
