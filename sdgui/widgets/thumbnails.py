"""Thumbnails, read off the window's thread: latest wishes first, stale ones dropped, kept in memory and on disk.

Flow: the gallery's model asks ``get(path)`` when a cell is painted; a miss is queued and ``ready`` tells when it came.
``keep_only`` drops queued wishes that scrolled away. The disk cache is keyed by path, size and modification time, so
a changed picture is read again; once a day what was used least lately is removed beyond a limit.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from threading import Lock

from PySide6.QtCore import QCoreApplication, QObject, QSaveFile, QSize, Qt, QThreadPool, Signal
from PySide6.QtGui import QImage, QImageReader

SIDE = 256  # px; thumbnails are made at this size and scaled when painted
SIDES = (SIDE, 512, 1024)  # larger ones for large cells and dense screens
_KEPT_BYTES = 256 << 20  # of images in memory
_CACHE_BYTES = 1 << 30  # on disk
_DAY = 86400.0
_JPEG_QUALITY = 90
_NICE = 4
_PIXELS_AT_MOST = 400_000_000
_ALLOCATION_MIB = 2048


class Thumbnail:
    """A picture, or the reason why there is none."""

    def __init__(self, image: QImage | None, reason: str = "", side: int = SIDE, missing: bool = False) -> None:
        self.image = image
        self.reason = reason
        self.side = side  # px that it was made for
        self.missing = missing  # there is no such file

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self.image.sizeInBytes() if self.image is not None else 256


class Thumbnails(QObject):
    """``get`` answers at once with what is there; ``ready(path)`` follows for what was not."""

    ready = Signal(str)

    def __init__(self, cache_dir: Path | None = None, threads: int = 2, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._cache_dir = cache_dir
        self._side = SIDE
        self._kept: OrderedDict[str, Thumbnail] = OrderedDict()
        self._kept_bytes = 0
        self._wanted: OrderedDict[str, None] = OrderedDict()  # last is most urgent
        self._loading: set[str] = set()
        self._lock = Lock()
        self._closed = False
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(threads)
        self._done.connect(self._arrived, Qt.ConnectionType.QueuedConnection)
        if (app := QCoreApplication.instance()) is not None:
            app.aboutToQuit.connect(self.close)
        if cache_dir is not None:
            self._pool.start(lambda: prune(cache_dir), -1)  # after all that is wanted

    _done = Signal(str, object)

    def get(self, path: Path) -> Thumbnail | None:
        """The thumbnail, or None while it is being read; asking again makes it more urgent.

        After ``set_side`` it may be a smaller one, until ``ready`` brings the sharper one.
        """
        key = str(path)
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            if kept.image is None or kept.side >= self._side:
                return kept
        with self._lock:
            if key not in self._loading:
                fresh = key not in self._wanted
                self._wanted[key] = None
                self._wanted.move_to_end(key)
                if fresh:
                    self._pool.start(self._work)
        return kept

    def set_side(self, pixels: float) -> None:
        """Make thumbnails large enough to fill ``pixels`` of the screen."""
        self._side = next((side for side in SIDES if side >= pixels), SIDES[-1])

    def is_sharp(self, thumbnail: Thumbnail | None) -> bool:
        """Whether no better one is on its way."""
        return thumbnail is not None and (thumbnail.image is None or thumbnail.side >= self._side)

    def keep_only(self, paths: Iterable[Path]) -> None:
        """Forget queued wishes for anything else."""
        visible = {str(path) for path in paths}
        with self._lock:
            for key in [key for key in self._wanted if key not in visible]:
                del self._wanted[key]

    def forget(self, path: Path) -> None:
        """Read this picture again next time."""
        old = self._kept.pop(str(path), None)
        self._kept_bytes -= old.size if old is not None else 0

    def pending(self) -> int:
        """How many are queued or being read."""
        with self._lock:
            return len(self._wanted) + len(self._loading)

    def close(self) -> None:
        """Drop what is queued and wait for what is being read."""
        self._closed = True
        with self._lock:
            self._wanted.clear()
        self._pool.clear()
        self._pool.waitForDone()

    def _work(self) -> None:
        """In a thread of the pool: the most urgent wish."""
        _step_back()
        with self._lock:
            if self._closed or not self._wanted:
                return  # it was dropped meanwhile
            key, _ = self._wanted.popitem(last=True)
            self._loading.add(key)
        thumbnail = load_thumbnail(Path(key), self._cache_dir, self._side)
        if not self._closed:
            self._done.emit(key, thumbnail)

    def _arrived(self, key: str, thumbnail: Thumbnail) -> None:
        with self._lock:
            self._loading.discard(key)
        self.forget(Path(key))
        self._kept[key] = thumbnail
        self._kept_bytes += thumbnail.size
        while self._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
            self._kept_bytes -= self._kept.popitem(last=False)[1].size
        self.ready.emit(key)


def _step_back() -> None:
    """Let the window's thread go before the calling one, where threads have priorities of their own.

    A little only: a thread that is put aside for long while it holds Python's lock keeps the window waiting.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def load_thumbnail(path: Path, cache_dir: Path | None, side: int = SIDE) -> Thumbnail:
    """From the disk cache, else from the picture; never raises, an unreadable picture gives its reason."""
    try:
        facts = path.stat()
    except OSError as error:
        return Thumbnail(None, f"{path}: {error.strerror or error}", side, isinstance(error, FileNotFoundError))
    if not path.is_file():
        return Thumbnail(None, f"{path} is not a file")
    name = hashlib.sha256(
        f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}\0{side}".encode("utf-8", "replace")
    ).hexdigest()
    cached = cache_dir / name[:2] / name if cache_dir else None
    if cached and cached.exists():
        kept = QImage(str(cached))
        if not kept.isNull():
            return Thumbnail(_paintable(kept), "", side)
    image, reason = read_picture(path, QSize(side, side))
    if image is None:
        return Thumbnail(None, reason)
    if cached:
        _save(image, cached)
    return Thumbnail(image, "", side)


