"""A grey image, cropped to the model's centre square, with the relevance of its patches as an overlay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from sdgui.widgets.gallery.images import ImageReader
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE, theme

SIDE = 20 * SPACE  # width and height in px
HEAT = QColor("#f05a00")  # used on grey, and behind text in the light and the dark theme
_MAX_OPACITY = 0.8  # opacity of the most relevant patch


class HeatImage(QWidget):
    """The widget: call ``show_image``, then ``show_patches``. The tooltip shows why an image cannot be read."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedSize(SIDE, SIDE)
        self.path: Path | None = None
        self._image: QImage | None = None
        self._heat: QImage | None = None
        self._reader = ImageReader(self)
        self._reader.arrived.connect(self._on_arrived)

    def show_image(self, path: Path | None) -> None:
        """Read and show ``path`` without patches; None clears the widget."""
        if path == self.path:
            return
        self.path, self._image, self._heat = path, None, None
        self._reader.cancel()
        if path is not None:
            self._reader.read(path, QSize(1024, 1024))
        self.update()

    def show_patches(self, patches: Sequence[Sequence[float]]) -> None:
        """Overlay the relevance of ``patches`` (rows of columns, >= 0); the highest has the highest opacity."""
        self._heat = heat(patches)
        self.update()

    def _on_arrived(self, _path: Path, image: QImage | None, reason: str) -> None:
        self._image = None if image is None else centre_square(image)
        self.setToolTip("" if image is not None else plain_tip(f"The image cannot be shown: {reason}."))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        if self._image is None:
            painter.fillRect(self.rect(), theme().color("raised"))
        else:
            painter.drawImage(self.rect(), self._image)
        if self._heat is not None:
            painter.drawImage(self.rect(), self._heat)
        painter.end()


def centre_square(image: QImage) -> QImage:
    """The largest centred square of ``image`` in grey, with transparent pixels on white."""
    side = min(image.width(), image.height())
    background = QImage(side, side, QImage.Format.Format_RGB32)
    background.fill(Qt.GlobalColor.white)
    painter = QPainter(background)
    box = QRect((image.width() - side) // 2, (image.height() - side) // 2, side, side)
    painter.drawImage(background.rect(), image, box)
    painter.end()
    return background.convertToFormat(QImage.Format.Format_Grayscale8)


def heat(patches: Sequence[Sequence[float]]) -> QImage | None:
    """One pixel per patch, with opacity by relevance; None if no patch is relevant."""
    highest = max((max(row, default=0.0) for row in patches), default=0.0)
    columns = len(patches[0]) if patches else 0
    if highest <= 0 or any(len(row) != columns for row in patches):
        return None
    image = QImage(columns, len(patches), QImage.Format.Format_ARGB32)
    for y, row in enumerate(patches):
        for x, share in enumerate(row):
            color = QColor(HEAT)
            color.setAlphaF(_MAX_OPACITY * min(1.0, max(0.0, share / highest)))
            image.setPixelColor(x, y, color)
    return image
