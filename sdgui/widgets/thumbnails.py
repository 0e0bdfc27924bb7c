"""Thumbnails, read off the window's thread: latest wishes first, stale ones dropped, kept in memory and on disk.

Flow: the gallery's model asks ``get(path)`` when a cell is painted; a miss is queued and ``ready`` tells when it came.
``keep_only`` drops queued wishes that scrolled away. The disk cache is keyed by path, size and modification time, so
a changed picture is read again.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from threading import Lock

from PySide6.QtCore import QCoreApplication, QObject, QSaveFile, QSize, Qt, QThreadPool, Signal
from PySide6.QtGui import QImage, QImageReader

SIDE = 256  # px; thumbnails are made once at this size and scaled when painted
_KEPT = 1500  # images in memory, at most about 390 MB where all are square and opaque
_PIXELS_AT_MOST = 400_000_000
_ALLOCATION_MIB = 2048


class Thumbnail:
    """A picture, or the reason why there is none."""

    def __init__(self, image: QImage | None, reason: str = "") -> None:
        self.image = image
        self.reason = reason


class Thumbnails(QObject):
    """``get`` answers at once with what is there; ``ready(path)`` follows for what was not."""

    ready = Signal(str)

    def __init__(self, cache_dir: Path | None = None, threads: int = 2, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._cache_dir = cache_dir
        self._kept: OrderedDict[str, Thumbnail] = OrderedDict()
        self._wanted: OrderedDict[str, None] = OrderedDict()  # last is most urgent
        self._loading: set[str] = set()
        self._lock = Lock()
        self._closed = False
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(threads)
        self._done.connect(self._arrived, Qt.ConnectionType.QueuedConnection)
        if (app := QCoreApplication.instance()) is not None:
            app.aboutToQuit.connect(self.close)

    _done = Signal(str, object)

    def get(self, path: Path) -> Thumbnail | None:
        """The thumbnail, or None while it is being read; asking again makes it more urgent."""
        key = str(path)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        with self._lock:
            if key not in self._loading:
                fresh = key not in self._wanted
                self._wanted[key] = None
                self._wanted.move_to_end(key)
                if fresh:
                    self._pool.start(self._work)
        return None

    def keep_only(self, paths: Iterable[Path]) -> None:
        """Forget queued wishes for anything else."""
        visible = {str(path) for path in paths}
        with self._lock:
            for key in [key for key in self._wanted if key not in visible]:
                del self._wanted[key]

    def forget(self, path: Path) -> None:
        """Read this picture again next time."""
        self._kept.pop(str(path), None)

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
        with self._lock:
            if self._closed or not self._wanted:
                return  # it was dropped meanwhile
            key, _ = self._wanted.popitem(last=True)
            self._loading.add(key)
        thumbnail = load_thumbnail(Path(key), self._cache_dir)
        if not self._closed:
            self._done.emit(key, thumbnail)

    def _arrived(self, key: str, thumbnail: Thumbnail) -> None:
        with self._lock:
            self._loading.discard(key)
        self._kept[key] = thumbnail
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        self.ready.emit(key)


def load_thumbnail(path: Path, cache_dir: Path | None) -> Thumbnail:
    """From the disk cache, else from the picture; never raises, an unreadable picture gives its reason."""
    try:
        facts = path.stat()
    except OSError as error:
        return Thumbnail(None, f"{path}: {error.strerror or error}")
    if not path.is_file():
        return Thumbnail(None, f"{path} is not a file")
    name = hashlib.sha256(
        f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}\0{SIDE}".encode("utf-8", "replace")
    ).hexdigest()
    cached = cache_dir / name[:2] / f"{name}.png" if cache_dir else None
    if cached and cached.exists():
        kept = QImage(str(cached))
        if not kept.isNull():
            return Thumbnail(kept)
    image, reason = read_picture(path, QSize(SIDE, SIDE))
    if image is None:
        return Thumbnail(None, reason)
    if cached:
        _save(image, cached)
    return Thumbnail(image)


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
    alpha = image.hasAlphaChannel()
    return image.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied if alpha else QImage.Format.Format_RGB32), ""


def _save(image: QImage, path: Path) -> None:
    """Whole or not at all; a cache that cannot be written only costs time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    file = QSaveFile(str(path))
    if file.open(QSaveFile.OpenModeFlag.WriteOnly):
        if image.save(file, "PNG"):  # type: ignore[call-overload]  # PySide6's stub asks for bytes, which it refuses
            file.commit()
        else:
            file.cancelWriting()
