"""The worker process: one JSON object per line, requests on stdin, replies on stdout.

Flow: panel -> worker client -> **worker** -> session -> reply -> panel. The window never loads torch; images are
passed as paths.

Requests: ``{"id": 1, "do": "search_open", "model": DIR}``, ``{"id": 2, "do": "search_query", "key": "...", "texts":
["a red circle"]}``; ``{"do": "cancel", "id": 1}``; ``{"do": "shutdown"}``. Replies: ``{"event": "ready"}`` once; then,
with the request's id, ``progress`` (doing, done, total), ``partial`` (result) for each part of a long answer, and
finally ``done`` (result) or ``failed`` (message, details). ``{"event": "alive"}`` is sent every few seconds of work, so
that the window can distinguish a long step from a stuck process. A window on another computer first sends the images
that a request names, in parts (``receive``). The worker stores them in the folder that ``ready`` announced, and deletes
them when it exits.

The other requests are defined by the sessions (``core.worker.session``), one per panel.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn, TextIO

from core.checkpoint.interpolating import ENDPOINTS
from core.spec.errors import UserError
from core.spec.reading import parse_json
from core.spec.run.code import CodeNotAllowed
from core.worker.captioning import CaptionSession
from core.worker.classify.session import ClassifySession
from core.worker.data.session import DataSession
from core.worker.fixing import FixingSession
from core.worker.interpolating import InterpolationSession
from core.worker.noise import NoiseSession
from core.worker.receiving import ReceivedImages
from core.worker.searching import SearchSession
from core.worker.session import Verb
from core.worker.travelling import TravelSession

Request = dict[str, Any]

HEARTBEAT_SECONDS = 5.0


def _is_request(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("do"), str)
        and (value.get("id") is None or isinstance(value["id"], (int, str)))
    )


class Cancelled(Exception):
    """The request was cancelled."""


class _RequestReporter:
    """The ``Reporter`` of one request, which sends progress and partial answers with its id."""

    def __init__(
        self, number: object, reply: Callable[[dict[str, Any]], None], should_stop: Callable[[], bool]
    ) -> None:
        self._number, self._reply, self._should_stop = number, reply, should_stop

    def __call__(self, doing: str, done: int, total: int, /) -> None:
        self._send({"event": "progress", "doing": doing, "done": done, "total": total})

    def partial(self, result: dict[str, Any]) -> None:
        self._send({"event": "partial", "result": result})

    def _send(self, reply: dict[str, Any]) -> None:
        if self._should_stop():
            raise Cancelled
        self._reply({"id": self._number, **reply})


class Worker:
    """Handles requests one after another; ``cancel`` and ``shutdown`` take effect immediately."""

    def __init__(self, requests: TextIO, replies: TextIO) -> None:
        self._requests, self._replies = requests, replies
        self._reply_lock = threading.Lock()  # replies come from several threads
        self._queue: queue.Queue[Request | None] = queue.Queue()
        self._cancelled: set[object] = set()
        self._failed: set[object] = set()  # requests whose images could not be stored, and which have been answered
        self._shut_down = threading.Event()  # ``shutdown``, or the end of the requests
        self._answering = threading.Event()
        self._received = ReceivedImages()
        search = SearchSession()
        sessions = (
            DataSession(),
            NoiseSession(),
            CaptionSession(),
            search,
            TravelSession(search),
            ClassifySession(),
            FixingSession(),
            InterpolationSession(),
        )
        self._verbs: dict[str, Verb] = {name: verb for session in sessions for name, verb in session.verbs.items()}

    def serve(self) -> None:
        """Serve until ``shutdown`` or the end of the requests."""
        ENDPOINTS.is_enabled = True  # keep both models in memory, since a slider requests many interpolations of them
        threading.Thread(target=self._listen, name="requests", daemon=True).start()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        self._reply({"event": "ready", "receives": str(self._received.folder)})
        try:
            while (request := self._queue.get()) is not None:
                self._answering.set()
                self._answer(request)
                self._answering.clear()
        finally:  # also if replies can no longer be written
            self._received.remove()

    def _beat(self) -> None:
        while not self._shut_down.wait(HEARTBEAT_SECONDS):
            if self._answering.is_set():
                self._reply({"event": "alive"})

    def _listen(self) -> None:
        try:
            with suppress(OSError):  # the window is gone, so that a reply cannot be written
                self._read_requests()
        finally:
            self._shut_down.set()
            self._queue.put(None)

    def _read_requests(self) -> None:
        for line in self._requests:
            try:
                request = parse_json(line, "a request")
            except UserError:
                request = None
            if not _is_request(request):
                self._reply({"event": "failed", "id": None, "message": f"not a request: {line[:200]!r}", "details": ""})
                continue
            do = request["do"]
            if do == "cancel":
                self._cancelled.add(request.get("id"))
            elif do == "receive":
                self._receive(request)
            elif do == "shutdown":
                break
            else:
                self._queue.put(request)

    def _receive(self, request: Request) -> None:
        """Store a chunk of an image for a later request. If this fails, that request fails."""
        number = request.get("id")
        if number in self._cancelled or number in self._failed:
            return
        try:
            self._received.append_part(str(request["name"]), int(request["at"]), str(request["data"]))
        except (UserError, KeyError, TypeError, ValueError) as error:
            self._failed.add(number)
            message = str(error) if isinstance(error, UserError) else f"a part of an image is wrong: {error!r}"
            self._reply({"id": number, "event": "failed", "message": message, "details": ""})

    def _answer(self, request: Request) -> None:
        number, do = request.get("id"), request["do"]
        if number in self._failed:
            self._failed.discard(number)
            return
        arguments = {key: value for key, value in request.items() if key not in ("id", "do")}
        progress = _RequestReporter(number, self._reply, lambda: number in self._cancelled or self._shut_down.is_set())

        try:
            progress("starting", 0, 0)
            if do not in self._verbs:
                raise UserError(f"there is no verb {do!r}; available: {', '.join(self._verbs)}.")
            self._reply({"id": number, "event": "done", "result": self._verbs[do](progress=progress, **arguments)})
        except Cancelled:
            self._reply({"id": number, "event": "failed", "message": "cancelled", "details": ""})
        except CodeNotAllowed as error:
            files = {digest: str(path.absolute()) for digest, path in error.files.items()}
            message = str(error)
            self._reply({"id": number, "event": "failed", "message": message, "details": "", "code": files})
        except UserError as error:
            self._reply({"id": number, "event": "failed", "message": str(error), "details": ""})
        except Exception as error:  # noqa: BLE001  a bug is reported to the window and must not end the worker
            message = f"{type(error).__name__}: {error}"
            self._reply({"id": number, "event": "failed", "message": message, "details": traceback.format_exc()})
        finally:
            self._cancelled.discard(number)

    def _reply(self, reply: dict[str, Any]) -> None:
        line = json.dumps(reply, ensure_ascii=False) + "\n"
        with self._reply_lock:
            self._replies.write(line)
            self._replies.flush()


def serve() -> NoReturn:
    """Serve on this process's stdin and stdout until ``shutdown``, and exit.

    Exits immediately after flushing, since threads of libraries may abort a normal exit.
    """
    # File names that are not valid text contain lone surrogates. json.dumps leaves them, and backslashreplace writes
    # them as \udcXX, which JSON reads as an escape.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", errors="backslashreplace", newline="\n")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # prints of libraries must not mix with replies
    requests = os.fdopen(os.dup(sys.stdin.fileno()), "r", encoding="utf-8", errors="replace")
    Worker(requests, replies).serve()
    replies.flush()
    sys.stderr.flush()
    os._exit(0)
