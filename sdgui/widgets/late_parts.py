"""Parts of a panel that are created after the panel is on screen, each in a separate turn of the event loop.

Flow: expensive parts are cached properties of a widget -> it is shown -> ``make_in_turns`` evaluates each. Code
that needs a part sooner evaluates its property.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QStackedWidget, QTabWidget, QWidget

_PAUSE_MS = 10  # pause before each part, in which painting and key events are handled


def is_made(owner: object, name: str) -> bool:
    """Whether the cached property ``name`` of ``owner`` has been evaluated."""
    return name in vars(owner)


def make_in_turns(owner: QWidget, names: Sequence[str]) -> None:
    """Evaluate the cached properties ``names`` of ``owner`` one by one, unless they have been evaluated."""
    timer = _PartTimer(owner, names)
    QTimer.singleShot(_PAUSE_MS, timer, timer.start)  # after the owner has been painted for the first time


class _PartTimer(QTimer):
    """Its slot is a method, which a connection does not keep alive.

    A function that refers to ``owner`` may be its last reference. Freed with the timer, it would delete the owner and
    with it the timer again.
    """

    def __init__(self, owner: QWidget, names: Sequence[str]) -> None:
        super().__init__(owner, interval=_PAUSE_MS)
        self._names = names
        self.timeout.connect(self._make_next)

    def _make_next(self) -> None:
        owner = self.parent()
        assert owner is not None
        for name in self._names:
            if not is_made(owner, name):
                getattr(owner, name)
                return
        self.stop()
        self.deleteLater()


def page_parent(tabs: QTabWidget) -> QWidget:
    """The parent of the pages of ``tabs``. A page created with this parent is not styled again when it is added."""
    return tabs.findChild(QStackedWidget, options=Qt.FindChildOption.FindDirectChildrenOnly) or tabs


def replace_page(tabs: QTabWidget, number: int, page: QWidget) -> None:
    """Replace the placeholder of ``page``; text, tooltip and current tab are kept."""
    empty, current, quiet = tabs.widget(number), tabs.currentIndex(), tabs.blockSignals(True)
    tabs.insertTab(number, page, tabs.tabText(number))
    tabs.setTabToolTip(number, tabs.tabToolTip(number + 1))
    tabs.setTabEnabled(number, tabs.isTabEnabled(number + 1))
    if current == number:
        tabs.setCurrentIndex(number)
    tabs.removeTab(number + 1)
    tabs.blockSignals(quiet)
    if empty is not None:
        empty.deleteLater()
