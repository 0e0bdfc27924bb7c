"""The tour: a card about each button of the rail in turn. It does not block, and starts by itself only once.

Flow: the demo's first start -> ``offer_tour``; Help > Tour -> ``start_tour``. Enter: next; Escape: end.
"""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPoint, Qt
from PySide6.QtGui import QKeyEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QFrame, QPushButton, QToolButton, QWidget

from sdgui.actions.window import Window
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE, set_role, theme

SHOWN_SETTING = "tour/shown"
STEPS = (  # action of a button in the rail, title, text
    ("search", "Search", "Describe an image: the included model searches the demo images."),
    ("caption", "Caption", "Drop your images here, or try a demo image. Edit and export the captions."),
    ("define", "Define", "An experiment on the demo data is ready. Launch trains it in a few minutes, without a GPU."),
    ("runs", "Runs", "Curves and samples appear here during training. Closing the window does not stop a run."),
    ("palette", "Go to", "Find every action, experiment and run by its name. This tour is in the Help menu."),
)
_WIDTH = 36 * SPACE


def start_tour(window: Window, takes_focus: bool = True) -> None:
    """Show the first step, even if the tour is already open."""
    parent = window.dialogs.window
    for tour in parent.findChildren(Tour):
        tour.end()
    Tour(parent).show_step(0, takes_focus)


def offer_tour(window: Window) -> None:
    """Start the tour unless it was shown before; the focus does not change, since the user may be typing."""
    settings = window.services.settings
    if settings.value(SHOWN_SETTING) not in (True, "true"):
        settings.setValue(SHOWN_SETTING, True)
        start_tour(window, takes_focus=False)


class Tour(QFrame):
    """The card of the tour. ``step``: index of the current step."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.step = 0
        self._window, self._mark = window, _Mark(window)
        self._buttons = {button.defaultAction().objectName(): button for button in _rail_buttons(window)}
        set_role(self, "card")
        self.setAutoFillBackground(True)
        self.setFixedWidth(_WIDTH)
        self._title = PlainLabel(self, role="title")
        self._text = PlainLabel(self, wordWrap=True)
        self._number = PlainLabel(self, role="small")
        self._skip = QPushButton("Skip", self)
        self._skip.setToolTip("End the tour (Esc)")
        self._next = QPushButton(self)
        self._next.setAutoDefault(True)  # Enter presses it
        set_role(self._next, "primary")
        self._skip.clicked.connect(self.end)
        self._next.clicked.connect(lambda: self.show_step(self.step + 1))
        row = hbox(self._number, None, self._skip, self._next)
        self._column = vbox(self._title, self._text, row, into=self, margins=2 * SPACE)
        window.installEventFilter(self)

    def show_step(self, step: int, takes_focus: bool = True) -> None:
        """Show a step; after the last one, end the tour."""
        if step >= len(STEPS):
            self.end()
            return
        self.step = step
        _, title, text = STEPS[step]
        is_last = step == len(STEPS) - 1
        self._title.setText(title)
        self._text.setText(text)
        self._number.setText(f"{step + 1} of {len(STEPS)}")
        self._skip.setVisible(not is_last)
        self._next.setText("Done" if is_last else "Next")
        self.setAccessibleName(f"Tour, {step + 1} of {len(STEPS)}: {title}")
        self._next.setAccessibleDescription(f"{title}: {text}")
        self._place()
        for part in (self._mark, self):
            part.show()
            part.raise_()
        if takes_focus:
            self._next.setFocus(Qt.FocusReason.OtherFocusReason)

    def end(self) -> None:
        """Close the card and return the focus to the window."""
        self._window.removeEventFilter(self)
        focused = self._window.focusWidget()
        if focused is not None and self.isAncestorOf(focused):
            self._window.setFocus()  # Qt would focus the first button of the rail
        self._mark.deleteLater()
        self._mark.hide()
        self.hide()
        self.deleteLater()

    def _place(self) -> None:
        """Place the card at the bottom, next to the rail, where it covers no results and its buttons stay in place."""
        button = self._buttons[STEPS[self.step][0]]
        corner = button.mapTo(self._window, QPoint(0, 0))
        self._mark.setGeometry(corner.x(), corner.y(), button.width(), button.height())
        self.ensurePolished()
        self.resize(_WIDTH, self._column.totalHeightForWidth(_WIDTH))
        last = self._buttons[STEPS[-1][0]]
        bottom = last.mapTo(self._window, last.rect().bottomLeft()).y() + 1
        self.move(corner.x() + button.width() + 2 * SPACE, max(SPACE, bottom - self.height()))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.Resize, QEvent.Type.LayoutRequest) and self.isVisible():
            self._place()
        return False

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.end()
        else:
            super().keyPressEvent(event)


class _Mark(QWidget):
    """An outline around the button of the current step; mouse events pass through."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme().color("accent"), 2))
        painter.drawRoundedRect(self.rect().adjusted(1, 1, -1, -1), 6, 6)
        painter.end()


def _rail_buttons(window: QWidget) -> list[QToolButton]:
    """The buttons of the rail."""
    return [button for button in window.findChildren(QToolButton) if button.property("role") == "rail"]
