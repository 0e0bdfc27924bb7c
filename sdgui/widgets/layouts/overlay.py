"""Something that is shown over the lower edge of a panel, so that nothing moves under the pointer when it comes.

Flow: whoever makes the widget makes an ``Overlay`` of it; from then on ``show`` and ``hide`` are all that is needed.
"""

from __future__ import annotations

from typing import ClassVar
from weakref import WeakSet

from PySide6.QtCore import QEvent, QObject, QPoint, QRect
from PySide6.QtWidgets import QWidget
from shiboken6 import isValid

from sdgui.widgets.style.theme import SPACE

_WIDEST = 96 * SPACE
_PLACED = (QEvent.Type.Show, QEvent.Type.LayoutRequest)


class Overlay(QObject):
    """Keeps ``widget`` over its parent's lower edge, in the middle; above those that lie there already."""

    _shown: ClassVar[WeakSet[QWidget]] = WeakSet()

    def __init__(self, widget: QWidget, over: QWidget) -> None:
        """``over``: the parent of ``widget``."""
        super().__init__(widget)
        self._widget, self._over = widget, over
        widget.installEventFilter(self)
        self._over.installEventFilter(self)
        self._shown.add(widget)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow the parent's size and what the widget shows."""
        placed = watched is self._widget and event.type() in _PLACED
        resized = watched is self._over and event.type() == QEvent.Type.Resize
        if placed or (resized and not self._widget.isHidden()):
            self._place()
        return False

    def _place(self) -> None:
        widget, area = self._widget, self._over.rect()
        width = max(0, min(area.width() - 4 * SPACE, _WIDEST))
        height = widget.heightForWidth(width) if widget.hasHeightForWidth() else widget.sizeHint().height()
        at = QRect((area.width() - width) // 2, area.height() - height - 2 * SPACE, width, height)
        for other in sorted(self._others(), key=lambda rect: -rect.top()):
            if other.intersects(at):
                at.moveBottom(other.top() - SPACE // 2)
        if widget.geometry() != at:
            widget.setGeometry(at)
        widget.raise_()

    def _others(self) -> list[QRect]:
        """Where other overlays of the window lie, in the parent's coordinates."""
        window = self._over.window()
        there = (one for one in self._shown if one is not self._widget and isValid(one))  # not yet collected
        others = (one for one in there if one.isVisible() and one.window() is window)
        return [QRect(self._over.mapFromGlobal(one.mapToGlobal(QPoint(0, 0))), one.size()) for one in others]
