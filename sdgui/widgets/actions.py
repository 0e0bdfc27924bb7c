"""All actions of the window in one list, used by menus, context menus, buttons, Ctrl+K and the shortcut list.

Flow: a package declares its actions as a table of ``Action`` records; ``Actions.register`` makes a ``QAction`` of each;
``Actions.update`` enables the available actions. An action is defined only by its record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Generic, TypeVar

from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QAction, QIcon, QKeySequence
from PySide6.QtWidgets import QMenu, QPushButton, QWidget

from sdgui.widgets.style.theme import theme

C = TypeVar("C")  # the target of an action: the window or a panel


class Section(IntEnum):
    """The sections of a context menu, from top to bottom, with separators between them."""

    OPEN = 0
    CONTROL = 1
    EDIT = 2
    REMOVE = 3


@dataclass(frozen=True)
class MenuItem:
    """An action's position in the context menu ``menu``; sections are sorted by ``order``, then by registration."""

    menu: str
    section: Section
    order: int = 0


@dataclass(frozen=True)
class Action(Generic[C]):
    """An action: title, location, condition and effect.

    ``group`` is its heading in the shortcut list and Ctrl+K, and its menu in the menu bar, if there is one.
    """

    id: str
    group: str
    title: str  # with "&" before the mnemonic
    tip: str  # one sentence that describes it
    run: Callable[[C], object]
    shortcuts: str | tuple[str, ...] = ()
    enabled: Callable[[C], bool] | None = None  # None: always
    refusal: Callable[[C], str] | None = None  # why it is disabled, shown instead of ``tip``; "" if it is enabled
    current_title: Callable[[C], str] | None = None  # for titles that depend on the state
    icon: str = ""
    icon_color: str = "text"  # a role of the theme
    menus: tuple[MenuItem, ...] = ()
    scope: Callable[[C], QWidget] | None = None  # the widget in which its shortcuts work (such as F2, Delete)


@dataclass(frozen=True)
class _Registered:
    record: Action[Any]
    context: Any
    action: QAction
    scope: QWidget | None  # the scope of its shortcuts; None: the whole window


class Actions(QObject):
    """The window's actions by id, in the order in which they were registered."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window = window
        self._registered: dict[str, _Registered] = {}
        theme().changed.connect(self._restyle)

    def register(self, records: Iterable[Action[C]], context: C, scope: QWidget | None = None) -> None:
        """Make an action from each record; it acts on ``context``.

        Shortcuts work in the record's scope, otherwise in ``scope``, otherwise in the whole window.
        """
        for record in records:
            self._register(record, context, record.scope(context) if record.scope is not None else scope)
        self.update(context)

    def _register(self, record: Action[C], context: C, scope: QWidget | None) -> None:
        keys = [record.shortcuts] if isinstance(record.shortcuts, str) else record.shortcuts
        action = QAction(record.title, self._window)
        action.setObjectName(record.id)
        action.setShortcuts([QKeySequence(key) for key in keys])
        action.setAutoRepeat(False)  # a held key would launch twice
        _explain(action, record.tip)
        action.triggered.connect(lambda _checked=False: record.run(context))
        if scope is not None:
            action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        (scope or self._window).addAction(action)
        if record.icon:
            action.setIcon(theme().icon(record.icon, record.icon_color))
        self._registered[record.id] = _Registered(record, context, action, scope)

    def update(self, context: object) -> None:
        """Update titles and enabled state of the actions on ``context``."""
        for entry in self._registered.values():
            if entry.context is not context:
                continue
            if entry.record.current_title is not None:
                entry.action.setText(entry.record.current_title(context))
            refusal = entry.record.refusal(context) if entry.record.refusal is not None else ""
            if entry.record.refusal is not None:
                _explain(entry.action, refusal or entry.record.tip)
            if entry.record.enabled is not None:
                entry.action.setEnabled(not refusal and entry.record.enabled(context))

    def _restyle(self) -> None:
        for entry in self._registered.values():
            if entry.record.icon:
                entry.action.setIcon(theme().icon(entry.record.icon, entry.record.icon_color))

    def plain_icon(self, action: QAction) -> QIcon:
        """The icon of ``action`` in the colour of text, for a list; a button may have another colour."""
        name = self._registered[action.objectName()].record.icon
        return theme().icon(name) if name else QIcon()

    def __getitem__(self, action_id: str) -> QAction:
        return self._registered[action_id].action

    def __iter__(self) -> Iterator[QAction]:
        return iter([entry.action for entry in self._registered.values()])

    def available(self) -> list[QAction]:
        """The enabled actions, without those of hidden panels."""
        visible = (entry for entry in self._registered.values() if entry.scope is None or entry.scope.isVisible())
        return [entry.action for entry in visible if entry.action.isEnabled()]

    def belongs_to_panel(self, action: QAction) -> bool:
        """Whether a panel has registered the action for itself."""
        entry = self._registered[action.objectName()]
        return entry.scope is not None and entry.record.scope is None

    def group(self, action: QAction) -> str:
        """The heading under which ``action`` is listed."""
        return self._registered[action.objectName()].record.group

    def groups(self) -> dict[str, list[QAction]]:
        """The actions by heading."""
        groups: dict[str, list[QAction]] = {}
        for entry in self._registered.values():
            groups.setdefault(entry.record.group, []).append(entry.action)
        return groups

    def fill_menu(self, menu: QMenu, *names: str) -> None:
        """Add the actions of the context menus ``names`` to ``menu``, section by section."""
        menu.setToolTipsVisible(True)  # a disabled action shows the reason
        items = [(item, entry.action) for entry in self._registered.values() for item in entry.record.menus]
        sections: dict[Section, list[tuple[int, QAction]]] = {}
        for item, action in items:
            if item.menu in names:
                sections.setdefault(item.section, []).append((item.order, action))
        for section in sorted(sections):
            if not menu.isEmpty():
                menu.addSeparator()
            menu.addActions([action for _, action in sorted(sections[section], key=lambda pair: pair[0])])


def _explain(action: QAction, tip: str) -> None:
    action.setToolTip(tooltip(tip, action))
    action.setStatusTip(tip)
    action.setWhatsThis(tip)


def tooltip(tip: str, action: QAction) -> str:
    """``tip`` followed by the shortcut, in the platform's notation."""
    keys = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
    return f"{tip} ({keys})" if keys else tip


class ActionButton(QPushButton):
    """A button for ``action``: text, icon, tooltip and enabled state follow the action."""

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
