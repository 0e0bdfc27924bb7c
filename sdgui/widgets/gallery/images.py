"""Decodes image files: regular files only, rotated by their EXIF orientation, bounded in size.

Flow: ``read_image`` in a thread (thumbnails, export), or ``ImageReader.read`` -> thread -> ``arrived`` for a
single image that a widget waits for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QBuffer, QByteArray, QFile, QIODevice, QObject, QSize, Qt, QThreadPool, Signal
from PySide6.QtGui import QImage, QImageReader
from shiboken6 import isValid

from core.spec.errors import UserError
from core.spec.paths import is_file
from core.spec.reading import open_regular
from core.spec.shards import read_member, split_member

_SIGNATURES = {  # first bytes of a file -> Qt's name of the format
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"GIF8": "gif",
    b"BM": "bmp",
    b"II*\x00": "tiff",
    b"II+\x00": "tiff",
    b"MM\x00*": "tiff",
    b"MM\x00+": "tiff",
    b"P1": "pbm",
    b"P4": "pbm",
    b"P2": "pgm",
    b"P5": "pgm",
    b"P3": "ppm",
    b"P6": "ppm",
    b"\x00\x00\x01\x00": "ico",
    b"\x00\x00\x00\x0cjP": "jp2",
}
MAX_PIXELS = 400_000_000
_ALLOCATION_MIB = 2048


class ImageReader(QObject):
    """Reads images off the window's thread; only the last one requested arrives."""

    arrived = Signal(object, object, str)  # Path, QImage or None, reason for None
    _read = Signal(object, object, str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._requested: Path | None = None
        self._read.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    def read(self, path: Path, room: QSize | None = None) -> None:
        """Read ``path``, scaled to fit ``room`` (px); None: in full size."""
        self._requested = path
        QThreadPool.globalInstance().start(lambda: self._work(path, room))

    def cancel(self) -> None:
        """Drop every earlier request."""
        self._requested = None

    def _work(self, path: Path, room: QSize | None) -> None:
        """In a thread."""
        image, reason = read_image(path, room)
        if isValid(self):  # the window may have been closed
            self._read.emit(path, image, reason)

    def _deliver(self, path: Path, image: QImage | None, reason: str) -> None:
        if path == self._requested:
            self._requested = None
            self.arrived.emit(path, image, reason)


_fetch: list[Callable[[Path], object]] = []


def set_image_fetcher(fetch: Callable[[Path], object] | None) -> None:
    """Register ``fetch``, which may create a missing image file, such as a remote image; it may take seconds."""
    _fetch[:] = [] if fetch is None else [fetch]


def fetch_image(path: Path) -> None:
    """Fetch ``path`` if it is missing; called in the threads that read images."""
    for fetch in _fetch:
        if not is_file(path):
            fetch(path)


def read_image(path: Path, room: QSize | None = None) -> tuple[QImage | None, str]:
    """Read an image, apply its EXIF rotation, and scale it to fit ``room`` (px); returns (None, reason) on failure.

    Only regular files are read: Qt would block on a named pipe, and read a device endlessly.
    """
    fetch_image(path)
    member = split_member(path)
    try:
        if member is not None:
            return decode_image(read_member(member), path.name, room)
        with open_regular(path) as regular_file:
            number = os.dup(regular_file.fileno())
    except FileNotFoundError as error:
        return None, f"{path.name}: {error.strerror}"
    except UserError as error:
        return None, str(error)
    file = QFile()
    if not file.open(number, QIODevice.OpenModeFlag.ReadOnly, QFile.FileHandleFlag.AutoCloseHandle):
        os.close(number)
        return None, f"{path.name}: {file.errorString()}"
    image, reason = _decode(file, room)
    file.close()
    return image, f"{path.name}{reason}" if image is None else ""


def decode_image(
    content: bytes, name: str, room: QSize | None, max_pixels: int = MAX_PIXELS
) -> tuple[QImage | None, str]:
    """Decode the bytes of an image, scaled to fit ``room`` (px); returns (None, reason) on failure."""
    buffer = QBuffer()
    buffer.setData(content)
    buffer.open(QIODevice.OpenModeFlag.ReadOnly)
    image, reason = _decode(buffer, room, max_pixels)
    return image, f"{name}{reason}" if image is None else ""


def _format(head: bytes) -> str:
    """The format of a file by its first bytes; "" if unsupported."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "avif"
    return next((name for beginning, name in _SIGNATURES.items() if head.startswith(beginning)), "")


def _decode(file: QIODevice, room: QSize | None, max_pixels: int = MAX_PIXELS) -> tuple[QImage | None, str]:
    """Decode with an explicit format, so that Qt does not detect it.

    Detection asks every plugin, and SVG's waits to connect a signal while this thread holds the GIL. The window, which
    waits for the GIL to disconnect a signal, would deadlock.
    """
    name = _format(bytes(file.peek(16).data()))
    if not name:
        return None, ": Unsupported image format"
    reader = QImageReader(file, QByteArray(name.encode()))
    reader.setAutoDetectImageFormat(False)
    reader.setAutoTransform(True)
    reader.setAllocationLimit(_ALLOCATION_MIB)
    size = reader.size()
    if size.isValid() and size.width() * size.height() > max_pixels:
        limit = max_pixels // 1_000_000
        return None, f" has {size.width()} × {size.height()} pixels; at most {limit} million are supported"
    if room is not None and size.isValid() and (size.width() > room.width() or size.height() > room.height()):
        reader.setScaledSize(size.scaled(room, Qt.AspectRatioMode.KeepAspectRatio).expandedTo(QSize(1, 1)))
    image = reader.read()
    if image.isNull():
        return None, f": {reader.errorString()}"
    if room is not None and (image.width() > room.width() or image.height() > room.height()):
        image = image.scaled(room, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation)
    return _paintable(image), ""


def _paintable(image: QImage) -> QImage:
    """Convert ``image`` to the format that is painted fastest."""
    alpha = image.hasAlphaChannel()
    return image.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied if alpha else QImage.Format.Format_RGB32)
