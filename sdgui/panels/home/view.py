"""The widgets of Home: sections of cards, and ways to start: the whole page before the first run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import (
    QFrame,
    QLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from sdgui.panels.home.cards import MIN_CARD_WIDTH, DoneCard, FailedCard, LiveCard, PausedCard, RunCard
from sdgui.panels.home.model import HomeRuns
from sdgui.store.records import Run
from sdgui.widgets.actions import ActionButton, Actions
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.layouts.flow_layout import EvenFlowLayout
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE, set_role, theme

C = TypeVar("C", bound=RunCard)
_MAX_FEW_RUNS = 6  # up to this many listed runs leave room for the ways to start
_CARDS_PER_TURN = 2  # new cards in one turn of the event loop; each takes a few ms to style


class _Section(QWidget):
    """A heading and its cards; hidden if there are no cards."""

    def __init__(self, title: str, side_by_side: bool, parent: QWidget) -> None:
        super().__init__(parent)
        self.title = PlainLabel(title, self, role="title")
        self.cards = QWidget(self)
        self.row: QLayout = EvenFlowLayout(MIN_CARD_WIDTH, self.cards) if side_by_side else QVBoxLayout(self.cards)
        self.row.setContentsMargins(0, 0, 0, 0)
        self.row.setSpacing(SPACE)
        vbox(self.title, self.cards, into=self, margins=(0, 0, 0, SPACE))


class HomeView(QStackedWidget):
    """The page of Home. ``live``, ``paused``, ``done``, ``failed``: run id -> shown card.

    A card is kept while its run is listed.
    """

    card_made = Signal(object)  # RunCard

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.live: dict[int, LiveCard] = {}
        self.paused: dict[int, PausedCard] = {}
        self.done: dict[int, DoneCard] = {}
        self.failed: dict[int, FailedCard] = {}
        self._runs, self._new_cards = HomeRuns(), 0  # what is shown; cards created in this turn
        self._next_cards = QTimer(self, singleShot=True, interval=0)
        self._next_cards.timeout.connect(self._make_next_cards)
        self.blank = QWidget(self)  # shown until the store is read
        self.empty = EmptyHome(self)
        self._area = QScrollArea(self)
        self._area.setWidgetResizable(True)
        self._area.setFrameShape(QFrame.Shape.NoFrame)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._area.setWidget(self._page())
        for page in (self.blank, self.empty, self._area):
            self.addWidget(page)

    def _page(self) -> QWidget:
        page = QWidget(self._area.viewport())
        page.setProperty("role", "page")
        heading = PlainLabel("Home", page, role="heading")
        self.queued = PlainLabel(page, role="muted")
        self.starts = StartRow(page)
        self.start_cards = StartCards(page)
        self._start_title = PlainLabel("Try the included model, or train", page, role="title")
        head = hbox(heading, self.queued, None, self.starts)
        self._live = _Section("Training now", True, page)
        self._paused = _Section("Paused", True, page)
        self._done = _Section("Latest results", True, page)
        self._failed = _Section("Failed", False, page)
        self.empty_note = PlainLabel("No active, finished or failed runs.", page, role="muted")
        sections = (self._live, self._paused, self._failed, self._done)
        vbox(head, self.empty_note, *sections, self._start_title, self.start_cards, None, into=page, margins=2 * SPACE)
        return page

    def set_actions(self, actions: Actions) -> None:
        self.empty.set_actions(actions)
        self.start_cards.set_actions(actions)
        self.starts.set_actions(actions)

    def show_runs(self, runs: HomeRuns) -> None:
        """Show these runs; cards of runs that are still listed are not changed.

        Only a few new cards are created at once, the others in later turns; cards of active runs always at once.
        """
        self._runs, self._new_cards = runs, 0
        was_blank = self.currentWidget() is self.blank
        self.setCurrentWidget(self._area if runs.has_runs else self.empty)
        if was_blank and not runs.has_runs and self.isVisible():
            self.empty.cards.buttons["demo"].setFocus()
        self.queued.setText(f"{runs.queued} queued" if runs.queued else "")
        listed = sum(map(len, (runs.live, runs.paused, runs.done, runs.failed)))
        self.empty_note.setVisible(not listed)
        for widget in (self._start_title, self.start_cards):
            widget.setVisible(listed <= _MAX_FEW_RUNS)
        self._match_cards(self.live, runs.live, LiveCard, self._live, runs)
        self._match_cards(self.paused, runs.paused, PausedCard, self._paused, runs)
        self._match_cards(self.done, runs.done, DoneCard, self._done, runs)
        self._match_cards(self.failed, runs.failed, FailedCard, self._failed, runs)

    def cards(self) -> dict[int, RunCard]:
        """Run id -> its card."""
        return {**self.live, **self.paused, **self.done, **self.failed}

    def _match_cards(
        self, cards: dict[int, C], runs: Sequence[Run], kind: type[C], section: _Section, home_runs: HomeRuns
    ) -> None:
        """Create and remove cards to match ``runs``, in order."""
        layout = section.row
        for run_id in set(cards) - {run.id for run in runs}:
            card = cards.pop(run_id)
            layout.removeWidget(card)
            card.deleteLater()
        for run in runs:
            if run.id not in cards:
                if self._new_cards >= _CARDS_PER_TURN and kind is not LiveCard:
                    self._next_cards.start()
                    continue
                self._new_cards += 1
                cards[run.id] = kind(run, home_runs.name(run), section.cards)
                self.card_made.emit(cards[run.id])
            layout.removeWidget(cards[run.id])
            layout.addWidget(cards[run.id])
        section.setVisible(bool(runs))

    def _make_next_cards(self) -> None:
        self.show_runs(self._runs)


STARTS = {  # action -> icon, title, description
    "demo": (
        "ph.magnifying-glass",
        "Search images",
        "Describe an image. The included model searches 2,555 emoji, which are rendered once, in half a minute.",
    ),
    "caption": (
        "ph.closed-captioning",
        "Caption your own",
        "Drop images to get a caption for each. Edit, compare and export the captions, or train on them.",
    ),
    "train_demo": (
        "ph.chart-line",
        "Train",
        "Launch the demo experiment and watch the model learn. Takes a few minutes without a GPU.",
    ),
}
_ICON_SIZE = 4 * SPACE  # px
_MAX_CARDS_WIDTH = 100 * SPACE  # maximum width in px, on the empty page


class StartCards(QWidget):
    """A row of cards: three ways to start with the demo data. ``buttons``: action -> its button."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.buttons: dict[str, QPushButton] = {}
        self._images: list[tuple[PlainLabel, str]] = []  # label, name of its icon
        self._cards = hbox(into=self)
        theme().changed.connect(self._restyle)

    def set_actions(self, actions: Actions) -> None:
        for name in STARTS:
            self._cards.addWidget(self._card(actions[name], name), 100)  # one factor for all: equal widths
        self._restyle()

    def _card(self, action: QAction, name: str) -> QFrame:
        icon, title, about = STARTS[name]
        card = QFrame(self)
        set_role(card, "card")
        card.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        image = PlainLabel(card)
        self._images.append((image, icon))
        text = PlainLabel(about, card, wordWrap=True, role="muted")
        button = self.buttons[name] = QPushButton(title, card)
        button.setToolTip(action.toolTip())
        button.setAccessibleDescription(about)
        button.setAutoDefault(True)  # Enter presses it
        button.clicked.connect(action.trigger)
        vbox(image, (text, 1, Qt.AlignmentFlag.AlignTop), button, into=card, margins=2 * SPACE)
        return card

    def _restyle(self) -> None:
        for image, icon in self._images:
            image.setPixmap(theme().icon(icon, "accent_text").pixmap(QSize(_ICON_SIZE, _ICON_SIZE)))


