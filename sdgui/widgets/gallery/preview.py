"""A large preview of one image: wheel, plus and minus zoom, 0 fits, 1 is 100 %; dragging or Shift+arrows pans; arrows
step to the neighbours; Space or Esc closes the preview."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFocusEvent, QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QWidget

from sdgui.widgets.gallery.images import ImageReader
from sdgui.widgets.style.theme import SPACE, theme

_MAX_SIZE = QSize(4096, 4096)  # larger images are scaled while decoding
_TEMPORARY_FOCUS_LOSS = (  # reasons for a temporary loss of focus
    Qt.FocusReason.ActiveWindowFocusReason,
    Qt.FocusReason.PopupFocusReason,
    Qt.FocusReason.MenuBarFocusReason,
)
_PANS = {  # key (with Shift) -> direction of the image, opposite to the arrow
    Qt.Key.Key_Left: (1, 0),
    Qt.Key.Key_Right: (-1, 0),
    Qt.Key.Key_Up: (0, 1),
    Qt.Key.Key_Down: (0, -1),
}


class ImagePreview(QWidget):
    """Covers the owner's window, and closes when the owner is hidden. ``stepped(-1 | 1)`` requests a neighbour."""

    stepped = Signal(int)
    closed = Signal()

    def __init__(self, owner: QWidget) -> None:
        super().__init__(owner.window())
        self._covered = owner.window()
        self._path = Path()
        self._caption = ""
        self._image: QImage | None = None
        self._is_full_image = False  # False while the thumbnail is shown
        self._reason = ""
        self._zoom = 1.0  # relative to the fitting size
        self._offset = QPointF()
        self._grabbed: QPointF | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._reader = ImageReader(self)
        self._reader.arrived.connect(self._on_arrived)
        owner.installEventFilter(self)
        self.hide()

    def show_image(self, path: Path, caption: str, thumbnail: QImage | None) -> None:
        """Show ``path``, and its ``thumbnail`` until it has been read."""
        self._path, self._caption, self._image, self._reason = path, caption, thumbnail, ""
        self._is_full_image = False
        self._zoom, self._offset = 1.0, QPointF()
        self.setAccessibleName(f"Preview: {caption or path.name}")
        self.setGeometry(self._covered.rect())
        self.show()
        self.raise_()
        self.setFocus()
        self.update()
        self._reader.read(path, _MAX_SIZE)

    def image_rect(self) -> QRectF:
        """The rectangle that the image is drawn in."""
        if self._image is None:
            return QRectF()
        room = QRectF(self.rect()).adjusted(4 * SPACE, 4 * SPACE, -4 * SPACE, -8 * SPACE)
        size = self._image.size().scaled(room.size().toSize(), Qt.AspectRatioMode.KeepAspectRatio) * self._zoom
        box = QRectF(0, 0, size.width(), size.height())
        box.moveCenter(room.center() + self._offset)
        return box

    def _on_arrived(self, _path: Path, image: QImage | None, reason: str) -> None:
        self._image, self._reason = (image, "") if image is not None else (None, reason)
        self._is_full_image = image is not None
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        ground = theme().color("window")
        ground.setAlphaF(0.94)
        painter.fillRect(self.rect(), ground)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, self._zoom < 8)
        box = self.image_rect()
        if self._image is not None:
            if self._image.hasAlphaChannel():
                painter.fillRect(box, Qt.GlobalColor.white)
            painter.drawImage(box, self._image)
        foot = self.rect().adjusted(4 * SPACE, self.height() - 6 * SPACE, -4 * SPACE, -SPACE)
        text = self._reason or " · ".join(filter(None, (self._caption, self._path.name, self._facts())))
        painter.setPen(theme().color("error" if self._reason else "text"))
        painter.drawText(foot, int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap), text)
        painter.end()

    def _facts(self) -> str:
        """Size and zoom such as ``1600 × 1200 px · 130 %``, once the full image has been read."""
        if self._image is None or not self._is_full_image:
            return ""
        percent = 100 * self.image_rect().width() * self.devicePixelRatioF() / self._image.width()
        return f"{self._image.width()} × {self._image.height()} px · {percent:.0f} %"

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Hide and not event.spontaneous() and self.isVisible():
            self.close_preview()  # another panel is shown
        return super().eventFilter(watched, event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        if event.reason() not in _TEMPORARY_FOCUS_LOSS:
            self.hide()  # a key moved the focus, such as to the tree: the focused widget must be visible

    def focusNextPrevChild(self, following: bool) -> bool:
        """Keep Tab from reaching the covered widgets."""
        return False

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = event.key()
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier and key in _PANS:
            dx, dy = _PANS[Qt.Key(key)]
            self._offset += QPointF(dx * 8 * SPACE, dy * 8 * SPACE)
            self.update()
        elif key == Qt.Key.Key_0:
            self._zoom, self._offset = 1.0, QPointF()
            self.update()
        elif key == Qt.Key.Key_1 and self._image is not None:
            actual_width = self._image.width() / self.devicePixelRatioF()
            self._zoom_at(QPointF(self.rect().center()), actual_width / max(1.0, self.image_rect().width()))
        elif key in (Qt.Key.Key_Escape, Qt.Key.Key_Space):
            self.close_preview()
        elif key in (Qt.Key.Key_Left, Qt.Key.Key_Up):
            self.stepped.emit(-1)
        elif key in (Qt.Key.Key_Right, Qt.Key.Key_Down):
            self.stepped.emit(1)
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self._zoom_at(QPointF(self.rect().center()), 1.25)
        elif key == Qt.Key.Key_Minus:
            self._zoom_at(QPointF(self.rect().center()), 0.8)
        elif key not in (Qt.Key.Key_Tab, Qt.Key.Key_Backtab):  # the covered window must not get Tab
            super().keyPressEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        self._zoom_at(event.position(), 1.2 ** (event.angleDelta().y() / 120))
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if self.image_rect().contains(event.position()):
            self._grabbed = event.position() - self._offset
        else:
            self.close_preview()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._grabbed is not None:
            self._offset = event.position() - self._grabbed
            self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._grabbed = None

    def close_preview(self) -> None:
        """Close the preview."""
        self._reader.cancel()
        self.hide()
        self._image = None
        self.closed.emit()

    def _zoom_at(self, point: QPointF, factor: float) -> None:
        zoom = min(40.0, max(1.0, self._zoom * factor))
        center = self.image_rect().center()
        self._offset += (point - center) * (1 - zoom / self._zoom)
        self._zoom = zoom
        if zoom == 1.0:
            self._offset = QPointF()
        self.update()
