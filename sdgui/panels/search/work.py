"""A session of one model and one collection: opened once, then searched while the user types.

Flow: ``open`` -> worker ``search_open`` -> ``collection_opened``; ``search`` -> ``search_query`` -> ``answered``.
One query runs at a time; of the queries that arrive meanwhile, only the newest is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from core.spec.run.model_names import run_and_checkpoint, tuned_name
from sdgui.worker.calls import Failed, WorkerCalls
from sdgui.worker.pool import WorkerPool
from sdgui.worker.replies import Failure
from sdgui.worker.verbs import SEARCH_OPEN, SEARCH_QUERY, Answer, Results, SearchOpened, Verb

WHY = "why"
# requests for the names of the map's points: the point under the mouse, the points in the lasso, those with thumbnails
HOVER, LASSO, THUMBNAILS = "hover", "lasso", "thumbnails"
_FIRST_IMAGES = 512  # images of a table that can be searched while the others are encoded
# requests about the open collection, dropped when another is opened
COLLECTION_REQUESTS = ("query", "facets", "evaluate", "compare", "map", HOVER, LASSO, THUMBNAILS, WHY)


@dataclass(frozen=True)
class Target:
    """A model and a collection: ``index`` or ``data``, or if both are empty, the run's validation split."""

    model: str
    weights: str
    title: str  # title of the model
    data: str = ""
    index: str = ""
    worker: str = ""  # key of a worker shared by all steps of a run; "": the model's own worker

    def differs_in_step_only(self, previous: Target | None) -> bool:
        """Whether ``previous`` is the same, except for the step of its run or its interpolation."""
        if previous is None or self.index or self.model == previous.model:
            return False
        if previous.index or (self.weights, self.data) != (previous.weights, previous.data):
            return False
        if self.worker:
            return run_and_checkpoint(self.model)[0] == run_and_checkpoint(previous.model)[0]
        return tuned_name(self.model) == tuned_name(previous.model)

    @cached_property
    def is_updated_on_open(self) -> bool:
        """Whether opening the target updates its index, as for a folder. Each query asks, and a disk may be slow."""
        return not self.index and Path(self.data).is_dir() if self.data else False

    @property
    def collection(self) -> tuple[str, str]:
        """The identity of the collection; targets with equal collections have equal row numbers."""
        return self.data, self.index


def same_collection(sessions: Sequence[SearchSession]) -> bool:
    """Whether both models search the same images and captions, so that ranks and recall are comparable."""
    first, second = (session.facts for session in sessions)
    if first is None or second is None:
        return False
    return all(first[name] == second[name] for name in ("source", "images", "captions"))


