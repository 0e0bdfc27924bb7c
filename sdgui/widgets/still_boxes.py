"""Numbers that the wheel does not change in passing: it scrolls what is around their boxes."""

from __future__ import annotations

from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QDoubleSpinBox, QSpinBox


class StillSpinBox(QSpinBox):
    """Arrow keys change it, as they do any box."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()


class StillDoubleSpinBox(QDoubleSpinBox):
    """Arrow keys change it, as they do any box."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()
