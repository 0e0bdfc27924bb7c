"""Over every place: which experiment it is about, and the one main thing to do with it."""

from __future__ import annotations

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from sdgui.panels.actions import Actions, button
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.theme import SPACE, set_role, theme


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
        self.launch = QPushButton(self)
        self._launch: QAction | None = None

    def set_actions(self, actions: Actions) -> None:
        """The buttons do the window's actions."""
        self._row.addWidget(button(actions["queue"], self))
        self._launch = actions["launch"]
        set_role(self.launch, "primary")
        self.launch.setObjectName("launch")
        self.launch.setAccessibleName("Launch")
        self.launch.setMinimumHeight(4 * SPACE)
        self.launch.clicked.connect(self._launch.trigger)
        self._row.addWidget(self.launch)
        self._launch.changed.connect(self._follow)
        theme().changed.connect(self._follow)
        self._follow()

    def _follow(self) -> None:
        if self._launch is not None:
            self.launch.setText(self._launch.text().replace("&", ""))
            self.launch.setIcon(theme().icon("ph.play-fill", "on_accent"))
            self.launch.setToolTip(self._launch.toolTip())
            self.launch.setAccessibleDescription(self._launch.statusTip())
            self.launch.setEnabled(self._launch.isEnabled())

    def show_texts(self, title: str, line: str) -> None:
        self.title.setText(title)
        self.line.setText(line)
