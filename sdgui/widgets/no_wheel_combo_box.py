"""Combo boxes that shorten long names, and one that neither the wheel nor an arrow key changes by accident."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox, QStylePainter

_GAP = 4  # px between the icon and the text, as Qt's styles leave


class ElidingComboBox(QComboBox):
    """What does not fit is shortened in the middle, since names agree at their beginning; Qt cuts it off."""

    def paintEvent(self, event: QPaintEvent) -> None:
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        if self.currentIndex() < 0 and self.placeholderText():
            option.palette.setBrush(option.palette.ColorRole.ButtonText, option.palette.placeholderText())
            option.currentText = self.placeholderText()
        option.currentText = self.shown_text(option)
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def shown_text(self, option: QStyleOptionComboBox) -> str:
        """The text of ``option`` as far as it fits into the box."""
        field = QStyle.SubControl.SC_ComboBoxEditField
        room = self.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, field, self).width() - 2
        if not option.currentIcon.isNull():
            room -= option.iconSize.width() + _GAP
        return option.fontMetrics.elidedText(option.currentText, Qt.TextElideMode.ElideMiddle, room)


class NoWheelComboBox(ElidingComboBox):
    """Its choice starts heavy work: arrow keys open the list; the wheel scrolls what is around the box."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down) and not self.view().isVisible():
            self.showPopup()
        else:
            super().keyPressEvent(event)
