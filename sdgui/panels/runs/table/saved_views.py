"""Saved views of the table: named layouts in the settings, and their menu."""

from __future__ import annotations

import json
from collections.abc import Callable

from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QInputDialog, QMenu, QWidget

from sdgui.panels.runs.table.layout import TableLayout
from sdgui.shared.stored_json import parse_stored
from sdgui.widgets.plain_text import plain_tip

_VIEWS, _CURRENT = "runs/views", "runs/layout"
MAX_VIEWS = 50
MAX_NAME_LENGTH = 60


class SavedViews:
    """Reads and writes the saved views and the current layout."""

    def __init__(self, settings: QSettings) -> None:
        self._settings = settings

    def current(self) -> TableLayout:
        """The last used layout."""
        return TableLayout.from_json(str(self._settings.value(_CURRENT, "{}")))

    def keep_current(self, layout: TableLayout) -> None:
        self._settings.setValue(_CURRENT, layout.to_json())

    def all(self) -> dict[str, TableLayout]:
        """Name -> layout of all saved views; {} if the setting is unreadable."""
        raw = parse_stored(self._settings.value(_VIEWS), dict)
        return {str(name)[:MAX_NAME_LENGTH]: TableLayout.from_json(json.dumps(layout)) for name, layout in raw.items()}

    def save(self, name: str, layout: TableLayout) -> None:
        """Save ``layout`` as ``name`` (cut to `MAX_NAME_LENGTH`), replacing a view of this name."""
        name = name[:MAX_NAME_LENGTH]
        views = self.all()
        views.pop(name, None)
        self._keep({name: layout, **views})

    def remove(self, name: str) -> None:
        views = self.all()
        views.pop(name, None)
        self._keep(views)

    def _keep(self, views: dict[str, TableLayout]) -> None:
        raw = {name: json.loads(layout.to_json()) for name, layout in list(views.items())[:MAX_VIEWS]}
        self._settings.setValue(_VIEWS, json.dumps(raw))


def views_menu(
    views: SavedViews, current: TableLayout, show: Callable[[TableLayout], object], parent: QWidget
) -> QMenu:
    """The menu to open, save and remove views."""
    menu = QMenu(parent)
    menu.setToolTipsVisible(True)
    saved = views.all()
    for name, layout in saved.items():
        action = menu.addAction(name.replace("&", "&&"))
        action.setToolTip(plain_tip(layout.filter or "All runs"))
        action.setCheckable(True)
        action.setChecked(layout == current)
        action.triggered.connect(lambda _=False, layout=layout: show(layout))
    if saved:
        menu.addSeparator()
    menu.addAction("&Save this view…").triggered.connect(lambda: _ask_name(views, current, parent))
    menu.addAction("&Default view").triggered.connect(lambda: show(TableLayout()))
    if saved:
        removal = menu.addMenu("&Remove")
        for name in saved:
            removal.addAction(name.replace("&", "&&")).triggered.connect(lambda _=False, name=name: views.remove(name))
    return menu


def _ask_name(views: SavedViews, layout: TableLayout, parent: QWidget) -> None:
    name, accepted = QInputDialog.getText(parent, "Save view", "View name:")
    if accepted and name.strip():
        views.save(" ".join(name.split()), layout)
