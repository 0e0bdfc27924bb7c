"""The rail at the window's left edge: one button a place, the shown one pressed."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QToolButton, QVBoxLayout, QWidget

from sdgui.shared.panel import PanelSpec
from sdgui.widgets.style.theme import SPACE, set_role, theme

_ICON = 22


class Rail(QWidget):
    """Buttons of the places' actions; icons follow the theme."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._icons: list[tuple[QAction, str]] = []
        self._group = QActionGroup(self)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(SPACE // 2, SPACE, SPACE // 2, SPACE)
        self._column.setSpacing(SPACE // 2)
        self._column.addStretch(1)
        theme().changed.connect(self._restyle)

    def add_panel(self, spec: PanelSpec, action: QAction) -> None:
        """A button for ``spec``, below those that are there."""
        action.setCheckable(True)
        self._group.addAction(action)
        self._add(action, spec.icon, self._column.count() - 1)

    def add_foot(self, action: QAction, icon: str) -> None:
        """A button at the bottom."""
        self._add(action, icon, self._column.count())

    def _add(self, action: QAction, icon: str, row: int) -> None:
        made = QToolButton(self)
        set_role(made, "flat")
        self._icons.append((action, icon))
        action.setIcon(theme().icon(icon))
        made.setDefaultAction(action)
        made.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
        made.setIconSize(QSize(_ICON, _ICON))
        made.setAccessibleName(action.text().replace("&", ""))
        made.setFixedWidth(8 * SPACE)
        made.setStyleSheet(f"QToolButton {{ min-height: {6 * SPACE}px; max-height: {6 * SPACE}px; }}")
        self._column.insertWidget(row, made)

    def _restyle(self) -> None:
        for action, icon in self._icons:
            action.setIcon(theme().icon(icon))
