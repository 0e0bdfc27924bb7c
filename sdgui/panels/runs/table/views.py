"""Saved views of the table: layouts under names, kept in the settings, and the menu for them."""

from __future__ import annotations

import json
from collections.abc import Callable

from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QInputDialog, QMenu, QWidget

from sdgui.panels.runs.table.layout import TableLayout
from sdgui.widgets.plain_text import plain_tip

_VIEWS, _CURRENT = "runs/views", "runs/layout"
MOST = 50
LONGEST = 60


class SavedViews:
    """The views by name, and the layout that is shown now."""

    def __init__(self, settings: QSettings) -> None:
        self._settings = settings

    def current(self) -> TableLayout:
        """The layout of the last time."""
        return TableLayout.from_json(str(self._settings.value(_CURRENT, "{}")))

    def keep_current(self, layout: TableLayout) -> None:
        self._settings.setValue(_CURRENT, layout.to_json())

    def all(self) -> dict[str, TableLayout]:
        """Every saved view; an unreadable setting is none."""
        try:
            raw = json.loads(str(self._settings.value(_VIEWS, "{}")))
        except ValueError:
            return {}
        if not isinstance(raw, dict):
            return {}
        return {str(name)[:LONGEST]: TableLayout.from_json(json.dumps(layout)) for name, layout in raw.items()}

    def save(self, name: str, layout: TableLayout) -> None:
        """Keep ``layout`` under ``name``, cut to `LONGEST` characters, in place of any that has it."""
        name = name[:LONGEST]
        views = self.all()
        views.pop(name, None)
        self._keep({name: layout, **views})

    def remove(self, name: str) -> None:
        views = self.all()
        views.pop(name, None)
        self._keep(views)

    def _keep(self, views: dict[str, TableLayout]) -> None:
        raw = {name: json.loads(layout.to_json()) for name, layout in list(views.items())[:MOST]}
        self._settings.setValue(_VIEWS, json.dumps(raw))


def views_menu(
    views: SavedViews, current: TableLayout, show: Callable[[TableLayout], object], parent: QWidget
) -> QMenu:
    """Open a view, save the shown one, remove one."""
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
