"""Paints a cell of the gallery: thumbnail on its ground, rank and score, mark of the true one, two lines of caption."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QImage, QPainter, QPainterPath, QPen, QTextLayout, QTextOption
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from sdgui.widgets.gallery_model import ITEM_ROLE, GalleryItem, GalleryModel
from sdgui.widgets.theme import SPACE, theme

_Index = QModelIndex | QPersistentModelIndex
_MARK = 20  # px


class GalleryDelegate(QStyledItemDelegate):
    """``side`` is the thumbnail's size in px; all cells are alike, so that the view need not ask each."""

    def __init__(self, model: GalleryModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self.side = 128

    def cell(self) -> QSize:
        """Size of a cell: thumbnail, a line of figures, two lines of caption, and room around."""
        metrics = QFontMetrics(theme().font("small"))
        return QSize(self.side + 2 * SPACE, self.side + 2 * SPACE + 3 * metrics.height() + SPACE // 2)

    def sizeHint(self, option: QStyleOptionViewItem, index: _Index) -> QSize:
        return self.cell()

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _Index) -> None:
        item: GalleryItem = index.data(ITEM_ROLE)
        look = theme()
        painter.save()
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        self._ground(painter, option, look.color("selection"), look.color("accent_text"), look.color("raised"))
        place = QRect(option.rect.x() + SPACE, option.rect.y() + SPACE, self.side, self.side)
        thumbnail = self._model.thumbnail(index.row())
        if thumbnail is None:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(look.color("raised"))
            painter.drawRoundedRect(place, 4, 4)
        elif thumbnail.image is None:
            self._broken(painter, place)
        else:
            self._picture(painter, place, thumbnail.image)
        if item.correct is not None:
            self._mark(painter, place, item.correct)
        self._words(painter, option, item, place)
        painter.restore()

    @staticmethod
    def _ground(painter: QPainter, option: QStyleOptionViewItem, fill: QColor, edge: QColor, hover: QColor) -> None:
        box = QRectF(option.rect).adjusted(2, 2, -2, -2)
        selected = bool(option.state & QStyle.StateFlag.State_Selected)
        focused = bool(option.state & QStyle.StateFlag.State_HasFocus)
        if selected or option.state & QStyle.StateFlag.State_MouseOver:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(fill if selected else hover)
            painter.drawRoundedRect(box, 6, 6)
        if focused:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(edge, 1))
            painter.drawRoundedRect(box, 6, 6)

    @staticmethod
    def _picture(painter: QPainter, place: QRect, image: QImage) -> None:
        size = image.size().scaled(place.size(), Qt.AspectRatioMode.KeepAspectRatio)
        box = QRect(0, 0, size.width(), size.height())
        box.moveCenter(place.center())
        if image.hasAlphaChannel():
            painter.fillRect(box, Qt.GlobalColor.white)  # as the trainer lays it
        painter.drawImage(box, image)

    @staticmethod
    def _broken(painter: QPainter, place: QRect) -> None:
        look = theme()
        painter.setBrush(look.color("raised"))
        painter.setPen(QPen(look.color("strong_border"), 1, Qt.PenStyle.DashLine))
        painter.drawRoundedRect(place.adjusted(1, 1, -1, -1), 4, 4)
        icon = QRect(0, 0, 4 * SPACE, 4 * SPACE)
        icon.moveCenter(place.center())
        look.icon("ph.warning", "muted").paint(painter, icon)

    @staticmethod
    def _mark(painter: QPainter, place: QRect, correct: bool) -> None:
        """The true one: a disc with a check and a frame; a wrong one: a small square with a cross."""
        look = theme()
        color = look.color("good" if correct else "muted")
        if correct:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(color, 3))
            painter.drawRoundedRect(QRectF(place).adjusted(-1, -1, 1, 1), 4, 4)
        box = QRectF(place.right() - _MARK + 4, place.top() - 4, _MARK, _MARK)
        painter.setPen(QPen(look.color("surface"), 2))
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
        painter.setPen(QPen(look.color("surface"), 2, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
        painter.drawPath(path)

    @staticmethod
    def _words(painter: QPainter, option: QStyleOptionViewItem, item: GalleryItem, place: QRect) -> None:
        look = theme()
        font = look.font("small")
        metrics = QFontMetrics(font)
        painter.setFont(font)
        line = QRect(place.left(), place.bottom() + SPACE // 2, place.width(), metrics.height())
        painter.setPen(look.color("muted"))
        if item.rank is not None:
            painter.drawText(line, int(Qt.AlignmentFlag.AlignLeft), f"#{item.rank}")
        if item.score is not None:
            painter.drawText(line, int(Qt.AlignmentFlag.AlignRight), f"{item.score:.3f}")
        if item.rank is not None or item.score is not None:
            line.translate(0, metrics.height())
        painter.setPen(look.color("text"))
        for text in two_lines(item.caption, font, metrics, place.width()):
            painter.drawText(line, int(Qt.AlignmentFlag.AlignLeft), text)
            line.translate(0, metrics.height())


def two_lines(text: str, font: QFont, metrics: QFontMetrics, width: int) -> list[str]:
    """``text`` on at most two lines of ``width`` px, broken at words, the second elided."""
    text = " ".join(text.split())
    if metrics.horizontalAdvance(text) <= width:
        return [text] if text else []
    layout = QTextLayout(text)
    layout.setFont(font)
    option = QTextOption()
    option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
    layout.setTextOption(option)
    layout.beginLayout()
    line = layout.createLine()
    line.setLineWidth(width)
    end = line.textStart() + line.textLength()
    layout.endLayout()
    return [text[:end].rstrip(), metrics.elidedText(text[end:].lstrip(), Qt.TextElideMode.ElideRight, width)]
