"""The scrolling page of a plot grid: titled sections of cards, in as many columns as fit."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRect, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QResizeEvent, QShowEvent
from PySide6.QtWidgets import QFrame, QScrollArea, QWidget

from sdgui.panels.runs.plots.card import PlotCard
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE, set_role

_CARD_WIDTH = 42 * SPACE  # least width a column aims at
_CARD_HEIGHT = 28 * SPACE
_GAP = SPACE + SPACE // 2


class PlotPage(QScrollArea):
    """``card_seen(card)`` fires when a card scrolled into view, one card per turn of the event loop."""

    card_seen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.content = QWidget(self.viewport())
        self.content.setProperty("role", "page")
        self.setWidget(self.content)
        self._cards: list[PlotCard] = []
        self._heads: dict[str, PlainLabel] = {}
        self._looking = QTimer(self)
        self._looking.setSingleShot(True)
        self._looking.setInterval(0)
        self._looking.timeout.connect(self._look)
        self._laying = QTimer(self)
        self._laying.setSingleShot(True)
        self._laying.setInterval(0)
        self._laying.timeout.connect(self.lay_out)
        self._told: set[PlotCard] = set()
        self.verticalScrollBar().valueChanged.connect(self._moved)

    def set_cards(self, cards: Sequence[PlotCard]) -> None:
        """Show these cards, in this order; cards of one section must stand together."""
        for gone in set(self._cards) - set(cards):
            gone.hide()
        self._cards = list(cards)
        for card in cards:
            if card.parent() is not self.content:
                card.setParent(self.content)
                card.show()
        self._laying.start()

    def lay_out(self) -> None:
        """Lay the cards out for the current width."""
        width = self.viewport().width()
        columns = max(1, (width + _GAP) // (_CARD_WIDTH + _GAP))
        card_width = (width - _GAP * (columns - 1)) // columns
        y, column, section = 0, 0, ""
        for head in self._heads.values():
            head.hide()
        for card in self._cards:
            if card.chart.section != section:
                y += (_CARD_HEIGHT + _GAP if column else 0) + (SPACE if section else 0)
                section, column = card.chart.section, 0
                y += self._place_head(section, y, width)
            elif column == columns:
                y, column = y + _CARD_HEIGHT + _GAP, 0
            card.setGeometry(QRect(column * (card_width + _GAP), y, card_width, _CARD_HEIGHT))
            column += 1
        self.content.resize(QSize(width, y + (_CARD_HEIGHT if self._cards else 0)))
        self._moved()

    def _place_head(self, section: str, y: int, width: int) -> int:
        if section not in self._heads:
            head = PlainLabel(section, self.content)
            set_role(head, "title")
            self._heads[section] = head
        head = self._heads[section]
        height = head.sizeHint().height() + SPACE
        head.setGeometry(0, y, width, height)
        head.show()
        return height

    def _moved(self) -> None:
        self._told.clear()
        self._looking.start()

    def _look(self) -> None:
        """Emit ``card_seen`` for one visible card at a time since the page was scrolled."""
        if not self.isVisible():
            return
        seen = QRect(0, self.verticalScrollBar().value(), self.viewport().width(), self.viewport().height())
        for card in self._cards:
            if card not in self._told and card.geometry().intersects(seen):
                self._told.add(card)
                self.card_seen.emit(card)
                self._looking.start()
                return

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._laying.start()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._laying.start()
