"""A table cell with a share as bar and number and its interval as a whisker; differences start in the middle.

Flow: a model answers ``SHARE_ROLE`` with a `Share` -> ``ShareDelegate`` paints it. The number is the model's
display text, which screen readers and copying use too.
"""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QLineF, QModelIndex, QPersistentModelIndex, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPen
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from sdgui.widgets.style.theme import SPACE, theme

SHARE_ROLE = Qt.ItemDataRole.UserRole + 7
_WIDEST_NUMBER = "−100.0 %"


@dataclass(frozen=True)
class Share:
    """A share from 0 to 1, or if ``signed`` from -1 to 1, drawn from the middle. ``low``, ``high``: its interval."""

    value: float
    low: float | None = None
    high: float | None = None
    signed: bool = False


class ShareDelegate(QStyledItemDelegate):
    """Paints the bar on the left and the number on the right."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        metrics = option.fontMetrics
        return QSize(metrics.horizontalAdvance(_WIDEST_NUMBER) + 12 * SPACE, metrics.height() + SPACE)

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        share = index.data(SHARE_ROLE)
        style = theme()
        painter.save()
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(option.rect, style.color("selection"))
        inner = QRectF(option.rect).adjusted(SPACE / 2, 0, -SPACE / 2, 0)
        number_width = min(option.fontMetrics.horizontalAdvance(_WIDEST_NUMBER) + SPACE, inner.width() * 0.6)
        if isinstance(share, Share):
            width = inner.width() - number_width - SPACE / 2
            _paint_bar(painter, QRectF(inner.x(), inner.center().y() - SPACE / 2, width, SPACE), share)
        painter.setPen(style.color("text"))
        painter.setFont(style.font("text"))
        text = str(index.data() or "")
        painter.drawText(inner, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), text)
        painter.restore()


def _paint_bar(painter: QPainter, room: QRectF, share: Share) -> None:
    style = theme()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(style.color("border"))
    painter.drawRoundedRect(room, 3, 3)
    zero = room.center().x() if share.signed else room.x()
    full_width = room.width() / 2 if share.signed else room.width()

    def x_of(value: float) -> float:
        return zero + full_width * min(max(value, -1.0 if share.signed else 0.0), 1.0)

    end = x_of(share.value)
    painter.setBrush(style.color("accent"))
    painter.drawRoundedRect(QRectF(min(zero, end), room.y(), abs(end - zero), room.height()), 3, 3)
    painter.setPen(QPen(style.color("text"), 1))
    if share.low is not None and share.high is not None:
        middle = room.center().y()
        painter.drawLine(QLineF(x_of(share.low), middle, x_of(share.high), middle))
        for value in (share.low, share.high):
            painter.drawLine(QLineF(x_of(value), middle - 3, x_of(value), middle + 3))
    if share.signed:
        painter.setPen(QPen(style.color("strong_border"), 1))
        painter.drawLine(QLineF(zero, room.y() - 2, zero, room.bottom() + 2))
