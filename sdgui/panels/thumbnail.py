"""One small picture, decoded off the window's thread."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, QRunnable, QSize, Qt, QThreadPool, Signal
from PySide6.QtGui import QImage, QImageReader, QPixmap
from PySide6.QtWidgets import QLabel, QWidget


class _Loaded(QObject):
    done = Signal(str, QImage)


class _Load(QRunnable):
    def __init__(self, path: str, size: QSize, loaded: _Loaded) -> None:
        super().__init__()
        self._path, self._size, self._loaded = path, size, loaded

    def run(self) -> None:
        reader = QImageReader(self._path)
        reader.setAutoTransform(True)
        size = reader.size()
        if size.isValid():
            reader.setScaledSize(size.scaled(self._size, Qt.AspectRatioMode.KeepAspectRatio))
        self._loaded.done.emit(self._path, reader.read())


class Thumbnail(QLabel):
    """Shows the picture last asked for; an unreadable one leaves a dash."""

    def __init__(self, size: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedSize(size, size)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._path = ""
        self._loaded = _Loaded(self)
        self._loaded.done.connect(self._show)

    def show_picture(self, path: Path | None) -> None:
        """Load and show ``path``; None shows nothing."""
        self._path = str(path) if path is not None else ""
        self.setToolTip(self._path)
        if path is None:
            self.clear()
            return
        scale = self.devicePixelRatioF()
        size = QSize(int(self.width() * scale), int(self.height() * scale))
        QThreadPool.globalInstance().start(_Load(self._path, size, self._loaded))

    def _show(self, path: str, image: QImage) -> None:
        if path != self._path:
            return  # another was asked for meanwhile
        if image.isNull():
            self.setText("–")
            return
        pixmap = QPixmap.fromImage(image)
        pixmap.setDevicePixelRatio(self.devicePixelRatioF())
        self.setPixmap(pixmap)
