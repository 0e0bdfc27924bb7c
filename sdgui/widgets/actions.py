"""Every action of the window, in one list: the menus, the buttons, Ctrl+K and the list of shortcuts all read it.

Flow: the main window registers what can be done; an action has a text, a shortcut, a sentence that explains it and
a slot, so that nothing can be reached by the mouse alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QPushButton, QWidget


class Actions:
    """The window's actions by name, in the order in which they were added."""

    def __init__(self, window: QWidget) -> None:
        self._window = window
        self._actions: dict[str, QAction] = {}
        self._groups: dict[str, str] = {}

    def add(
        self,
        name: str,
        group: str,
        text: str,
        shortcuts: str | list[str],
        tip: str,
        slot: Callable[[], object],
        *,
        scope: QWidget | None = None,
    ) -> QAction:
        """A new action ``name``; ``scope`` limits its shortcut to that widget and its children (a bare F2, Delete)."""
        keys = [shortcuts] if isinstance(shortcuts, str) else shortcuts
        action = QAction(text, self._window)
        action.setObjectName(name)
        action.setShortcuts([QKeySequence(key) for key in keys])
        action.setToolTip(tooltip(tip, action))
        action.setStatusTip(tip)
        action.setWhatsThis(tip)
        action.triggered.connect(lambda _checked=False: slot())
        if scope is not None:
            action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            scope.addAction(action)
        else:
            self._window.addAction(action)
        self._actions[name] = action
        self._groups[name] = group
        return action

    def __getitem__(self, name: str) -> QAction:
        return self._actions[name]

    def __iter__(self) -> Iterator[QAction]:
        return iter(self._actions.values())

    def group(self, action: QAction) -> str:
        """The heading under which ``action`` stands in menus and lists."""
        return self._groups[action.objectName()]

    def groups(self) -> dict[str, list[QAction]]:
        """Heading -> its actions."""
        found: dict[str, list[QAction]] = {}
        for action in self:
            found.setdefault(self.group(action), []).append(action)
        return found


def tooltip(tip: str, action: QAction) -> str:
    """``tip`` with the shortcut behind it, as the platform writes keys."""
    keys = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
    return f"{tip} ({keys})" if keys else tip


class ActionButton(QPushButton):
    """A button that does ``action``; text, icon, tooltip and whether it can be pressed are the action's."""

    def __init__(self, action: QAction, parent: QWidget) -> None:
        super().__init__(parent)
        self._action = action
        self.setObjectName(f"do_{action.objectName()}")
        self.clicked.connect(action.trigger)
        action.changed.connect(self._follow)
        self._follow()

    def _follow(self) -> None:
        text = self._action.text().replace("&", "")
        self.setText(text)
        self.setAccessibleName(text)
        self.setAccessibleDescription(self._action.statusTip())
        self.setToolTip(self._action.toolTip())
        self.setIcon(self._action.icon())
        self.setEnabled(self._action.isEnabled())
