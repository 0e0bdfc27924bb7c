"""Messages and progress over the lower edge of a panel: they come and go, and nothing moves for them."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QObject, QRect
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from sdgui.widgets.style.theme import SPACE, set_role

_WIDEST = 90 * SPACE
_EDGE = 5 * SPACE  # px above the lower edge, where a gallery has its count


class Toasts(QFrame):
    """Holds ``parts`` (message bars, progress strips); shown while one of them is."""

    def __init__(self, host: QWidget, parts: Sequence[QWidget]) -> None:
        super().__init__(host)
        self._host, self._parts = host, parts
        set_role(self, "card")
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE // 2, SPACE // 2, SPACE // 2, SPACE // 2)
        column.setSpacing(SPACE // 2)
        for part in parts:
            column.addWidget(part)
            part.installEventFilter(self)
        host.installEventFilter(self)
        self.hide()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """The host has another size, or a part came, went or grew."""
        kind = event.type()
        if watched is self._host:
            if kind == QEvent.Type.Resize and not self.isHidden():
                self._place()
        elif kind in (QEvent.Type.ShowToParent, QEvent.Type.HideToParent, QEvent.Type.LayoutRequest):
            self._place()
        return super().eventFilter(watched, event)

    def _place(self) -> None:
        shown = any(not part.isHidden() for part in self._parts)
        self.setVisible(shown)
        layout = self.layout()
        if not shown or layout is None:
            return
        width = min(_WIDEST, self._host.width() - 4 * SPACE)
        layout.activate()
        height = layout.totalHeightForWidth(width) if layout.hasHeightForWidth() else layout.totalSizeHint().height()
        left = (self._host.width() - width) // 2
        self.setGeometry(QRect(left, self._host.height() - height - _EDGE, width, height))
        self.raise_()
