"""A frame over the window, below the button that opens it; the layout does not move.

Flow: a button -> ``toggle`` -> the frame; Escape, a press elsewhere, or the button again closes it. It is a child
widget, not a separate window, so dialogs, combo boxes and drops work as in a panel.
"""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPoint, QRect, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QAbstractButton, QApplication, QFrame, QWidget

from sdgui.widgets.style.theme import SPACE, set_role


class Popover(QFrame):
    """A popover: fill its layout, then call ``toggle`` or ``open``. ``anchor``: the button below which it opens."""

    def __init__(self, name: str, anchor: QAbstractButton, parent: QWidget) -> None:
        """``name`` is for screen readers; ``parent`` styles it until it is first opened."""
        super().__init__(parent)
        self._anchor = anchor
        self._first: QWidget | None = None  # widget that gets the focus
        set_role(self, "card")
        self.setAccessibleName(name)
        self.setAutoFillBackground(True)
        self.hide()

    def set_first(self, widget: QWidget) -> None:
        """Set the widget that gets the focus when the popover opens."""
        self._first = widget

    def toggle(self) -> None:
        """Open or close the popover."""
        if self.isVisible():
            self.close_popover()
        else:
            self.open()

    def open(self) -> None:
        """Show the popover below its button, inside the window."""
        window = self._anchor.window()
        if self.parentWidget() is not window:
            self.setParent(window)
        self._place()
        self.show()
        self.raise_()
        if (app := QApplication.instance()) is not None:
            app.installEventFilter(self)
        if self._first is not None:
            self._first.setFocus(Qt.FocusReason.PopupFocusReason)

    def close_popover(self) -> None:
        """Hide the popover and return the focus to the button."""
        if self.isVisible():
            inside = self.isAncestorOf(QApplication.focusWidget() or self._anchor)
            self.hide()
            if inside:
                self._anchor.setFocus(Qt.FocusReason.PopupFocusReason)

    def hideEvent(self, event: QEvent) -> None:
        """Also called when its panel is left."""
        if (app := QApplication.instance()) is not None:
            app.removeEventFilter(self)

    def _place(self) -> None:
        window = self._anchor.window()
        self.ensurePolished()
        size = self.sizeHint().expandedTo(self.minimumSize()).boundedTo(window.size())
        layout = self.layout()
        if layout is not None and layout.hasHeightForWidth():
            layout.activate()
            size.setHeight(layout.totalHeightForWidth(size.width()))
        under = self._anchor.mapTo(window, QPoint(0, self._anchor.height() + SPACE // 2))
        left = min(under.x(), window.width() - size.width() - SPACE)
        top = min(under.y(), window.height() - size.height() - SPACE)
        self.setGeometry(QRect(QPoint(max(0, left), max(0, top)), size))

    def fit(self) -> None:
        """Fit the popover to the changed size of its content."""
        if self.isVisible():
            self._place()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Close the popover on Escape, or on a click outside."""
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            inside = isinstance(watched, QWidget) and (watched is self or self.isAncestorOf(watched))
            if event.key() == Qt.Key.Key_Escape and inside:
                self.close_popover()
                return True
        elif event.type() == QEvent.Type.MouseButtonPress and isinstance(event, QMouseEvent):
            if isinstance(watched, QWidget) and watched.window() is self.window():
                spot = event.globalPosition().toPoint()
                if not self.rect().contains(self.mapFromGlobal(spot)):
                    self.close_popover()
                    on_anchor = self._anchor.rect().contains(self._anchor.mapFromGlobal(spot))
                    return on_anchor and watched is self._anchor  # the button would open it again
        elif event.type() == QEvent.Type.Resize and watched is self.window():
            self._place()
        elif event.type() == QEvent.Type.Hide and watched is self._anchor:  # another panel is shown
            self.hide()
        return super().eventFilter(watched, event)
