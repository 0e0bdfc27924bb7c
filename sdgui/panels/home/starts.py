"""Three ways to begin: from a folder of one's own, with a pretrained model, with the demo.

Flow: the window's actions -> cards in an empty home, buttons beside the heading of one with runs.
"""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from sdgui.widgets.actions import ActionButton, Actions
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE, set_role, theme

STARTS = {  # action -> icon, what comes of it
    "demo": (
        "ph.flask",
        "Draws 4,050 captioned pictograms and trains on them in a few minutes, without a GPU. A good first look.",
    ),
    "new_from_folder": (
        "ph.folder-open",
        "Your own images with captions or class folders: choose a folder, or drop it here, and train on it.",
    ),
    "pretrained": (
        "ph.download-simple",
        "Search, classify and caption your images with a published model, without training anything.",
    ),
}
_ICON = 4 * SPACE
_CARD = 32 * SPACE


class StartCards(QWidget):
    """The whole page of an empty home: what the program is for, and the three starts; the first is the primary."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.buttons: dict[str, ActionButton] = {}
        self._images: list[tuple[PlainLabel, str]] = []
        title = PlainLabel("Train image-language models, and use what they learn", self, role="heading")
        text = PlainLabel("Define an experiment, launch it, watch its curves, search with it.", self, role="muted")
        self._cards = QHBoxLayout()
        self._cards.setSpacing(2 * SPACE)
        column = QVBoxLayout(self)
        column.setSpacing(SPACE)
        column.addStretch(2)
        column.addWidget(title, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addWidget(text, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addSpacing(2 * SPACE)
        column.addLayout(self._cards)
        column.addStretch(3)
        theme().changed.connect(self._restyle)

    def set_actions(self, actions: Actions) -> None:
        """A card for each start."""
        self._cards.addStretch(1)
        for name, (icon, about) in STARTS.items():
            self._cards.addWidget(self._card(actions[name], icon, about, primary=not self.buttons), 100)  # all alike
        self._cards.addStretch(1)
        self._restyle()

    def _card(self, action: QAction, icon: str, about: str, primary: bool) -> QFrame:
        card = QFrame(self)
        set_role(card, "card")
        card.setMaximumWidth(_CARD)
        card.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        image = PlainLabel(card)
        self._images.append((image, icon))
        text = PlainLabel(about, card, wordWrap=True, role="muted")
        keys = PlainLabel(action.shortcut().toString(QKeySequence.SequenceFormat.NativeText), card, role="small")
        button = self.buttons[action.objectName()] = ActionButton(action, card)
        button.setAutoDefault(True)  # Enter presses it
        if primary:
            set_role(button, "primary")
        column = QVBoxLayout(card)
        column.setContentsMargins(2 * SPACE, 2 * SPACE, 2 * SPACE, 2 * SPACE)
        column.setSpacing(SPACE)
        column.addWidget(image)
        column.addWidget(text, 1, Qt.AlignmentFlag.AlignTop)
        column.addWidget(button)
        column.addWidget(keys, 0, Qt.AlignmentFlag.AlignHCenter)
        return card

    def _restyle(self) -> None:
        for image, icon in self._images:
            image.setPixmap(theme().icon(icon, "accent_text").pixmap(QSize(_ICON, _ICON)))


class StartRow(QWidget):
    """The starts as buttons in a row; the first one of them is the page's primary."""

    ORDER = ("new_from_folder", "pretrained", "demo")

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(SPACE)

    def set_actions(self, actions: Actions) -> None:
        for name in reversed(self.ORDER):
            button = ActionButton(actions[name], self)
            if name == self.ORDER[0]:
                set_role(button, "primary")
            self._row.addWidget(button)
