"""Thumbnails with captions over the points of a map, once the user has zoomed in.

Flow: the view changes -> ``MapThumbnails`` chooses images that do not overlap -> names are requested, files are read ->
the thumbnails are drawn over their points, and captions below them where there is room.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QImage, QPainter, QPixmap

from sdgui.panels.search.tabs.map_canvas import MapCanvas
from sdgui.panels.search.tabs.map_points import Name
from sdgui.widgets.gallery.thumbnails import Thumbnails
from sdgui.widgets.style.theme import SPACE

SIDE = 5 * SPACE  # width and height of a thumbnail with its frame, in px
_FRAME = 2  # width in px of the frame around a thumbnail
_MAX_IN_VIEW = 400  # with more images in view, thumbnails would hide the map
_MAX_FRAMED = 2000  # thumbnails that are kept in memory
_MIN_ZOOM = 2.0
_DELAY_MS = 80  # delay between the last change of the view and drawing


class MapThumbnails(QObject):
    """Draws thumbnails on ``canvas``. ``name_of``: index of an image -> its name, None if unknown.

    ``request_names(indices)``: requests unknown names and returns whether there are any; ``update`` follows.
    ``settled``: the view has not changed for a moment.
    """

    settled = Signal()

    def __init__(
        self,
        canvas: MapCanvas,
        cache_dir: Path | None,
        name_of: Callable[[int], Name | None],
        request_names: Callable[[Sequence[int]], bool],
    ) -> None:
        super().__init__(canvas)
        self._canvas, self._name_of, self._request_names = canvas, name_of, request_names
        self.thumbnails = Thumbnails(cache_dir, self)
        self._framed: dict[tuple[int, int, float], QPixmap] = {}
        self._timer = QTimer(self, singleShot=True, interval=_DELAY_MS)
        self._timer.timeout.connect(self._show)
        canvas.view_changed.connect(self.update)
        self.thumbnails.ready.connect(self._on_ready)

    def _on_ready(self, _path: object) -> None:
        if not self._timer.isActive():  # restarting the timer would delay drawing until the last thumbnail has arrived
            self._timer.start()

    def update(self) -> None:
        """Choose and draw the thumbnails again, after a short delay."""
        self._timer.start()

    @property
    def is_close(self) -> bool:
        """Whether the user has zoomed in."""
        return self._canvas.zoom() >= _MIN_ZOOM

    def _show(self) -> None:
        self.settled.emit()
        indices = self._canvas.images_in_view() if self.is_close else []
        indices = self._canvas.without_overlaps(indices, SIDE) if len(indices) <= _MAX_IN_VIEW else []
        if self._request_names(indices):
            return
        names = {index: name for index in indices if (name := self._name_of(index)) is not None and name.path}
        paths = {index: Path(name.path) for index, name in names.items()}
        self.thumbnails.set_side(SIDE * self._canvas.devicePixelRatioF())
        self.thumbnails.keep_only(paths.values())
        images: dict[int, QPixmap] = {}
        for index, path in paths.items():
            thumbnail = self.thumbnails.get(path)
            if thumbnail is not None and thumbnail.image is not None:
                images[index] = self._frame(thumbnail.image, self._canvas.color_of(index))
        self._canvas.show_images(images, {index: names[index].words for index in images})

    def _frame(self, image: QImage, color: QColor) -> QPixmap:
        ratio = self._canvas.devicePixelRatioF()
        key = (image.cacheKey(), color.rgb(), ratio)
        if key not in self._framed:
            if len(self._framed) > _MAX_FRAMED:
                self._framed.clear()
            self._framed[key] = framed(QPixmap.fromImage(image), color, ratio)
        return self._framed[key]


def framed(pixmap: QPixmap, color: QColor, ratio: float) -> QPixmap:
    """``pixmap`` on white in a frame, ``SIDE`` logical pixels wide. ``ratio``: device per logical pixels."""
    side, frame = round(SIDE * ratio), round(_FRAME * ratio)
    out = QPixmap(side, side)
    out.fill(color)
    painter = QPainter(out)
    inside = out.rect().adjusted(frame, frame, -frame, -frame)
    painter.fillRect(inside, Qt.GlobalColor.white)  # the model sees transparent pixels as white
    modes = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
    scaled = pixmap.scaled(inside.size(), *modes)
    corner = inside.center() - scaled.rect().center()
    painter.drawPixmap(corner, scaled)
    painter.end()
    out.setDevicePixelRatio(ratio)
    return out
