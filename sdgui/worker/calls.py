"""Requests to one worker by purpose: a newer request for the same purpose cancels the older one.

Flow: panel -> ``WorkerCalls.ask`` -> ``WorkerClient`` -> one callback, ``done`` or ``failed``. A dropped
request has no callback; an answer that does not have the type declared by its ``Verb`` is a failure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, Signal

from sdgui.worker.client import WorkerClient
from sdgui.worker.replies import Failure, unusable
from sdgui.worker.verbs import Answer, Verb

Done = Callable[[dict[str, Any]], None]
Failed = Callable[[Failure], None]  # called with ``Cancelled`` if the user cancelled


@dataclass(frozen=True)
class _Call:
    purpose: str
    verb: Verb[Any]
    done: Callable[[Any], None]
    failed: Failed
    partial: Callable[[Any], None] | None


class WorkerCalls(QObject):
    """Sends requests to a worker, with at most one open request per purpose."""

    progress = Signal(str, str, int, int)  # purpose, activity, finished, total

    def __init__(self, client: WorkerClient, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._client = client
        self._calls: dict[int, _Call] = {}
        client.progress.connect(self._on_progress)
        client.partial.connect(self._on_partial)
        client.done.connect(self._on_done)
        client.failed.connect(self._on_failed)

    def ask(
        self,
        purpose: str,
        verb: Verb[Answer],
        done: Callable[[Answer], None],
        failed: Failed,
        partial: Callable[[Any], None] | None = None,
        **arguments: Any,
    ) -> None:
        """Send ``verb`` with its ``arguments``; an open request for the same purpose is dropped."""
        self.drop(purpose)
        number = self._client.request(verb.name, **arguments)
        self._calls[number] = _Call(purpose, verb, done, failed, partial)

    def busy(self, purpose: str) -> bool:
        """Whether an answer is pending."""
        return any(call.purpose == purpose for call in self._calls.values())

    def drop(self, purpose: str) -> None:
        """Cancel a request; neither of its callbacks is called."""
        for number in [number for number, call in self._calls.items() if call.purpose == purpose]:
            del self._calls[number]
            self._client.cancel(number)

    def cancel(self, purpose: str) -> None:
        """Cancel a request for the user: ``failed`` gets ``Cancelled`` once the worker has stopped."""
        for number, call in self._calls.items():
            if call.purpose == purpose:
                self._client.cancel(number)

    def close(self) -> None:
        """Drop all requests and disconnect from the client."""
        for purpose in {call.purpose for call in self._calls.values()}:
            self.drop(purpose)
        self._client.progress.disconnect(self._on_progress)
        self._client.partial.disconnect(self._on_partial)
        self._client.done.disconnect(self._on_done)
        self._client.failed.disconnect(self._on_failed)
        self.deleteLater()

    def _on_progress(self, number: int, activity: str, done: int, total: int) -> None:
        call = self._calls.get(number)
        if call is not None:
            self.progress.emit(call.purpose, activity, done, total)

    def _on_partial(self, number: int, result: dict[str, Any]) -> None:
        call = self._calls.get(number)
        if call is None or call.partial is None:
            return
        if problem := call.verb.problem(result, partial=True):
            del self._calls[number]
            self._client.cancel(number)
            call.failed(unusable(problem))
        else:
            call.partial(result)

    def _on_done(self, number: int, result: dict[str, Any]) -> None:
        call = self._calls.pop(number, None)
        if call is None:
            return
        if problem := call.verb.problem(result):
            call.failed(unusable(problem))
        else:
            call.done(result)

    def _on_failed(self, number: int, failure: Failure) -> None:
        call = self._calls.pop(number, None)
        if call is not None:
            call.failed(failure)
