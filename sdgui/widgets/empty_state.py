"""The empty state of a panel: its purpose, and the next step."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from sdgui.widgets.layouts.boxes import STYLE_SPACING, hbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, set_role, theme


class EmptyState(QWidget):
    """Icon, title, a short text, and at most one button, which emits ``activated``."""

    activated = Signal()

    def __init__(
        self,
        icon: str,
        title: str,
        text: str,
        button: str = "",
        shortcut: str = "",
        parent: QWidget | None = None,
        *,
        primary: bool = True,
    ) -> None:
        """``icon`` is a qtawesome name (``ph.chart-line``); ``shortcut`` is shown on the button, but not installed.

        ``primary`` is False on a page that already has a primary button.
        """
        super().__init__(parent)
        self._icon_name = icon
        self._image = PlainLabel(self, alignment=Qt.AlignmentFlag.AlignCenter)
        self._title = PlainLabel(title, self, alignment=Qt.AlignmentFlag.AlignCenter, role="heading")
        self._text = PlainLabel(text, self, alignment=Qt.AlignmentFlag.AlignCenter, wordWrap=True, role="muted")
        self._text.setMaximumWidth(60 * SPACE)
        self._text.setMinimumWidth(30 * SPACE)
        self._button = QPushButton(self)
        self._button.clicked.connect(self._button.clearFocus)  # if it hid, Qt would focus the first button of the rail
        self._button.clicked.connect(self.activated)
        if primary:
            set_role(self._button, "primary")
        layout = QVBoxLayout(self)
        layout.setSpacing(SPACE)
        layout.addStretch(2)
        for widget in (self._image, self._title):
            layout.addWidget(widget, 0, Qt.AlignmentFlag.AlignHCenter)
        # an aligned label would get too little height for its width
        layout.addLayout(hbox(None, (self._text, 100), None, spacing=STYLE_SPACING))
        layout.addSpacing(SPACE)
        layout.addWidget(self._button, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addStretch(3)
        self.set_content(title, text, button, shortcut)
        theme().changed.connect(self._restyle)
        self._restyle()

    def set_content(self, title: str, text: str, button: str = "", shortcut: str = "") -> None:
        """Change the texts; an empty ``button`` hides the button."""
        self._title.setText(title)
        self._text.setText(text)
        self._button.setText(f"{button}   {shortcut}" if shortcut else button)
        self._button.setVisible(bool(button))
        self._button.setToolTip(plain_tip(shortcut))
        self.setAccessibleName(title)
        self.setAccessibleDescription(text)

    def add_widget(self, widget: QWidget) -> None:
        """Show ``widget`` below the button."""
        layout = self.layout()
        assert isinstance(layout, QVBoxLayout)
        layout.insertWidget(layout.count() - 1, widget, 0, Qt.AlignmentFlag.AlignHCenter)

    def below(self) -> QPoint:
        """The screen position below the button, for a menu."""
        return self._button.mapToGlobal(self._button.rect().bottomLeft())

    def _restyle(self) -> None:
        self._image.setPixmap(theme().icon(self._icon_name, "strong_border").pixmap(6 * SPACE, 6 * SPACE))
