"""A tool button with a themed icon, a tooltip with its shortcut, and an accessible name."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QToolButton, QWidget

from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import set_role, theme


class IconButton(QToolButton):
    """``IconButton("ph.x", "Dismiss")``; flat until hovered. ``text`` is shown next to the icon."""

    def __init__(
        self,
        icon: str,
        tip: str,
        shortcut: str = "",
        text: str = "",
        checkable: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._icon_name = icon
        self.setCheckable(checkable)
        self.setIconSize(QSize(18, 18))
        set_role(self, "flat")
        self.set_tip(tip, shortcut)
        if shortcut:
            self.setShortcut(QKeySequence(shortcut))
        if text:
            self.setText(text)
            self.setProperty("hasText", "true")
            self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        theme().changed.connect(self._restyle)
        self._restyle()

    def setText(self, text: str) -> None:
        """Set the text; Qt would remove the shortcut."""
        shortcut = self.shortcut()
        super().setText(text)
        self.setShortcut(shortcut)

    def set_icon(self, icon: str, tip: str = "") -> None:
        """Change the icon and, if given, the tooltip."""
        self._icon_name = icon
        if tip:
            self.set_tip(tip)
        self._restyle()

    def set_tip(self, tip: str, shortcut: str = "") -> None:
        """Set the tooltip and the accessible name."""
        self.setToolTip(plain_tip(f"{tip} ({shortcut})" if shortcut else tip))
        self.setAccessibleName(tip)

    def _restyle(self) -> None:
        self.setIcon(theme().icon(self._icon_name))
