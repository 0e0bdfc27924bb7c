"""Keys typed in a search line that move through the list below it."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QApplication, QListView

_MOVES = (Qt.Key.Key_Down, Qt.Key.Key_Up, Qt.Key.Key_PageDown, Qt.Key.Key_PageUp)


def handle_list_key(view: QListView, event: QEvent) -> bool:
    """Move to another selectable row of ``view`` if ``event`` is an arrow or page key; returns whether it is."""
    is_move = isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress and event.key() in _MOVES
    if is_move:
        QApplication.sendEvent(view, event)
    return is_move


def is_enter(event: QEvent) -> bool:
    """Whether ``event`` is a press of Enter."""
    enter = (Qt.Key.Key_Return, Qt.Key.Key_Enter)
    return isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress and event.key() in enter
