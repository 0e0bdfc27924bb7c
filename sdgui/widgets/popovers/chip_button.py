"""A rounded button that shows the current choice, elided in the middle; it opens a popover."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QPushButton, QSizePolicy, QStyle, QStyleOptionButton, QStylePainter, QWidget

from sdgui.widgets.style.theme import SPACE, set_role, theme

_ICON, _WIDEST, _NARROWEST = 16, 52 * SPACE, 14 * SPACE  # px


class ChipButton(QPushButton):
    """A chip button. Set the choice with ``setText``; call ``set_muted`` if there is none."""

    def __init__(self, icon: str, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._icon_name, self._muted = icon, False
        self.setAccessibleName(name)
        set_role(self, "chip")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMaximumWidth(_WIDEST)
        theme().changed.connect(self.update)

    def set_muted(self, muted: bool) -> None:
        """Draw the text as a hint, not as a choice."""
        self._muted = muted
        self.update()

    def sizeHint(self) -> QSize:
        wide = self.fontMetrics().horizontalAdvance(self.text()) + 2 * _ICON + 4 * SPACE
        return QSize(min(max(wide, _NARROWEST), _WIDEST), super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        return QSize(_NARROWEST, super().minimumSizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        option = QStyleOptionButton()
        self.initStyleOption(option)
        option.text = ""
        painter = QStylePainter(self)
        painter.drawControl(QStyle.ControlElement.CE_PushButton, option)
        room = self.rect().adjusted(SPACE, 0, -SPACE, 0)
        top = (self.height() - _ICON) // 2
        _draw_icon(painter, self._icon_name, room.left(), top)
        _draw_icon(painter, "ph.caret-down", room.right() - _ICON + 2, top)
        words = room.adjusted(_ICON + SPACE // 2, 0, -_ICON - SPACE // 2, 0)
        text = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideMiddle, words.width())
        painter.setPen(theme().color("muted" if self._muted else "text"))
        painter.drawText(words, int(Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine), text)


def _draw_icon(painter: QPainter, name: str, left: int, top: int) -> None:
    theme().icon(name, "muted").paint(painter, left, top, _ICON, _ICON)
