"""Places popups within their window, and brings dialogs to the front."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRect
from PySide6.QtWidgets import QWidget

from sdgui.widgets.style.theme import SPACE


def bring_to_front(dialog: QWidget) -> None:
    """Show ``dialog``, above the other windows and with the focus."""
    dialog.show()
    dialog.raise_()
    dialog.activateWindow()


def move_within(popup: QWidget, point: QPoint) -> None:
    """Move ``popup`` (already sized) to ``point`` on the screen, shifted left or up so that nothing is cut off."""
    parent = popup.parentWidget()
    if parent is None:
        popup.move(point)
        return
    window = parent.window()
    room = QRect(window.mapToGlobal(QPoint(0, 0)), window.size()).adjusted(SPACE, SPACE, -SPACE, -SPACE)
    left = max(room.left(), min(point.x(), room.right() + 1 - popup.width()))
    top = max(room.top(), min(point.y(), room.bottom() + 1 - popup.height()))
    popup.move(left, top)
