"""A panel's access to the window's thumbnails: size and requests per panel, memory and threads shared.

Flow: the gallery's model asks ``get(path)`` when a cell is painted; a miss is queued in `ThumbnailService`, and
``ready`` follows when it has arrived. ``keep_only`` drops requests for cells that have scrolled away.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from sdgui.widgets.gallery.thumbnail_files import THUMBNAIL_SIDE, THUMBNAIL_SIDES, Thumbnail
from sdgui.widgets.gallery.thumbnail_service import ThumbnailService, thumbnail_service


class Thumbnails(QObject):
    """``get`` returns cached thumbnails immediately; ``ready(path)`` follows for the others."""

    ready = Signal(object)  # path (str)

    def __init__(
        self, cache_dir: Path | None = None, parent: QObject | None = None, service: ThumbnailService | None = None
    ) -> None:
        """``service``: by default the window's. Requests are dropped when this object is deleted."""
        super().__init__(parent)
        self.service = service or thumbnail_service()
        self._cache_dir = cache_dir
        self._side = THUMBNAIL_SIDE
        self._closed = False
        self._client = self.service.join(cache_dir)
        self.service.arrived.connect(self._on_arrived)
        self.destroyed.connect(partial(self.service.leave, self._client))

    def get(self, path: Path) -> Thumbnail | None:
        """The thumbnail, or None while it is being read; asking again makes it more urgent.

        After ``set_side`` it may be a smaller one, until ``ready`` announces the sharper one.
        """
        return None if self._closed else self.service.get(self._client, path, self._side, self._cache_dir)

    def set_side(self, pixels: float) -> None:
        """Make thumbnails large enough to fill ``pixels`` of the screen."""
        self._side = next((side for side in THUMBNAIL_SIDES if side >= pixels), THUMBNAIL_SIDES[-1])

    def is_sharp(self, thumbnail: Thumbnail | None) -> bool:
        """Whether no sharper thumbnail is being loaded."""
        return thumbnail is not None and (thumbnail.image is None or thumbnail.side >= self._side)

    def keep_only(self, paths: Iterable[Path]) -> None:
        """Drop queued requests for anything else."""
        self.service.cancel(self._client, keep={str(path) for path in paths})

    def pending(self) -> int:
        """The number of requests that are queued or being read."""
        return self.service.pending(self._client)

    def close(self) -> None:
        """Drop queued requests and accept no more."""
        self._closed = True
        self.service.cancel(self._client)

    def _on_arrived(self, path: str, clients: frozenset[int]) -> None:
        if self._client in clients and not self._closed:
            self.ready.emit(path)
