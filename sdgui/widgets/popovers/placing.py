"""Where a popup that is a window of its own opens: where it is asked for, as far as it stays over its window."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRect
from PySide6.QtWidgets import QWidget

from sdgui.widgets.style.theme import SPACE


def move_within(popup: QWidget, at: QPoint) -> None:
    """Move ``popup``, which has its size, to the screen's point ``at``, or left and up of it so that none is cut."""
    parent = popup.parentWidget()
    if parent is None:
        popup.move(at)
        return
    window = parent.window()
    room = QRect(window.mapToGlobal(QPoint(0, 0)), window.size()).adjusted(SPACE, SPACE, -SPACE, -SPACE)
    left = max(room.left(), min(at.x(), room.right() + 1 - popup.width()))
    top = max(room.top(), min(at.y(), room.bottom() + 1 - popup.height()))
    popup.move(left, top)
