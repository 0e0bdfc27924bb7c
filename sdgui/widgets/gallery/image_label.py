"""One small image in a panel; its thumbnail comes from the window's service."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QImage, QPainter, QPixmap
from PySide6.QtWidgets import QWidget

from sdgui.widgets.gallery.thumbnails import Thumbnails
from sdgui.widgets.plain_text import PlainLabel, plain_tip


class ImageLabel(PlainLabel):
    """Shows the last requested image; a dash if it is unreadable."""

    def __init__(self, size: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedSize(size, size)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._path: Path | None = None
        self.thumbnails = Thumbnails(parent=self)
        self.thumbnails.ready.connect(self._on_ready)

    def show_image(self, path: Path | None) -> None:
        """Load and show ``path``; None shows nothing."""
        self._path = path
        self.setToolTip(plain_tip(str(path) if path is not None else ""))
        self.thumbnails.keep_only([])
        if path is None:
            self.clear()
        else:
            self.thumbnails.set_side(max(self.width(), self.height()) * self.devicePixelRatioF())
            self._show(path)

    def _on_ready(self, path: str) -> None:
        if self._path is not None and path == str(self._path):  # otherwise another image has been requested
            self._show(self._path)

    def _show(self, path: Path) -> None:
        thumbnail = self.thumbnails.get(path)
        if thumbnail is None:
            return  # still being read
        if thumbnail.image is None:
            self.setText("–")
        else:
            self.setPixmap(self._scaled(thumbnail.image))

    def _scaled(self, image: QImage) -> QPixmap:
        ratio = self.devicePixelRatioF()
        room = QSize(int(self.width() * ratio), int(self.height() * ratio))
        ways = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
        scaled = image.scaled(room, *ways)
        pixmap = QPixmap(scaled.size())
        pixmap.fill(Qt.GlobalColor.white)  # the background of transparent images, as in training
        painter = QPainter(pixmap)
        painter.drawImage(0, 0, scaled)
        painter.end()
        pixmap.setDevicePixelRatio(ratio)
        return pixmap
