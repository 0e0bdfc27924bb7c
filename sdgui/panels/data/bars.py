"""Bar charts: captions by number of words, images by number of captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPoint, QRect, QSize
from PySide6.QtGui import QHelpEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from sdgui.widgets.formats import count
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE, theme

_HIGH = 18 * SPACE


@dataclass(frozen=True)
class Bar:
    """One bar: what stands under it, how high it is, and its tooltip."""

    label: str
    value: int
    tip: str


class Bars(QWidget):
    """Upright bars from one common line; the highest is marked with its number."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bars: list[Bar] = []
        self.setAccessibleName(name)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme().changed.connect(self.update)

    def set_bars(self, bars: Sequence[Bar]) -> None:
        """Replace all."""
        self._bars = list(bars)
        longest = max(self._bars, key=lambda bar: bar.value, default=None)
        self.setAccessibleDescription(f"most: {longest.tip}" if longest is not None else "")
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(50 * SPACE, _HIGH)

    def _slot(self, index: int) -> QRect:
        """Where bar ``index`` may stand, its label left out."""
        wide = self.width() / max(1, len(self._bars))
        left, right = round(index * wide), round((index + 1) * wide)
        return QRect(left, 0, max(1, right - left), self.height() - self.fontMetrics().height() - SPACE // 2)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(theme().font("small"))
        metrics = painter.fontMetrics()
        max_value = max((bar.value for bar in self._bars), default=0)
        room, shown_to = metrics.height() + SPACE // 2, -SPACE
        for index, bar in enumerate(self._bars):
            slot = self._slot(index)
            high = round((slot.height() - room) * bar.value / max_value) if max_value else 0
            if bar.value:
                gap = 1 if slot.width() > 3 else 0
                box = QRect(slot.left(), slot.bottom() - max(1, high), slot.width() - gap, max(1, high))
                painter.fillRect(box, theme().color("accent"))
            painter.setPen(theme().color("muted"))
            wide = metrics.horizontalAdvance(bar.label)
            left = min(max(0, slot.center().x() - wide // 2), self.width() - wide)
            if bar.label and left > shown_to:
                painter.drawText(QPoint(left, self.height() - metrics.descent() - 1), bar.label)
                shown_to = left + wide + SPACE
        if max_value:
            self._mark(painter, max_value)
        painter.setPen(theme().color("border"))
        bottom = self._slot(0).bottom() if self._bars else self.height() - 1
        painter.drawLine(0, bottom, self.width(), bottom)
        painter.end()

    def _mark(self, painter: QPainter, max_value: int) -> None:
        index = next(number for number, bar in enumerate(self._bars) if bar.value == max_value)
        text, metrics = count(max_value), painter.fontMetrics()
        wide = metrics.horizontalAdvance(text)
        left = min(max(0, self._slot(index).center().x() - wide // 2), self.width() - wide)
        painter.setPen(theme().color("text"))
        painter.drawText(QPoint(left, metrics.ascent()), text)

    def _at(self, point: QPoint) -> int:
        slots = map(self._slot, range(len(self._bars)))
        return next((i for i, slot in enumerate(slots) if slot.left() <= point.x() <= slot.right()), -1)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            index = self._at(event.pos())
            QToolTip.showText(event.globalPos(), plain_tip(self._bars[index].tip) if index >= 0 else "", self)
            return True
        return super().event(event)
