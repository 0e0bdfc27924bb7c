"""The rail at the left edge: one button per panel, in groups; the current panel's button is checked."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QSizePolicy, QToolButton, QWidget

from sdgui.shared.panel import Group
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE, set_role

_ICON = 20


class Rail(QWidget):
    """Buttons for the panels' actions. As wide as its longest label."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Expanding)
        self._group = QActionGroup(self)
        self._section: Group = "Home"
        self._column = vbox(None, into=self, spacing=2, margins=(SPACE // 2, SPACE, SPACE // 2, SPACE))

    def add_panel(self, action: QAction, section: Group) -> None:
        """Add a button that shows a panel, under a heading if it starts a group."""
        if section != self._section:
            self._section = section
            heading = PlainLabel(section.upper(), self, role="small")
            heading.setContentsMargins(SPACE, SPACE, SPACE, 0)
            self._column.insertWidget(self._column.count() - 1, heading)
        action.setCheckable(True)
        self._group.addAction(action)
        self._add(action, self._column.count() - 1)

    def add_bottom_action(self, action: QAction) -> None:
        """Add a button at the bottom."""
        self._add(action, self._column.count())

    def _add(self, action: QAction, row: int) -> None:
        button = QToolButton(self)
        set_role(button, "rail")
        button.setDefaultAction(action)
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        button.setIconSize(QSize(_ICON, _ICON))
        button.setAccessibleName(action.text().replace("&", ""))
        button.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)
        self._column.insertWidget(row, button)
