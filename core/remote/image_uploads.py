"""Uploads local images to a worker on another machine, before the request that refers to them.

Flow: a request -> `Sender.put` -> its local images that the worker does not have, in chunks -> the request, with their
remote names. Uploads report progress for the request and can be cancelled. The worker keeps the images in a temporary
folder.
"""

from __future__ import annotations

import json
import queue
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

from core.spec.errors import UserError
from core.spec.machines.answers import MAX_UPLOAD_BYTES, pack_bytes
from core.spec.machines.path_translation import PathTranslator, map_texts
from core.spec.paths import IMAGE_SUFFIXES
from core.spec.reading import UnreadableError, open_regular, parse_json

CHUNK_BYTES = 1 << 20  # bytes per line of JSON, before encoding
_READY_POLL_SECONDS = 0.2  # while waiting for the worker to start

Message = dict[str, Any]


class _CancelledError(Exception):
    """The request was cancelled, or the worker has ended."""


class Sender:
    """Forwards requests in a thread, each after its images; cancellations are forwarded immediately."""

    def __init__(
        self, translator: PathTranslator, machine: str, out: IO[bytes], reply: Callable[[Message], object]
    ) -> None:
        """``reply``: sends a reply to the window in place of the worker."""
        self._translator, self._machine, self._out, self._reply = translator, machine, out, reply
        self._waiting: queue.SimpleQueue[tuple[bytes, Message | None] | None] = queue.SimpleQueue()
        self._write_lock, self._lock = threading.Lock(), threading.Lock()
        self._pending: set[Any] = set()  # requests that have not been forwarded yet
        self._cancelled: set[Any] = set()
        self._refused: set[Any] = set()  # pending requests that the worker has answered already
        self._stamps: dict[str, tuple[int, int]] = {}  # uploaded image -> size, modification time
        self._uploads_by_request: dict[Any, list[str]] = {}
        self._bytes_sent = 0
        self._ready, self._worker_gone = threading.Event(), threading.Event()
        self._folder = ""
        threading.Thread(target=self._forward_requests, name="requests", daemon=True).start()

    def put(self, line: bytes) -> None:
        """Queue a line; lines are forwarded in order."""
        value = parse_message(line)
        if value is None:
            self._waiting.put((line, None))
            return
        number = value.get("id")
        with self._lock:
            is_pending = number in self._pending
            if value.get("do") != "cancel":
                self._pending.add(number)
            elif is_pending:
                self._cancelled.add(number)
        if value.get("do") != "cancel":
            self._waiting.put((line, value))
        elif not is_pending:
            self._write(line)

    def ready(self, folder: str) -> None:
        """Record that the worker has started. ``folder``: its folder for images, "" if it accepts no images."""
        self._folder = folder
        self._ready.set()

    def record_answer(self, number: Any, failed: bool) -> None:
        """Record that the worker has answered a request. If it cannot store an image, it answers before it receives the
        request itself.
        """
        with self._lock:
            uploads = self._uploads_by_request.pop(number, [])
            if failed:
                for image in uploads:  # these files may be incomplete, so upload them again
                    self._stamps.pop(image, None)
            if failed and number in self._pending:
                self._cancelled.add(number)
                self._refused.add(number)

    def close(self) -> None:
        """Forward the queued requests, then close the worker's stdin."""
        self._waiting.put(None)

    def worker_ended(self) -> None:
        """Record that the worker has ended."""
        self._worker_gone.set()

    def _forward_requests(self) -> None:
        while (message := self._waiting.get()) is not None:
            line, value = message
            if value is not None:
                self._forward(value)
            else:
                self._write(line)
        with suppress(OSError, ValueError):
            self._out.close()

    def _forward(self, value: Message) -> None:
        number = value.get("id")
        try:
            self._upload(
                number, [image for image in local_images(value, self._translator) if self._needs_upload(image)]
            )
            self._raise_if_cancelled(number)
            self._write(as_line(self._translator.to_remote(value)))
        except _CancelledError:
            with self._lock:
                is_refused = number in self._refused
            if not is_refused:
                self._reply({"id": number, "event": "failed", "message": "cancelled", "details": ""})
        except UserError as error:
            self._reply({"id": number, "event": "failed", "message": str(error), "details": ""})
        except OSError as error:
            message = f"{error.filename or 'an image'} cannot be read: {error.strerror or error}; check the file."
            self._reply({"id": number, "event": "failed", "message": message, "details": ""})
        finally:
            with self._lock:
                for requests in (self._pending, self._cancelled, self._refused):
                    requests.discard(number)

    def _needs_upload(self, image: str) -> bool:
        stat = Path(image).stat()
        return self._stamps.get(image) != (stat.st_size, stat.st_mtime_ns)

    def _upload(self, number: Any, images: list[str]) -> None:
        if not images:
            return
        total = sum(Path(image).stat().st_size for image in images)
        if self._bytes_sent + total > MAX_UPLOAD_BYTES:
            raise UserError(
                f"the {total >> 20} MB of images exceed the {(MAX_UPLOAD_BYTES - self._bytes_sent) >> 20} MB that can "
                f"still be uploaded to the worker on {self._machine}; copy them to the machine, or select fewer."
            )
        while not self._ready.wait(_READY_POLL_SECONDS):
            self._raise_if_cancelled(number)
        if not self._folder:
            raise UserError(f"sdgui on {self._machine} does not accept uploaded images; update sdgui on that machine.")
        for position, image in enumerate(images):
            self._upload_file(number, image, partial(self._report_progress, number, position, len(images)))
        self._report_progress(number, len(images), len(images))

    def _upload_file(self, number: Any, image: str, progress: Callable[[], object]) -> None:
        path = Path(image)
        stat = path.stat()
        stamp = (stat.st_size, stat.st_mtime_ns)
        remote_name = f"{secrets.token_hex(16)}{path.suffix.lower()}"  # new, since the worker may read an earlier copy
        offset = 0
        with open_regular(path, limit=MAX_UPLOAD_BYTES) as file:
            while (chunk := file.read(CHUNK_BYTES)) or not offset:
                progress()
                self._raise_if_cancelled(number)
                message = {"do": "receive", "id": number, "name": remote_name, "at": offset, "data": pack_bytes(chunk)}
                self._write(as_line(message))
                offset += len(chunk)
                if not chunk:  # an empty file, which the worker will report
                    break
        self._bytes_sent += offset
        with self._lock:
            if number in self._cancelled:  # the worker has refused the request in the meantime
                raise _CancelledError
            self._stamps[image] = stamp
            self._uploads_by_request.setdefault(number, []).append(image)
        self._translator.add_copy(image, f"{self._folder}/{remote_name}")

    def _report_progress(self, number: Any, done: int, total: int) -> None:
        activity = f"sending images to {self._machine}"
        self._reply({"id": number, "event": "progress", "doing": activity, "done": done, "total": total})

    def _raise_if_cancelled(self, number: Any) -> None:
        with self._lock:
            if number in self._cancelled or self._worker_gone.is_set():
                raise _CancelledError

    def _write(self, line: bytes) -> None:
        with suppress(OSError, ValueError), self._write_lock:  # the reader of replies notices a closed pipe
            self._out.write(line)
            self._out.flush()


def local_images(value: Any, translator: PathTranslator) -> list[str]:
    """The local images in a request, in order, without duplicates."""
    names: list[str] = []

    def collect(name: str) -> str:
        if _is_local_image(name) and not translator.is_on_machine(name):
            names.append(name)
        return name

    map_texts(value, collect)
    return list(dict.fromkeys(names))


def _is_local_image(name: str) -> bool:
    if "\0" in name or len(name) > 4096:
        return False
    path = Path(name)
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_absolute() and path.is_file()


def parse_message(line: bytes) -> Message | None:
    """A line as a JSON object; None if it is not one."""
    try:
        value = parse_json(line, "a line") if line.startswith(b"{") else None
    except UnreadableError:
        return None
    return value if isinstance(value, dict) else None


def as_line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
