"""Boxes that the wheel does not change in passing: it scrolls what is around them."""

from __future__ import annotations

from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QDoubleSpinBox, QSpinBox

from sdgui.widgets.no_wheel_combo_box import ElidingComboBox


class StillComboBox(ElidingComboBox):
    """Arrow keys change it, as they do any box."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()


class StillSpinBox(QSpinBox):
    """Arrow keys change it, as they do any box."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()


class StillDoubleSpinBox(QDoubleSpinBox):
    """Arrow keys change it, as they do any box."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()
