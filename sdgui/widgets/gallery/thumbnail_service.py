"""The one service that reads thumbnails for the whole window, with a bounded number of threads and bytes.

Flow: a panel's `Thumbnails` asks ``get`` when a cell is painted; a miss is queued, the latest request first, and
``arrived`` has the ids of the waiting panels. An image shown by several panels is read once. When a panel first asks
for an image that another panel has read, it is compared with its file, so that a changed image is read again.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from PySide6.QtCore import QCoreApplication, QObject, Qt, QThreadPool, Signal
from shiboken6 import isValid

from sdgui.widgets.gallery.thumbnail_files import Thumbnail, file_stamp, load_thumbnail, prune

MAX_BYTES = 256 << 20  # images that are kept in memory
THREADS = 2
_NICE = 4


@dataclass
class _Request:
    """An image that clients wait for. ``in_memory``: a thumbnail that only has to be compared with its file."""

    clients: set[int]
    side: int
    cache_dir: Path | None
    in_memory: Thumbnail | None

    def load(self, path: Path) -> Thumbnail:
        in_memory = self.in_memory
        sharp = in_memory is not None and in_memory.side >= self.side and in_memory.stamp is not None
        if in_memory is not None and sharp and in_memory.stamp == file_stamp(path):
            return in_memory
        return load_thumbnail(path, self.cache_dir, self.side)


class ThumbnailService(QObject):
    """Requests of many clients, each identified by the number that ``join`` returns."""

    # Paths are sent as objects: Qt's strings cannot hold file names that are not valid text.
    arrived = Signal(object, object)  # path (str), the ids of the requesting clients
    _loaded = Signal(object, object)

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count(1)
        self._cache: OrderedDict[str, Thumbnail] = OrderedDict()
        self._cache_bytes = 0
        self._seen: dict[int, set[str]] = {}  # the requests of each client
        self._queued: OrderedDict[str, _Request] = OrderedDict()  # the last request is the most urgent
        self._loading: dict[str, _Request] = {}
        self._pruned: set[Path] = set()
        self._lock = Lock()
        self.closed = False
        self.pool = QThreadPool(self)
        self.pool.setMaxThreadCount(THREADS)
        self._loaded.connect(self._store, Qt.ConnectionType.QueuedConnection)
        if (app := QCoreApplication.instance()) is not None:
            app.aboutToQuit.connect(self.close)

    def join(self, cache_dir: Path | None) -> int:
        """Register a client; returns its id."""
        if cache_dir is not None and cache_dir not in self._pruned:
            self._pruned.add(cache_dir)
            self.pool.start(lambda: prune(cache_dir), -1)  # with a lower priority than requests
        number = next(self._numbers)
        self._seen[number] = set()
        return number

    def get(self, client: int, path: Path, side: int, cache_dir: Path | None) -> Thumbnail | None:
        """The thumbnail in memory, or None; a sharper or newer one is queued if there may be one."""
        key = str(path)
        in_memory, seen = self._cache.get(key), self._seen[client]
        first = key not in seen
        seen.add(key)
        if in_memory is not None:
            self._cache.move_to_end(key)
            if not first and (in_memory.image is None or in_memory.side >= side):
                return in_memory
        with self._lock:
            if key in self._loading:
                self._loading[key].clients.add(client)
            elif not self.closed:
                self._queue(key, client, side, cache_dir, in_memory)
        return in_memory

    def _queue(self, key: str, client: int, side: int, cache_dir: Path | None, in_memory: Thumbnail | None) -> None:
        request = self._queued.get(key)
        if request is None:
            self._queued[key] = _Request({client}, side, cache_dir, in_memory)
            self.pool.start(self._work)
        else:
            request.clients.add(client)
            request.side = max(side, request.side)
            self._queued.move_to_end(key)

    def cancel(self, client: int, keep: Collection[str] = ()) -> None:
        """Drop the queued requests of ``client``, except those for the paths ``keep``."""
        with self._lock:
            for key in [key for key in self._queued if key not in keep]:
                clients = self._queued[key].clients
                if client in clients:
                    clients.discard(client)
                    self._seen.get(client, set()).discard(key)
                if not clients:
                    del self._queued[key]

    def leave(self, client: int) -> None:
        """Unregister ``client`` and drop its requests."""
        self.cancel(client)
        self._seen.pop(client, None)

    def pending(self, client: int) -> int:
        """The number of requests of ``client`` that are queued or being read."""
        with self._lock:
            return sum(client in request.clients for request in (*self._queued.values(), *self._loading.values()))

    def close(self) -> None:
        """Drop queued requests and wait for the running ones."""
        self.closed = True
        with self._lock:
            self._queued.clear()
        self.pool.clear()
        self.pool.waitForDone()

    def _work(self) -> None:
        """Serve the most urgent request, in a thread of the pool."""
        _lower_priority()
        with self._lock:
            if self.closed or not self._queued:
                return  # it has been dropped
            key, request = self._queued.popitem(last=True)
            self._loading[key] = request
        thumbnail = request.load(Path(key))
        if not self.closed:
            self._loaded.emit(key, thumbnail)

    def _store(self, key: str, thumbnail: Thumbnail) -> None:
        with self._lock:
            request = self._loading.pop(key)
        if thumbnail is request.in_memory and self._cache.get(key) is thumbnail:
            return  # the file has not changed
        old = self._cache.pop(key, None)
        self._cache[key] = thumbnail
        self._cache_bytes += thumbnail.size - (old.size if old is not None else 0)
        while self._cache_bytes > MAX_BYTES and len(self._cache) > 1:
            self._cache_bytes -= self._cache.popitem(last=False)[1].size
        self.arrived.emit(key, frozenset(request.clients))


def _lower_priority() -> None:
    """Lower the priority of the calling thread below the window's, on systems with thread priorities.

    Only slightly: a thread that is suspended for long while it holds the GIL blocks the window.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


_service: ThumbnailService | None = None


def thumbnail_service() -> ThumbnailService:
    """The window's service, created on first use."""
    global _service
    if _service is None or _service.closed or not isValid(_service):
        _service = ThumbnailService()
    return _service
