"""Paints the list of captions: thumbnail, state, caption in up to three lines; opens an editor in place.

Flow: table paints a cell -> ``CaptionsDelegate`` -> ``CaptionsModel`` and ``Thumbnails``. Scaled images and wrapped
lines are cached for scrolling.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from pathlib import Path

from PySide6.QtCore import QEvent, QModelIndex, QObject, QPersistentModelIndex, QPoint, QRect, QSize, Qt
from PySide6.QtGui import QFontMetrics, QImage, QKeyEvent, QPainter, QPen, QPixmap
from PySide6.QtWidgets import QPlainTextEdit, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from sdgui.panels.caption.list.rows import CAPTION, ENTRY_ROLE, IMAGE, SCORE
from sdgui.panels.caption.model import Entry, State
from sdgui.widgets.gallery.line_breaking import break_lines
from sdgui.widgets.gallery.thumbnails import Thumbnails
from sdgui.widgets.style.theme import SPACE, theme

LINES = 3  # lines of text of a caption; the rest is cut off
_CACHE_SIZE = 3000  # limit of each cache: scaled images and wrapped texts
_Index = QModelIndex | QPersistentModelIndex
_ICONS: dict[State, tuple[str, str]] = {
    "waiting": ("ph.circle-dashed", "muted"),
    "captioned": ("ph.check-circle", "good"),
    "edited": ("ph.pencil-simple-fill", "accent_text"),
    "failed": ("ph.x-circle-fill", "error"),
}


class CaptionsDelegate(QStyledItemDelegate):
    """Paints the cells; all rows have the same height."""

    def __init__(self, thumbnails: Thumbnails, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._thumbnails = thumbnails
        self._scaled: OrderedDict[tuple[int, int, float], QPixmap] = OrderedDict()
        self.restyle()

    def restyle(self) -> None:
        """Update colours, fonts and icons after a change of theme."""
        current_theme = theme()
        self._font, self._small = current_theme.font(), current_theme.font("small")
        self._metrics, self._small_metrics = QFontMetrics(self._font), QFontMetrics(self._small)
        names = ("text", "muted", "error", "raised", "selection", "accent_text", "border", "warning")
        self._colors = {name: current_theme.color(name) for name in names}
        self._icons = {state: current_theme.icon(*icon).pixmap(16, 16) for state, icon in _ICONS.items()}
        self._broken = current_theme.icon("ph.warning", "muted").pixmap(24, 24)
        font, metrics = self._font, self._metrics
        self._wrap = lru_cache(_CACHE_SIZE)(lambda text, width: break_lines(text, font, metrics, width, LINES))

    def row_height(self) -> int:
        """The height of three lines of text, with padding."""
        return max(LINES * self._metrics.lineSpacing(), 6 * SPACE) + SPACE

    def sizeHint(self, option: QStyleOptionViewItem, index: _Index) -> QSize:
        return QSize(10 * SPACE, self.row_height())

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _Index) -> None:
        entry: Entry = index.data(ENTRY_ROLE)
        painter.save()
        box = option.rect
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(box, self._colors["selection"])
        elif option.state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(box, self._colors["raised"])
        painter.setPen(self._colors["border"])
        painter.drawLine(box.bottomLeft(), box.bottomRight())
        if option.state & QStyle.StateFlag.State_HasFocus:
            painter.setPen(QPen(self._colors["accent_text"], 1))
            painter.drawRect(box.adjusted(0, 0, -1, -2))
        if index.column() == IMAGE:
            self._paint_image_cell(painter, box, entry)
        elif index.column() == SCORE:
            self._paint_score(painter, box, str(index.data() or ""))
        else:
            self._paint_caption(painter, box, entry, str(index.data() or ""), index.column() == CAPTION)
        painter.restore()

    def _paint_image_cell(self, painter: QPainter, box: QRect, entry: Entry) -> None:
        side = box.height() - SPACE
        rect = QRect(box.left() + SPACE // 2, box.top() + SPACE // 2, side, side)
        thumbnail = self._thumbnails.get(Path(entry.path))
        if thumbnail is None:
            painter.fillRect(rect, self._colors["raised"])
        elif thumbnail.image is None:
            painter.setPen(QPen(self._colors["muted"], 1, Qt.PenStyle.DashLine))
            painter.drawRect(rect.adjusted(1, 1, -1, -1))
            painter.drawPixmap(rect.center() - QPoint(12, 12), self._broken)
        else:
            self._paint_image(painter, rect, thumbnail.image)
        text_x = rect.right() + SPACE
        painter.drawPixmap(QPoint(text_x, box.center().y() - 18), self._icons[entry.state])
        painter.setFont(self._small)
        painter.setPen(self._colors["muted"])
        line = QRect(
            text_x, box.center().y() + 2, max(0, box.right() - text_x - SPACE // 2), self._small_metrics.height()
        )
        name = " ".join(entry.name.split())
        painter.drawText(
            line,
            int(Qt.AlignmentFlag.AlignLeft),
            self._small_metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, line.width()),
        )

    def _paint_image(self, painter: QPainter, rect: QRect, image: QImage) -> None:
        ratio = painter.device().devicePixelRatioF()
        pixmap = self._scale(image, rect.width(), ratio)
        size = pixmap.deviceIndependentSize().toSize()
        corner = rect.center() - QPoint(size.width() // 2, size.height() // 2)
        if image.hasAlphaChannel():
            painter.fillRect(QRect(corner, size), Qt.GlobalColor.white)  # the model sees transparent pixels as white
        painter.drawPixmap(corner, pixmap)

    def _scale(self, image: QImage, side: int, ratio: float) -> QPixmap:
        key = (image.cacheKey(), side, ratio)
        pixmap = self._scaled.get(key)
        if pixmap is None:
            room = QSize(round(side * ratio), round(side * ratio))
            modes = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
            pixmap = QPixmap.fromImage(image.scaled(room, *modes))
            pixmap.setDevicePixelRatio(ratio)
            self._scaled[key] = pixmap
            if len(self._scaled) > _CACHE_SIZE:
                self._scaled.popitem(last=False)
        return pixmap

    def _paint_score(self, painter: QPainter, box: QRect, text: str) -> None:
        painter.setFont(self._font)
        painter.setPen(self._colors["muted"])
        alignment = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(box.adjusted(0, 0, -SPACE, 0), int(alignment), text)

    def _paint_caption(self, painter: QPainter, box: QRect, entry: Entry, text: str, is_first_model: bool) -> None:
        role = "text"
        if not text and is_first_model:
            text, role = (entry.error, "error") if entry.error else ("no caption yet", "muted")
        elif not is_first_model:
            role = "warning" if entry.differs() else "muted"
        room = box.adjusted(SPACE, 0, -SPACE, 0)
        lines = self._wrap(text, max(room.width(), 40))
        height = self._metrics.lineSpacing()
        top = box.center().y() - len(lines) * height // 2
        painter.setFont(self._font)
        painter.setPen(self._colors[role])
        for number, line in enumerate(lines):
            # Drawn at the baseline: laying out text in a box takes five times as long.
            painter.drawText(room.left(), top + number * height + self._metrics.ascent(), line)

    # --- editing

    def createEditor(self, parent: QWidget, option: QStyleOptionViewItem, index: _Index) -> QWidget:
        editor = QPlainTextEdit(parent)
        editor.setTabChangesFocus(True)
        editor.setAccessibleName("Caption")
        editor.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        return editor

    def setEditorData(self, editor: QWidget, index: _Index) -> None:
        """Fill the editor, but keep text being typed: Qt calls this whenever a nearby row changes."""
        if not isinstance(editor, QPlainTextEdit):
            return
        text = str(index.data(Qt.ItemDataRole.EditRole) or "")
        if not editor.document().isModified() and editor.toPlainText() != text:
            editor.setPlainText(text)
            editor.selectAll()

    def setModelData(self, editor: QWidget, model: object, index: _Index) -> None:
        if isinstance(editor, QPlainTextEdit):
            index.model().setData(index, editor.toPlainText(), Qt.ItemDataRole.EditRole)

    def updateEditorGeometry(self, editor: QWidget, option: QStyleOptionViewItem, index: _Index) -> None:
        editor.setGeometry(option.rect)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Enter ends editing: a caption is one line."""
        if (
            event.type() == QEvent.Type.KeyPress
            and isinstance(event, QKeyEvent)
            and isinstance(watched, QPlainTextEdit)
            and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        ):
            self.commitData.emit(watched)
            self.closeEditor.emit(watched, QStyledItemDelegate.EndEditHint.NoHint)
            return True
        return super().eventFilter(watched, event)
