"""Above every panel: the current experiment, where it would train, and the buttons that queue and launch it."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from sdgui.app.place_button import PlaceButton
from sdgui.shared.services import Services
from sdgui.widgets.actions import ActionButton, Actions
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.style.theme import SPACE, set_role


class Header(QWidget):
    """Title, a line below it, the place, and the buttons Queue and Launch."""

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.place = PlaceButton(services.hosts, self)
        self.title = ElidedLabel("", self)
        set_role(self.title, "heading")
        self.line = ElidedLabel("", self)
        set_role(self.line, "muted")
        texts = QVBoxLayout()
        texts.setSpacing(0)
        texts.addWidget(self.title)
        texts.addWidget(self.line)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(2 * SPACE, SPACE, 2 * SPACE, SPACE)
        self._row.setSpacing(SPACE)
        self._row.addLayout(texts, 1)

    def set_actions(self, actions: Actions) -> None:
        """Add the buttons of the window's actions."""
        main = ActionButton(actions["launch"], self)
        set_role(main, "primary")
        self.place.set_actions(actions)
        self._row.addWidget(self.place)
        self._row.addWidget(ActionButton(actions["queue"], self))
        self._row.addWidget(main)

    def show_texts(self, title: str, line: str) -> None:
        self.title.setText(title)
        self.line.setText(line)
