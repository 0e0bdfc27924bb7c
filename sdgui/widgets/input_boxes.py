"""Combo boxes that elide long names, and boxes that the wheel and arrow keys do not change by accident."""

from __future__ import annotations

from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QKeyEvent, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QComboBox, QDoubleSpinBox, QSpinBox, QStyle, QStyleOptionComboBox, QStylePainter

_GAP = 4  # px between icon and text, as in Qt's styles
_ROUNDING = 1  # px by which a box as wide as its text may be too narrow


class ElidingComboBox(QComboBox):
    """A combo box that elides long names in the middle, since many begin alike; Qt cuts off the end."""

    def paintEvent(self, event: QPaintEvent) -> None:
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        hint = self.placeholderText() if self.currentIndex() < 0 and not self.isEditable() else ""
        option.currentText = hint or option.currentText
        option.currentText = self.shown_text(option)
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        if hint:  # a style sheet would draw the hint like a choice
            painter.setPen(option.palette.placeholderText().color())
            painter.drawText(self._field(option), int(Qt.AlignmentFlag.AlignVCenter), option.currentText)
        else:
            painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def shown_text(self, option: QStyleOptionComboBox) -> str:
        """The text of ``option``, elided to fit the box."""
        room = self._field(option).width() + _ROUNDING
        if not option.currentIcon.isNull():
            room -= option.iconSize.width() + _GAP
        return option.fontMetrics.elidedText(option.currentText, Qt.TextElideMode.ElideMiddle, room)

    def _field(self, option: QStyleOptionComboBox) -> QRect:
        field = QStyle.SubControl.SC_ComboBoxEditField
        return self.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, field, self)


class NoWheelComboBox(ElidingComboBox):
    """A combo box in which the wheel scrolls the page instead of changing the choice; arrow keys work."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()


class ListOnlyComboBox(NoWheelComboBox):
    """A combo box whose choice starts heavy work: arrow keys open the list."""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down) and not self.view().isVisible():
            self.showPopup()
        else:
            super().keyPressEvent(event)


class NoWheelSpinBox(QSpinBox):
    """A spin box in which the wheel scrolls the page instead of changing the value."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()


class NoWheelDoubleSpinBox(QDoubleSpinBox):
    """A spin box in which the wheel scrolls the page instead of changing the value."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()