class EmptyHome(QWidget):
    """The page before the first run: what sdgui does, three starts with demo data, and two with the user's data.

    The first card has the page's primary button.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        title = PlainLabel("Train image-language models, and use them", self, role="heading")
        text = PlainLabel("Start with an included model and the demo data.", self, role="muted")
        self.cards = StartCards(self)
        self.cards.setMaximumWidth(_MAX_CARDS_WIDTH)
        self.own_data = StartRow(self, primary=False)
        own = PlainLabel("Or start with your own data; drop a folder or table anywhere here.", self, role="muted")
        column = QVBoxLayout(self)
        column.setContentsMargins(2 * SPACE, 2 * SPACE, 2 * SPACE, 2 * SPACE)
        column.setSpacing(SPACE)
        column.addStretch(2)
        column.addWidget(title, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addWidget(text, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addSpacing(2 * SPACE)
        column.addLayout(hbox(None, (self.cards, 100), None))
        column.addSpacing(2 * SPACE)
        column.addWidget(own, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addWidget(self.own_data, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addStretch(3)

    def set_actions(self, actions: Actions) -> None:
        self.cards.set_actions(actions)
        set_role(self.cards.buttons["demo"], "primary")
        self.own_data.set_actions(actions)


class StartRow(QWidget):
    """Two buttons to start with the user's own data; with ``primary``, the last is the page's primary button."""

    def __init__(self, parent: QWidget | None = None, primary: bool = True) -> None:
        super().__init__(parent)
        self._primary = primary
        self._row = hbox(into=self)

    def set_actions(self, actions: Actions) -> None:
        pretrained, own = (ActionButton(actions[name], self) for name in ("pretrained", "new_from_folder"))
        if self._primary:
            set_role(own, "primary")
        self._row.addWidget(pretrained)
        self._row.addWidget(own)