def read_picture(path: Path, room: QSize | None = None) -> tuple[QImage | None, str]:
    """The picture turned by its EXIF orientation, scaled while decoding to fit ``room``; or None and why."""
    reader = QImageReader(str(path))
    reader.setAutoTransform(True)
    reader.setDecideFormatFromContent(True)
    reader.setAllocationLimit(_ALLOCATION_MIB)
    size = reader.size()
    if size.isValid() and size.width() * size.height() > _PIXELS_AT_MOST:
        return None, f"{path.name} has {size.width()} x {size.height()} pixels, more than is opened here"
    if room is not None and size.isValid() and (size.width() > room.width() or size.height() > room.height()):
        reader.setScaledSize(size.scaled(room, Qt.AspectRatioMode.KeepAspectRatio).expandedTo(QSize(1, 1)))
    image = reader.read()
    if image.isNull():
        return None, f"{path.name}: {reader.errorString()}"
    if room is not None and (image.width() > room.width() or image.height() > room.height()):
        image = image.scaled(room, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation)
    return _paintable(image), ""


def _paintable(image: QImage) -> QImage:
    """In the format that is painted fastest."""
    alpha = image.hasAlphaChannel()
    return image.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied if alpha else QImage.Format.Format_RGB32)


def _save(image: QImage, path: Path) -> None:
    """Whole or not at all; a cache that cannot be written only costs time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    file = QSaveFile(str(path))
    if file.open(QSaveFile.OpenModeFlag.WriteOnly):
        kind, quality = ("PNG", -1) if image.hasAlphaChannel() else ("JPG", _JPEG_QUALITY)
        if image.save(file, kind, quality):  # type: ignore[call-overload]  # the stub asks for bytes, which it refuses
            file.commit()
        else:
            file.cancelWriting()


def prune(cache_dir: Path, limit: int = _CACHE_BYTES) -> None:
    """Once a day: remove the thumbnails made longest ago until nine tenths of ``limit`` bytes are left."""
    stamp = cache_dir / "pruned"
    try:
        if stamp.exists() and time.time() - stamp.stat().st_mtime < _DAY:
            return
        cache_dir.mkdir(parents=True, exist_ok=True)
        stamp.touch()
        facts = [(file.stat().st_mtime, file.stat().st_size, file) for file in cache_dir.glob("??/*")]
        left = sum(size for _, size, _ in facts)
        if left <= limit:
            return
        for _, size, file in sorted(facts):
            file.unlink(missing_ok=True)
            left -= size
            if left <= 0.9 * limit:
                return
    except OSError:
        return  # another window prunes it, or it may not be written: the cache only saves time
