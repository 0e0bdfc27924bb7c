"""Which keys the parts of a window take, and which of those parts may be seen at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence, QShortcut
from PySide6.QtWidgets import QAbstractButton, QGroupBox, QLabel, QMenu, QMenuBar, QStackedWidget, QTabBar, QWidget

_LOCAL = (Qt.ShortcutContext.WidgetShortcut, Qt.ShortcutContext.WidgetWithChildrenShortcut)


@dataclass(frozen=True)
class Taken:
    """A key, the widget that takes it, and where the focus must be for that (None: anywhere in the window)."""

    key: str
    widget: QWidget
    scope: QWidget | None
    by: str


def collisions(window: QWidget) -> list[str]:
    """Pairs that take the same key and may be seen at once, in words."""
    by_key: dict[str, list[Taken]] = {}
    for one in taken(window):
        by_key.setdefault(one.key, []).append(one)
    return sorted(
        f"{key}: {first.by} and {second.by}"
        for key, those in by_key.items()
        for first, second in combinations(those, 2)
        if _meet(first, second)
    )


def taken(window: QWidget) -> Iterator[Taken]:
    """Everything in ``window`` that takes a key; what is in windows and menus of its own does not count."""
    for action in window.findChildren(QAction):
        yield from _of_action(action, window)
    for shortcut in window.findChildren(QShortcut):
        over = shortcut.parent()
        if isinstance(over, QWidget) and over.window() is window and shortcut.isEnabled():
            scope = over if shortcut.context() in _LOCAL else None
            yield Taken(shortcut.key().toString(), over, scope, f"a shortcut of {type(over).__name__}")
    for widget in window.findChildren(QWidget):
        if widget.window() is window:
            yield from _of_widget(widget)


def _of_action(action: QAction, window: QWidget) -> Iterator[Taken]:
    owners = [one for one in action.associatedObjects() if isinstance(one, QWidget) and not isinstance(one, QMenu)]
    for owner in owners:
        if owner.window() is window and not isinstance(owner, QAbstractButton):
            for sequence in action.shortcuts():
                scope = owner if action.shortcutContext() in _LOCAL else None
                yield Taken(sequence.toString(), owner, scope, f"the action {action.text()!r}")


def _of_widget(widget: QWidget) -> Iterator[Taken]:
    texts: list[str] = []
    match widget:
        case QAbstractButton():
            if not widget.shortcut().isEmpty():
                yield Taken(widget.shortcut().toString(), widget, None, f"the button {widget.text()!r}")
            if widget.shortcut() != QKeySequence.mnemonic(widget.text()):
                texts = [widget.text()]  # a letter that is underlined, although the key is another
        case QLabel() if widget.buddy() is not None:
            texts = [widget.text()]
        case QGroupBox():
            texts = [widget.title()]
        case QTabBar():
            texts = [widget.tabText(number) for number in range(widget.count())]
        case QMenuBar():
            texts = [action.text() for action in widget.actions()]
    for text in texts:
        if not (key := QKeySequence.mnemonic(text)).isEmpty():
            yield Taken(key.toString(), widget, None, f"{type(widget).__name__} {text!r}")


def _meet(first: Taken, second: Taken) -> bool:
    """Whether both may be seen, and take the key, at once: no stack of pages keeps them apart."""
    if first.scope is not None and second.scope is not None:
        one, two = first.scope, second.scope
        if one is not two and not one.isAncestorOf(two) and not two.isAncestorOf(one):
            return False
    pages = dict(_pages(first.widget))
    return all(pages.get(stack, page) == page for stack, page in _pages(second.widget))


def _pages(widget: QWidget) -> Iterator[tuple[int, int]]:
    """Each stack that ``widget`` is in, with the number of its page."""
    child, parent = widget, widget.parentWidget()
    while parent is not None:
        if isinstance(parent, QStackedWidget) and parent.indexOf(child) >= 0:
            yield id(parent), parent.indexOf(child)
        child, parent = parent, parent.parentWidget()