class SearchSession(QObject):
    """The session. ``facts``: the answer of ``search_open``; None if no collection is open."""

    working = Signal(str, str, int, int)  # purpose, activity, done, total
    collection_opened = Signal(object)  # facts
    failed = Signal(object)  # Failure; opening failed
    answered = Signal(int, object)  # number of the query, results
    query_failed = Signal(int, object)  # number of the query, Failure

    def __init__(self, pool: WorkerPool, cache_dir: Path, parent: QObject | None = None) -> None:
        """``cache_dir``: where the worker keeps its indexes of folders."""
        super().__init__(parent)
        self._pool, self._cache_dir = pool, cache_dir
        self._calls: WorkerCalls | None = None
        self._client_key = ""
        self._next: tuple[int, dict[str, Any]] | None = None  # number and arguments of the waiting query
        self.target: Target | None = None
        self.facts: SearchOpened | None = None

    @property
    def key(self) -> str:
        """The worker's key of the open collection; "" if none is open."""
        return str(self.facts["key"]) if self.facts is not None else ""

    @property
    def partial(self) -> bool:
        """Whether only the first part of the collection is open; its row numbers differ from the complete one's."""
        return self.facts is not None and self.facts.get("remaining", 0) > 0

    @property
    def opening(self) -> bool:
        return self._calls is not None and self._calls.busy("open")

    def open(self, target: Target) -> None:
        """Open ``target``; if it is the current one, read it again while it stays searchable."""
        calls = self._calls_of(target.worker or target.model or target.index, target.title)
        for purpose in COLLECTION_REQUESTS:
            calls.drop(purpose)
        self._next = None
        if self.target != target:
            self.facts = None
        self.target = target
        first = _FIRST_IMAGES if target.data and not target.is_updated_on_open and self.facts is None else 0
        self._ask_open(calls, target, first)

    def _ask_open(self, calls: WorkerCalls, target: Target, first: int) -> None:
        """``first``: open a part of about this size first, then the complete collection; 0: open it completely."""

        part: dict[str, Any] = {"first": first} if first else {}

        def on_opened(facts: SearchOpened) -> None:
            self.facts = facts
            self.collection_opened.emit(facts)
            if self.partial and self.target == target:
                # opens the complete collection after the query that was just sent
                self._ask_open(calls, target, 0)

        def on_failed(failure: Failure) -> None:
            self.facts = None
            self.failed.emit(failure)

        calls.ask(
            "open",
            SEARCH_OPEN,
            on_opened,
            on_failed,
            model=target.model,
            weights=target.weights,
            data=target.data,
            index=target.index,
            cache=str(self._cache_dir),
            **part,
        )

    def close(self) -> None:
        """Close the session."""
        if self._calls is not None:
            self._calls.close()
        self._calls, self._client_key, self.target, self.facts, self._next = None, "", None, None, None

    def search(self, number: int, request: dict[str, Any]) -> None:
        """Send a query; while another query runs, only the newest waits."""
        if self._calls is None or self.facts is None or (self.opening and not self.partial):
            return
        self._next = (number, request)
        if not self._calls.busy("query"):
            self._send()

    def _send(self) -> None:
        if self._next is None or self._calls is None:
            return
        (number, request), self._next = self._next, None

        def done(answer: Results) -> None:
            self._send()  # send the next query before showing the answer, to keep the worker busy
            self.answered.emit(number, answer)

        def failed(failure: Failure) -> None:
            self._send()
            self.query_failed.emit(number, failure)

        opening = self.opening
        if opening:  # opening the complete collection would block the query; it is requested again afterwards
            self._calls.drop("open")
        self._calls.ask("query", SEARCH_QUERY, done, failed, key=self.key, **request)
        if opening and self.target is not None:
            self._ask_open(self._calls, self.target, 0)

    def ask(
        self,
        purpose: str,
        verb: Verb[Answer],
        done: Callable[[Answer], None],
        failed: Failed,
        partial: Callable[[Any], None] | None = None,
        **arguments: Any,
    ) -> None:
        """Call another verb with this collection's ``key``. Ignored if no collection is open.

        ``partial`` receives intermediate answers.
        """
        if self._calls is not None and self.facts is not None and not self.opening:
            self._calls.ask(purpose, verb, done, failed, partial, **{"key": self.key, **arguments})

    def ask_without_key(
        self, purpose: str, verb: Verb[Answer], done: Callable[[Answer], None], failed: Failed, **arguments: Any
    ) -> None:
        """Call a verb that has no argument ``key``, also while a collection is being opened."""
        if self._calls is not None:
            self._calls.ask(purpose, verb, done, failed, None, **arguments)

    def drop(self, purpose: str) -> None:
        """Cancel requests of this purpose; their callbacks are not called."""
        if self._calls is not None:
            self._calls.drop(purpose)

    def cancel(self, purpose: str) -> None:
        """Cancel requests of this purpose; their ``failed`` receives `Cancelled`."""
        if self._calls is not None:
            self._calls.cancel(purpose)

    def _calls_of(self, key: str, title: str) -> WorkerCalls:
        if self._calls is None or key != self._client_key:
            if self._calls is not None:
                self._calls.close()
            client = self._pool.client(key, title)
            self._calls, self._client_key = WorkerCalls(client, self), key
            self._calls.progress.connect(self.working)
        return self._calls
