"""Paints a cell of the gallery: thumbnail, badge, rank and score, mark of a correct result, caption.

Images are scaled once per size and captions broken into lines once per width, so that scrolling only paints.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import fields

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, QPoint, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QImage, QPainter, QPainterPath, QPen, QPixmap
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from sdgui.widgets.gallery.items import ITEM_ROLE, GalleryItem, GalleryModel
from sdgui.widgets.gallery.line_breaking import break_lines
from sdgui.widgets.style.colors import Colors
from sdgui.widgets.style.theme import SPACE, theme

_Index = QModelIndex | QPersistentModelIndex
_MARK = 20  # px
_CACHE_BYTES = 96 << 20  # scaled images that are kept in memory
_LINES_KEPT = 4000
_FAINT = 0.5  # opacity


class GalleryDelegate(QStyledItemDelegate):
    """Paints cells. ``side``: thumbnail size in px; ``room``: width to be filled by a row of cells (0: minimum width).

    All cells have the same size, so that the view need not query each.
    """

    def __init__(self, model: GalleryModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self.side = 128
        self.room = 0
        self._scaled: OrderedDict[tuple[int, int, float], QPixmap] = OrderedDict()
        self._scaled_bytes = 0
        self._lines: OrderedDict[tuple[str, int], list[str]] = OrderedDict()
        self.restyle()

    def restyle(self) -> None:
        """Read colours and fonts again after the theme changed."""
        style = theme()
        self._font = style.font("small")
        self._metrics = QFontMetrics(self._font)
        self._colors = {field.name: style.color(field.name) for field in fields(Colors) if field.name != "runs"}
        self._broken_icon = style.icon("ph.warning", "muted")
        self._missing_icon = style.icon("ph.file-dotted", "muted")
        self._lines.clear()
        self._marks: dict[tuple[bool, float], QPixmap] = {}
        self._plates: dict[tuple[int, float], QPixmap] = {}

    def cell(self) -> QSize:
        """Size of a cell in px: thumbnail, a line for rank and score if any, two lines of caption, and padding."""
        narrowest = self.side + 2 * SPACE
        width = self.room // max(1, self.room // narrowest) if self.room else narrowest
        lines = 2 + self._model.has_figures()
        return QSize(max(width, narrowest), self.side + 2 * SPACE + lines * self._metrics.height() + SPACE // 2)

    def sizeHint(self, option: QStyleOptionViewItem, index: _Index) -> QSize:
        return self.cell()

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _Index) -> None:
        item: GalleryItem = index.data(ITEM_ROLE)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._draw_background(painter, option)
        left = option.rect.x() + (option.rect.width() - self.side) // 2
        rect = QRect(left, option.rect.y() + SPACE, self.side, self.side)
        thumbnail = self._model.thumbnail(index.row())
        is_missing = thumbnail is not None and thumbnail.missing
        if item.line:
            self._draw_line(painter, option.rect)
        painter.setOpacity(_FAINT if item.faint else 1.0)
        if thumbnail is None:
            painter.drawPixmap(rect.topLeft(), self._placeholder(painter.device().devicePixelRatioF()))
        elif thumbnail.image is None:
            self._draw_broken(painter, rect, is_missing)
        else:
            self._draw_image(painter, rect, thumbnail.image)
        painter.setOpacity(1.0)
        if item.badge:
            self._draw_badge(painter, rect, item.badge)
        if item.correct is not None:
            self._draw_item_mark(painter, rect, item.correct)
        below = option.rect.adjusted(SPACE, self.side + SPACE, -SPACE, 0)  # wider than the thumbnail in most cells
        self._draw_texts(painter, item, below, is_missing)
        painter.restore()

    def _draw_background(self, painter: QPainter, option: QStyleOptionViewItem) -> None:
        box = QRectF(option.rect).adjusted(2, 2, -2, -2)
        selected = bool(option.state & QStyle.StateFlag.State_Selected)
        if selected or option.state & QStyle.StateFlag.State_MouseOver:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self._colors["selection" if selected else "raised"])
            painter.drawRoundedRect(box, 6, 6)
        if option.state & QStyle.StateFlag.State_HasFocus:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(self._colors["accent_text"], 1))
            painter.drawRoundedRect(box, 6, 6)

    def _draw_line(self, painter: QPainter, cell: QRect) -> None:
        """A dashed line along the left edge of the cell."""
        painter.setPen(QPen(self._colors["warning"], 2, Qt.PenStyle.DashLine))
        painter.drawLine(cell.left() + 1, cell.top() + SPACE, cell.left() + 1, cell.bottom() - SPACE)

    def _draw_image(self, painter: QPainter, rect: QRect, image: QImage) -> None:
        pixmap = self._scaled_thumbnail(image, painter.device().devicePixelRatioF())
        size = pixmap.deviceIndependentSize().toSize()
        corner = QPoint(rect.center().x() - size.width() // 2, rect.center().y() - size.height() // 2)
        if image.hasAlphaChannel():
            painter.fillRect(QRect(corner, size), Qt.GlobalColor.white)  # transparent pixels are white in training too
        painter.drawPixmap(corner, pixmap)

    def _scaled_thumbnail(self, image: QImage, ratio: float) -> QPixmap:
        """The thumbnail scaled to its size on the screen."""
        key = (image.cacheKey(), self.side, ratio)
        cached = self._scaled.get(key)
        if cached is not None:
            self._scaled.move_to_end(key)
            return cached
        room = QSize(round(self.side * ratio), round(self.side * ratio))
        size = image.size().scaled(room, Qt.AspectRatioMode.KeepAspectRatio).expandedTo(QSize(1, 1))
        ways = Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.SmoothTransformation
        pixmap = QPixmap.fromImage(image if size == image.size() else image.scaled(size, *ways))
        pixmap.setDevicePixelRatio(ratio)
        self._scaled[key] = pixmap
        self._scaled_bytes += 4 * size.width() * size.height()
        while self._scaled_bytes > _CACHE_BYTES and len(self._scaled) > 1:
            oldest = self._scaled.popitem(last=False)[1]
            self._scaled_bytes -= 4 * oldest.width() * oldest.height()
        return pixmap

    def _placeholder(self, ratio: float) -> QPixmap:
        """The placeholder of an image that is being read; drawn once, since many cells may show it."""
        plate = self._plates.get((self.side, ratio))
        if plate is None:
            plate = self._plates[self.side, ratio] = _clear(self.side, ratio)
            painter = QPainter(plate)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self._colors["raised"])
            painter.drawRoundedRect(0, 0, self.side, self.side, 4, 4)
            painter.end()
        return plate

    def _draw_broken(self, painter: QPainter, rect: QRect, is_missing: bool) -> None:
        painter.setBrush(self._colors["window" if is_missing else "raised"])
        painter.setPen(QPen(self._colors["strong_border"], 1, Qt.PenStyle.DashLine))
        painter.drawRoundedRect(rect.adjusted(1, 1, -1, -1), 4, 4)
        icon = QRect(0, 0, 4 * SPACE, 4 * SPACE)
        icon.moveCenter(rect.center())
        (self._missing_icon if is_missing else self._broken_icon).paint(painter, icon)

    def _draw_badge(self, painter: QPainter, rect: QRect, text: str) -> None:
        """Draw a badge in the lower left corner of the image."""
        width = rect.width() - SPACE
        text = self._metrics.elidedText(text, Qt.TextElideMode.ElideRight, width - SPACE)
        plate = QRect(0, 0, self._metrics.horizontalAdvance(text) + SPACE, self._metrics.height() + 2)
        plate.moveBottomLeft(rect.bottomLeft() + QPoint(4, -4))
        ground = QColor(self._colors["surface"])
        ground.setAlphaF(0.9)
        painter.setPen(QPen(self._colors["strong_border"], 1))
        painter.setBrush(ground)
        painter.drawRoundedRect(QRectF(plate).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        painter.setPen(self._colors["text"])
        painter.setFont(self._font)
        painter.drawText(plate, int(Qt.AlignmentFlag.AlignCenter), text)

    def _draw_item_mark(self, painter: QPainter, rect: QRect, correct: bool) -> None:
        """Draw the mark: a disc with a check and a frame if correct, a small square with a cross if wrong."""
        if correct:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(self._colors["good"], 3))
            painter.drawRoundedRect(QRectF(rect).adjusted(-1, -1, 1, 1), 4, 4)
        ratio = painter.device().devicePixelRatioF()
        mark = self._marks.get((correct, ratio))
        if mark is None:
            mark = self._marks[correct, ratio] = self._draw_mark(correct, ratio)
        painter.drawPixmap(QPoint(rect.right() - _MARK + 4, rect.top() - 4), mark)

    def _draw_mark(self, correct: bool, ratio: float) -> QPixmap:
        color, ground = self._colors["good" if correct else "muted"], self._colors["surface"]
        pixmap = _clear(_MARK, ratio)
        painter = QPainter(pixmap)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(1, 1, _MARK - 2, _MARK - 2)
        painter.setPen(QPen(ground, 2))
        painter.setBrush(color)
        path = QPainterPath()
        center, arm = box.center(), _MARK * 0.22
        if correct:
            painter.drawEllipse(box)
            path.moveTo(center + QPointF(-arm, 0))
            path.lineTo(center + QPointF(-arm * 0.2, arm * 0.8))
            path.lineTo(center + QPointF(arm * 1.1, -arm * 0.8))
        else:
            painter.drawRoundedRect(box.adjusted(2, 2, -2, -2), 3, 3)
            arm *= 0.75
            for dx in (-arm, arm):
                path.moveTo(center + QPointF(dx, -arm))
                path.lineTo(center + QPointF(-dx, arm))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(ground, 2, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
        painter.drawPath(path)
        painter.end()
        return pixmap

    def _draw_texts(self, painter: QPainter, item: GalleryItem, rect: QRect, is_missing: bool) -> None:
        """Draw texts at their base lines: laying out a text in a box each time takes five times as long."""
        down = QPoint(0, self._metrics.height())
        base = QPoint(rect.left(), rect.top() - 1 + SPACE // 2 + self._metrics.ascent())
        painter.setFont(self._font)
        painter.setPen(self._colors["muted"])
        if item.rank is not None:
            painter.drawText(base, f"#{item.rank}")
        figure = "missing" if is_missing else f"{item.score:.3f}" if item.score is not None else ""
        if figure:
            painter.drawText(base + QPoint(rect.width() - self._metrics.horizontalAdvance(figure), 0), figure)
        if item.rank is not None or figure:
            base += down
        if not is_missing:
            painter.setPen(self._colors["text"])
        lines = 1 if is_missing and not self._model.has_figures() else 2  # as many as the cell has room for
        for text in self._caption(item.caption, rect.width())[:lines]:
            painter.drawText(base, text)
            base += down

    def _caption(self, text: str, width: int) -> list[str]:
        key = (text, width)
        lines = self._lines.get(key)
        if lines is None:
            lines = self._lines[key] = break_lines(text, self._font, self._metrics, width, 2) if text.strip() else []
            if len(self._lines) > _LINES_KEPT:
                self._lines.popitem(last=False)
        return lines


def _clear(side: int, ratio: float) -> QPixmap:
    """An empty pixmap, ``side`` px wide, for a screen with this pixel ratio."""
    pixmap = QPixmap(QSize(side, side) * ratio)
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    return pixmap
