"""A message bar: one sentence, collapsible details, copy, and buttons for remedies.

Flow: a panel keeps one bar, over its lower edge or in its layout, and calls ``show_message``; nothing is modal.
Pressing a remedy clears the bar and calls the message's callback, so the bar need not know the message's origin.
"""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QGuiApplication, QShowEvent
from PySide6.QtWidgets import QFrame, QPlainTextEdit, QPushButton, QSizePolicy, QWidget

from core.spec.failures import displayed
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.message import Level, Message, Remedy
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE, set_role, theme

_ICONS = {"info": "ph.info-fill", "warning": "ph.warning-fill", "error": "ph.x-circle-fill"}
_COLORS = {"info": "accent_text", "warning": "warning", "error": "error"}


class MessageBar(QFrame):
    """Shows a message; hidden if there is none."""

    def __init__(self, parent: QWidget | None = None, info_seconds: float = 0.0) -> None:
        """``info_seconds``: how long a message that needs no reaction is shown; 0: until the user moves on."""
        super().__init__(parent)
        self._message: Message | None = None
        self._info_ms = round(1000 * info_seconds)
        self._info_timer = QTimer(self, singleShot=True)
        self._info_timer.timeout.connect(self._leave_unless_read)
        self._icon = PlainLabel(self)
        self._text = PlainLabel(self, wordWrap=True)
        self._text.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self._action = QPushButton(self)
        self._action.clicked.connect(self.press_remedy)
        self._second_action = QPushButton(self)
        self._second_action.clicked.connect(self.press_second_remedy)
        self._fold = QPushButton("Details", self)
        self._fold.setCheckable(True)
        set_role(self._fold, "flat")
        self._copy = IconButton("ph.copy", "Copy message and details", parent=self)
        self._close = IconButton("ph.x", "Dismiss message", parent=self)
        self._fold.toggled.connect(self._unfold)
        self._copy.clicked.connect(self._copy_all)
        self._close.clicked.connect(self.clear)
        self._icon.setContentsMargins(0, SPACE // 2, 0, 0)  # in line with the buttons' text
        buttons = (self._action, self._second_action, self._fold, self._copy, self._close)
        top = Qt.AlignmentFlag.AlignTop
        row = hbox((self._icon, 0, top), (self._text, 1), *((button, 0, top) for button in buttons))
        self._details = QPlainTextEdit(self)
        self._details.setReadOnly(True)
        self._details.setAccessibleName("Details")
        self._details.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self._details.setMaximumHeight(25 * SPACE)
        half = SPACE // 2
        vbox(row, self._details, into=self, spacing=half, margins=(SPACE + half, half, half, half))
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)  # lies over a panel
        theme().changed.connect(self._restyle)
        self.hide()

    def showEvent(self, event: QShowEvent) -> None:
        """Raise the bar above other widgets."""
        super().showEvent(event)
        self.raise_()

    def show_message(self, message: Message) -> None:
        """Show ``message`` instead of the previous one."""
        self._message = message
        self._text.setText(displayed(message.text))
        self._details.setPlainText(message.details)
        self._fold.setVisible(bool(message.details))
        self._fold.setChecked(False)
        self._unfold(False)
        for button, remedy in ((self._action, message.remedy), (self._second_action, message.second_remedy)):
            button.setText(remedy.label if remedy is not None else "")
            button.setVisible(remedy is not None)
        self.setAccessibleName(f"{message.level}: {self._text.text()}")
        self._restyle()
        self.show()
        if self._info_ms:
            self._info_timer.start(self._info_ms)

    def clear(self) -> None:
        """Remove the message and hide."""
        self._message = None
        self.hide()
        self._text.clear()
        self._details.clear()

    def leave(self) -> None:
        """Clear a message that needs no reaction, when the user moves on."""
        if self._message is not None and self._message.level == "info" and self._message.remedy is None:
            self.clear()

    def _leave_unless_read(self) -> None:
        if self.underMouse():
            self._info_timer.start(self._info_ms)
        else:
            self.leave()

    @property
    def text(self) -> str:
        return self._text.text()

    @property
    def message(self) -> Message | None:
        """The current message, or None."""
        return self._message

    def press_remedy(self) -> None:
        """Clear the bar and run the remedy."""
        self._press(self._message.remedy if self._message is not None else None)

    def press_second_remedy(self) -> None:
        """Clear the bar and run the other remedy."""
        self._press(self._message.second_remedy if self._message is not None else None)

    def _press(self, remedy: Remedy | None) -> None:
        if remedy is not None:
            self.clear()
            remedy.do()

    def _unfold(self, expanded: bool) -> None:
        self._details.setVisible(expanded)
        self._fold.setText("Hide details" if expanded else "Details")

    def _copy_all(self) -> None:
        parts = (self._text.text(), self._message.details if self._message is not None else "")
        QGuiApplication.clipboard().setText("\n\n".join(part for part in parts if part))
        self._copy.set_icon("ph.check")
        QTimer.singleShot(1500, self._copy, lambda: self._copy.set_icon("ph.copy"))

    def _restyle(self) -> None:
        colors = theme().colors
        level: Level = self._message.level if self._message is not None else "info"
        line = getattr(colors, _COLORS[level])
        fill = getattr(colors, f"{level}_fill")
        self.setStyleSheet(f"MessageBar {{ background: {fill}; border: 1px solid {line}; border-radius: 8px; }}")
        self._icon.setPixmap(theme().icon(_ICONS[level], _COLORS[level]).pixmap(20, 20))
