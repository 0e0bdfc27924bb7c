"""Over every place: which experiment it is about, and the one main thing to do with it."""

from __future__ import annotations

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from sdgui.widgets.actions import ActionButton, Actions
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.style.theme import SPACE, set_role, theme


class Header(QWidget):
    """Title, a line below it, and the buttons Queue and Launch."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
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
        self._launch: QAction | None = None
        theme().changed.connect(self._restyle)

    def set_actions(self, actions: Actions) -> None:
        """The buttons do the window's actions."""
        self._launch = actions["launch"]
        main = ActionButton(self._launch, self)
        set_role(main, "primary")
        self._row.addWidget(ActionButton(actions["queue"], self))
        self._row.addWidget(main)
        self._restyle()

    def _restyle(self) -> None:
        if self._launch is not None:
            self._launch.setIcon(theme().icon("ph.play-fill", "on_accent"))

    def show_texts(self, title: str, line: str) -> None:
        self.title.setText(title)
        self.line.setText(line)
