"""The rail at the window's left edge: one button per panel, that of the current one pressed."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QToolButton, QVBoxLayout, QWidget

from sdgui.widgets.style.theme import SPACE, set_role

_ICON = 22


class Rail(QWidget):
    """Buttons for the panels' actions."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._group = QActionGroup(self)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(SPACE // 2, SPACE, SPACE // 2, SPACE)
        self._column.setSpacing(SPACE // 2)
        self._column.addStretch(1)

    def add_panel(self, action: QAction) -> None:
        """A button that shows a panel, below those that are there."""
        action.setCheckable(True)
        self._group.addAction(action)
        self._add(action, self._column.count() - 1)

    def add_foot(self, action: QAction) -> None:
        """A button at the bottom."""
        self._add(action, self._column.count())

    def _add(self, action: QAction, row: int) -> None:
        made = QToolButton(self)
        set_role(made, "flat")
        made.setDefaultAction(action)
        made.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
        made.setIconSize(QSize(_ICON, _ICON))
        made.setAccessibleName(action.text().replace("&", ""))
        made.setFixedWidth(8 * SPACE)
        made.setStyleSheet(f"QToolButton {{ min-height: {6 * SPACE}px; max-height: {6 * SPACE}px; }}")
        self._column.insertWidget(row, made)
