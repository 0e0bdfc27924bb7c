"""The page of the form: Tab follows the visual order of the fields, not the order of their creation."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QScrollArea, QWidget


class FormPage(QWidget):
    """Contains the sections. Qt's Tab order is the order of creation, but rows are created late."""

    def focusNextPrevChild(self, next_: bool) -> bool:
        """Move the focus to the next or previous control of the page, or out of the page at its ends."""
        focused = QApplication.focusWidget()
        stops = self._stops()
        if focused is None or focused not in stops:
            return super().focusNextPrevChild(next_)
        position = stops.index(focused) + (1 if next_ else -1)
        target = stops[position] if 0 <= position < len(stops) else self._beyond(focused, next_)
        if target is None:
            return super().focusNextPrevChild(next_)
        target.setFocus(Qt.FocusReason.TabFocusReason if next_ else Qt.FocusReason.BacktabFocusReason)
        viewport = self.parentWidget()
        area = viewport.parentWidget() if viewport is not None else None
        if isinstance(area, QScrollArea) and self.isAncestorOf(target):
            area.ensureWidgetVisible(target)
        return True

    def _stops(self) -> list[QWidget]:
        """The Tab stops of the page, from top to bottom and left to right."""
        widgets = [each for each in self.findChildren(QWidget) if _stops_at(each)]

        def position(widget: QWidget) -> tuple[int, int]:
            middle = widget.mapTo(self, QPoint(0, widget.height() // 2))
            return middle.y() // 4, middle.x()  # controls of a row have slightly different heights

        return sorted(widgets, key=position)

    def _beyond(self, focused: QWidget, next_: bool) -> QWidget | None:
        widget: QWidget | None = focused
        while widget is not None:
            widget = widget.nextInFocusChain() if next_ else widget.previousInFocusChain()
            if widget is None or widget is focused:
                break
            if not self.isAncestorOf(widget) and widget is not self and _stops_at(widget):
                return widget
        return None


def _stops_at(widget: QWidget) -> bool:
    tab = bool(widget.focusPolicy() & Qt.FocusPolicy.TabFocus) and widget.focusProxy() is None
    return tab and widget.isVisible() and widget.isEnabled()
