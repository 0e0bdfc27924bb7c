"""Combo boxes that elide long names, and boxes that the wheel and arrow keys do not change by accident."""

from __future__ import annotations

from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QKeyEvent, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QComboBox, QDoubleSpinBox, QSpinBox, QStyle, QStyleOptionComboBox, QStylePainter

_GAP = 4  # px between the icon and the text, as Qt's styles leave
_CLOSE = 1  # px that a box which is as wide as its text may lack by rounding


class ElidingComboBox(QComboBox):
    """What does not fit is shortened in the middle, since names agree at their beginning; Qt cuts it off."""

    def paintEvent(self, event: QPaintEvent) -> None:
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        hint = self.placeholderText() if self.currentIndex() < 0 and not self.isEditable() else ""
        option.currentText = hint or option.currentText
        option.currentText = self.shown_text(option)
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        if hint:  # a style sheet would draw it as a choice
            painter.setPen(option.palette.placeholderText().color())
            painter.drawText(self._field(option), int(Qt.AlignmentFlag.AlignVCenter), option.currentText)
        else:
            painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def shown_text(self, option: QStyleOptionComboBox) -> str:
        """The text of ``option``, elided to fit the box."""
        room = self._field(option).width() + _CLOSE
        if not option.currentIcon.isNull():
            room -= option.iconSize.width() + _GAP
        return option.fontMetrics.elidedText(option.currentText, Qt.TextElideMode.ElideMiddle, room)

    def _field(self, option: QStyleOptionComboBox) -> QRect:
        field = QStyle.SubControl.SC_ComboBoxEditField
        return self.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, field, self)


class StillComboBox(ElidingComboBox):
    """The wheel scrolls the page instead of changing the box; arrow keys work as usual."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()


class NoWheelComboBox(StillComboBox):
    """Its choice starts heavy work: arrow keys open the list."""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down) and not self.view().isVisible():
            self.showPopup()
        else:
            super().keyPressEvent(event)


class StillSpinBox(QSpinBox):
    """The wheel scrolls the page instead of changing the value."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()


class StillDoubleSpinBox(QDoubleSpinBox):
    """The wheel scrolls the page instead of changing the value."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()
