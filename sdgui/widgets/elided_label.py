"""A label that elides its text and shows all of it in the tooltip."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import Role


class ElidedLabel(PlainLabel):
    """A one-line label that uses the available width without requesting more. Elide paths in the middle."""

    def __init__(
        self,
        text: str = "",
        parent: QWidget | None = None,
        mode: Qt.TextElideMode = Qt.TextElideMode.ElideRight,
        role: Role = "",
    ) -> None:
        super().__init__(parent, role=role)
        self._mode = mode
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.setText(text)

    def setText(self, text: str) -> None:
        """Show ``text``, on one line."""
        super().setText(text)
        self.setToolTip(plain_tip(text))

    def minimumSizeHint(self) -> QSize:
        return QSize(self.fontMetrics().averageCharWidth() * 6, super().minimumSizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        self.drawFrame(painter)  # a style sheet's border
        room = self.contentsRect()
        line = self.text().replace("\n", " ")
        painter.drawText(
            room,
            int(self.alignment() | Qt.TextFlag.TextSingleLine),
            self.fontMetrics().elidedText(line, self._mode, room.width()),
        )
        painter.end()
