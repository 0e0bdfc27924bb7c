"""The scrolling page of a plot grid: collapsible sections of cards, in as many columns as fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QRect, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QResizeEvent, QShowEvent
from PySide6.QtWidgets import QFrame, QScrollArea, QWidget

from sdgui.panels.runs.plots.card import PlotCard
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.style.theme import SPACE

_MIN_CARD_WIDTH = 42 * SPACE  # in px, unless the page is narrower
_CARD_HEIGHT = 28 * SPACE  # px
_LARGE_HEIGHT = 40 * SPACE  # px; maximum height of the cards of a section with large cards
_HEADING_HEIGHT = 4 * SPACE  # height of a section's heading in px
_CARD_GAP = SPACE + SPACE // 2  # between cards, in px


@dataclass(frozen=True)
class CardSection:
    """A section of cards, which are hidden if it is folded."""

    title: str
    cards: Sequence[PlotCard]
    folded: bool = False
    large: bool = False


class PlotPage(QScrollArea):
    """The page. ``card_seen(card)``: a card became visible; emitted for one card per turn of the event loop."""

    card_seen = Signal(object)
    folded = Signal(str)  # title of the section whose header was clicked

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.content = QWidget(self.viewport())
        self.content.setProperty("role", "page")
        self.setWidget(self.content)
        self._sections: list[CardSection] = []
        self._cards: list[PlotCard] = []
        self._heads: dict[str, IconButton] = {}  # title of a section -> its heading
        self._report_timer = QTimer(self, singleShot=True, interval=0)
        self._report_timer.timeout.connect(self._report_seen_card)
        self._layout_timer = QTimer(self, singleShot=True, interval=0)
        self._layout_timer.timeout.connect(self.lay_out)
        self._reported_cards: set[PlotCard] = set()  # cards reported since they became visible
        self.verticalScrollBar().valueChanged.connect(self._restart_reporting)

    def set_sections(self, sections: Sequence[CardSection]) -> None:
        """Show the sections from top to bottom."""
        self._sections = list(sections)
        cards = [card for section in sections if not section.folded for card in section.cards]
        for hidden in set(self._cards) - set(cards):
            hidden.hide()
        self._cards = cards
        for card in cards:
            if card.parent() is not self.content:
                card.setParent(self.content)
            card.show()
        self._layout_timer.start()

    def cards(self) -> list[PlotCard]:
        """The cards of unfolded sections, from top to bottom."""
        return list(self._cards)

    def visible_cards(self) -> list[PlotCard]:
        """The cards that are at least half visible."""
        seen = self._visible_area()
        return [card for card in self._cards if 2 * card.geometry().intersected(seen).height() >= card.height()]

    def _visible_area(self) -> QRect:
        return QRect(0, self.verticalScrollBar().value(), self.viewport().width(), self.viewport().height())

    def lay_out(self) -> None:
        """Lay the sections out for the current width."""
        width = self.viewport().width()
        columns = max(1, (width + _CARD_GAP) // (_MIN_CARD_WIDTH + _CARD_GAP))
        y = 0
        for title in self._heads.keys() - {section.title for section in self._sections}:
            self._heads[title].hide()
        for section in self._sections:
            y = self._place_head(section, y, width)
            if not section.folded:
                y = self._place_cards(section, y, width, 1 if section.large else columns)
            y += SPACE
        self.content.resize(QSize(width, y))
        self._restart_reporting()

    def _place_cards(self, section: CardSection, y: int, width: int, columns: int) -> int:
        height = _CARD_HEIGHT
        if section.large:  # as high as the page allows
            height = max(_CARD_HEIGHT, min(_LARGE_HEIGHT, self.viewport().height() - _HEADING_HEIGHT - SPACE))
        card_width = (width - _CARD_GAP * (columns - 1)) // columns
        for number, card in enumerate(section.cards):
            row, column = divmod(number, columns)
            card.setGeometry(
                QRect(column * (card_width + _CARD_GAP), y + row * (height + _CARD_GAP), card_width, height)
            )
        return y + -(-len(section.cards) // columns) * (height + _CARD_GAP)

    def _place_head(self, section: CardSection, y: int, width: int) -> int:
        head = self._heads.get(section.title)
        if head is None:
            head = IconButton("ph.caret-down", f"Fold {section.title}", text=section.title, parent=self.content)
            head.setFont(self.font())
            head.clicked.connect(lambda: self.folded.emit(section.title))
            self._heads[section.title] = head
        if section.folded:
            head.set_icon("ph.caret-right", f"Unfold {section.title}")
        else:
            head.set_icon("ph.caret-down", f"Fold {section.title}")
        head.setText(f"{section.title} ({len(section.cards)})" if section.folded else section.title)
        head.setGeometry(0, y, min(head.sizeHint().width(), width), _HEADING_HEIGHT)
        head.show()
        return y + _HEADING_HEIGHT

    def _restart_reporting(self) -> None:
        self._reported_cards.clear()
        self._report_timer.start()

    def _report_seen_card(self) -> None:
        """Emit ``card_seen`` for one newly visible card, and schedule the next."""
        if not self.isVisible():
            return
        for card in self._cards:
            if card not in self._reported_cards and card.geometry().intersects(self._visible_area()):
                self._reported_cards.add(card)
                self.card_seen.emit(card)
                self._report_timer.start()
                return

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._layout_timer.start()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._layout_timer.start()
