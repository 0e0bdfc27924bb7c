"""Reads thumbnails from images and caches them on disk; called in background threads only.

Flow: `sdgui.widgets.gallery.thumbnail_service` asks for an image -> ``load_thumbnail`` -> the disk cache, else the
image. The cache is keyed by path, size and modification time, so a changed image is read again; once a day the
oldest thumbnails beyond a limit are removed.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from PySide6.QtCore import QSaveFile, QSize
from PySide6.QtGui import QImage

from core.spec.errors import UserError
from core.spec.reading import open_regular
from core.spec.shards import split_member
from sdgui.widgets.gallery.images import fetch_image, read_image

THUMBNAIL_SIDE = 256  # px; thumbnails are made at this size and scaled when painted
THUMBNAIL_SIDES = (THUMBNAIL_SIDE, 512, 1024)  # larger ones for large cells and dense screens
_MAX_CACHE_BYTES = 1 << 30  # size of the cache on disk
_DAY = 86400.0
_JPEG_QUALITY = 90


Stamp = tuple[int, int] | None
"""Size and modification time of a file; None if there is no readable file."""


class Thumbnail:
    """An image, or the reason why it cannot be shown."""

    def __init__(
        self,
        image: QImage | None,
        reason: str,
        side: int = THUMBNAIL_SIDE,
        missing: bool = False,
        stamp: Stamp = None,
    ) -> None:
        self.image = image
        self.reason = reason
        self.side = side  # size in px
        self.missing = missing  # the file does not exist
        self.stamp = stamp  # stamp of the file when it was read

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self.image.sizeInBytes() if self.image is not None else 256


def file_stamp(path: Path) -> Stamp:
    """Size and modification time, to detect a changed file."""
    try:
        member = split_member(path)
        facts = path.stat() if member is None else Path(member.tar).stat()
    except (OSError, ValueError):
        return None
    return facts.st_size, facts.st_mtime_ns


def load_thumbnail(path: Path, cache_dir: Path | None, side: int) -> Thumbnail:
    """Load from the disk cache, otherwise from the image; never raises: an unreadable image has a reason."""
    fetch_image(path)
    try:
        open_regular(path if (member := split_member(path)) is None else member.tar).close()
    except FileNotFoundError as error:
        return Thumbnail(None, f"{path}: {error.strerror}", side, True)
    except UserError as error:
        return Thumbnail(None, str(error), side)
    stamp = file_stamp(path) or (0, 0)
    name = hashlib.sha256(f"{path}\0{stamp[0]}\0{stamp[1]}\0{side}".encode("utf-8", "replace")).hexdigest()
    cached = cache_dir / name[:2] / name if cache_dir else None
    if cached and cached.is_file():
        stored, _ = read_image(cached)
        if stored is not None:
            return Thumbnail(stored, "", side, stamp=stamp)
    image, reason = read_image(path, QSize(side, side))
    if image is None:
        return Thumbnail(None, reason, side)
    if cached:
        _save(image, cached)
    return Thumbnail(image, "", side, stamp=stamp)


def _save(image: QImage, path: Path) -> None:
    """Write a thumbnail atomically; errors are ignored, since a missing cache only costs time."""
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


def prune(cache_dir: Path, limit: int = _MAX_CACHE_BYTES) -> None:
    """Remove the oldest thumbnails until nine tenths of ``limit`` bytes are left; at most once a day."""
    stamp = cache_dir / "pruned"
    try:
        if stamp.exists() and time.time() - stamp.stat().st_mtime < _DAY:
            return
        cache_dir.mkdir(parents=True, exist_ok=True)
        stamp.touch()
        facts = [(file.stat().st_mtime, file.stat().st_size, file) for file in cache_dir.glob("??/*")]
        total_bytes = sum(size for _, size, _ in facts)
        if total_bytes <= limit:
            return
        for _, size, file in sorted(facts):
            file.unlink(missing_ok=True)
            total_bytes -= size
            if total_bytes <= 0.9 * limit:
                return
    except OSError:
        return  # another window is pruning, or the cache is read-only
