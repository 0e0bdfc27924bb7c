"""Images of this computer on their way to a worker on another machine: sent before the request that names them.

Flow: a request -> ``Sender.put`` -> its images that are here and not there yet, in parts -> the request, with their
names there. While it sends it reports progress for the request, and heeds its cancellation. The worker there keeps them
in a folder of its own, which ends with it.
"""

from __future__ import annotations

import hashlib
import json
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

from core.spec.errors import UserError
from core.spec.machines.answers import MOST_SENT, packed
from core.spec.machines.path_translation import IMAGES, PathTranslator
from core.spec.reading import UnreadableError, open_regular, parse_json

PART = 1 << 20  # bytes a line
_READY_SECONDS = 0.2  # between two looks whether the worker there is ready

Message = dict[str, Any]


class _CancelledError(Exception):
    """The request was cancelled, or the worker is gone."""


class Sender:
    """Passes requests on in a thread of its own, each after its images; cancellations overtake them."""

    def __init__(self, names: PathTranslator, machine: str, out: IO[bytes], reply: Callable[[Message], object]) -> None:
        """``reply`` answers the window in place of the worker."""
        self._names, self._machine, self._out, self._reply = names, machine, out, reply
        self._waiting: queue.SimpleQueue[tuple[bytes, Message | None] | None] = queue.SimpleQueue()
        self._write_lock, self._lock = threading.Lock(), threading.Lock()
        self._open: set[Any] = set()  # requests that were not passed on yet
        self._stopped: set[Any] = set()
        self._refused: set[Any] = set()  # of those: what the worker has answered itself
        self._stamps: dict[str, tuple[int, int]] = {}  # of what was sent: size and time of change
        self._sent_for: dict[Any, list[str]] = {}  # request -> what was sent for it
        self._bytes = 0
        self._ready, self._gone = threading.Event(), threading.Event()
        self._folder = ""
        threading.Thread(target=self._work, name="requests", daemon=True).start()

    def put(self, line: bytes) -> None:
        """Pass a line on, after those before it."""
        value = parsed(line)
        if value is None:
            self._waiting.put((line, None))
            return
        number = value.get("id")
        with self._lock:
            held = number in self._open
            if value.get("do") != "cancel":
                self._open.add(number)
            elif held:
                self._stopped.add(number)
        if value.get("do") != "cancel":
            self._waiting.put((line, value))
        elif not held:
            self._write(line)

    def ready(self, folder: str) -> None:
        """The worker answers; ``folder``: where it keeps what it is sent, "" when it cannot be sent anything."""
        self._folder = folder
        self._ready.set()

    def answered(self, number: Any, failed: bool) -> None:
        """The worker has answered: a request that is still held, since its images could not be kept there."""
        with self._lock:
            sent = self._sent_for.pop(number, [])
            if failed:
                for name in sent:  # perhaps it does not have them whole: they are sent again
                    self._stamps.pop(name, None)
            if failed and number in self._open:
                self._stopped.add(number)
                self._refused.add(number)

    def close(self) -> None:
        """Nothing more will come: what is held is passed on, then the worker's requests end."""
        self._waiting.put(None)

    def gone(self) -> None:
        """The worker has ended."""
        self._gone.set()

    def _work(self) -> None:
        while (held := self._waiting.get()) is not None:
            line, value = held
            if value is not None:
                self._pass_on(value)
            else:
                self._write(line)
        with suppress(OSError, ValueError):
            self._out.close()

    def _pass_on(self, value: Message) -> None:
        number = value.get("id")
        try:
            self._send(number, [name for name in images_here(value, self._names) if self._is_new(name)])
            self._check(number)
            self._write(as_line(self._names.to_remote(value)))
        except _CancelledError:
            with self._lock:
                refused = number in self._refused
            if not refused:
                self._reply({"id": number, "event": "failed", "message": "cancelled", "details": ""})
        except UserError as error:
            self._reply({"id": number, "event": "failed", "message": str(error), "details": ""})
        except OSError as error:
            message = f"{error.filename} cannot be read: {error.strerror or error}; check the file."
            self._reply({"id": number, "event": "failed", "message": message, "details": ""})
        finally:
            with self._lock:
                for held in (self._open, self._stopped, self._refused):
                    held.discard(number)

    def _is_new(self, name: str) -> bool:
        found = Path(name).stat()
        return self._stamps.get(name) != (found.st_size, found.st_mtime_ns)

    def _send(self, number: Any, names: list[str]) -> None:
        if not names:
            return
        total = sum(Path(name).stat().st_size for name in names)
        if self._bytes + total > MOST_SENT:
            raise UserError(
                f"these images have {total >> 20} MB, and {(MOST_SENT - self._bytes) >> 20} MB can still be sent to "
                f"the worker on {self._machine}; copy them there, or take fewer."
            )
        while not self._ready.wait(_READY_SECONDS):
            self._check(number)
        if not self._folder:
            raise UserError(f"sdgui on {self._machine} takes no images of another computer; update it there.")
        for done, name in enumerate(names):
            self._file(number, name, partial(self._progress, number, done, len(names)))
        self._progress(number, len(names), len(names))

    def _file(self, number: Any, name: str, progress: Callable[[], object]) -> None:
        path = Path(name)
        found = path.stat()
        stamp = (found.st_size, found.st_mtime_ns)
        digest = hashlib.sha256(f"{name}{stamp}".encode("utf-8", "surrogatepass")).hexdigest()
        there = f"{digest[:32]}{path.suffix.lower()}"
        at = 0
        with open_regular(path, limit=MOST_SENT) as file:
            while (part := file.read(PART)) or not at:
                progress()
                self._check(number)
                asked = {"do": "receive", "id": number, "name": there, "at": at, "data": packed(part)}
                self._write(as_line(asked))
                at += len(part)
                if not part:  # an empty file, of which the worker says what is wrong
                    break
        self._bytes += at
        with self._lock:
            if number in self._stopped:  # it was refused there meanwhile
                raise _CancelledError
            self._stamps[name] = stamp
            self._sent_for.setdefault(number, []).append(name)
        self._names.add_copy(name, f"{self._folder}/{there}")

    def _progress(self, number: Any, done: int, total: int) -> None:
        doing = f"sending images to {self._machine}"
        self._reply({"id": number, "event": "progress", "doing": doing, "done": done, "total": total})

    def _check(self, number: Any) -> None:
        with self._lock:
            if number in self._stopped or self._gone.is_set():
                raise _CancelledError

    def _write(self, line: bytes) -> None:
        with suppress(OSError, ValueError), self._write_lock:  # whoever reads the replies finds that out
            self._out.write(line)
            self._out.flush()


def images_here(value: Any, names: PathTranslator) -> list[str]:
    """The images of this computer that a request names, each once, in its order."""
    return list(dict.fromkeys(name for name in _texts(value) if _is_here(name) and not names.is_on_machine(name)))


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth < 64 and isinstance(value, (dict, list)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one, depth + 1)


def _is_here(name: str) -> bool:
    if "\0" in name or len(name) > 4096:
        return False
    path = Path(name)
    return path.suffix.lower() in IMAGES and path.is_absolute() and path.is_file()


def parsed(line: bytes) -> Message | None:
    """A line as an object; None for what is none."""
    try:
        value = parse_json(line, "a line") if line.startswith(b"{") else None
    except UnreadableError:
        return None
    return value if isinstance(value, dict) else None


def as_line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
