"""The row above the table: filter, grouping, columns, views, only what differs, and how many runs there are."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QMenu, QToolButton, QWidget

from sdgui.panels.runs.table.cells import title_of
from sdgui.panels.runs.table.filter_box import FilterBox
from sdgui.panels.runs.table.layout import TableLayout, fields_of
from sdgui.store.run_table.fields import Catalogue
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE

RECIPE = "recipe"
_USUAL_GROUPS = (RECIPE, "experiment", "preset", "state", "machine", "tag")


class TableBar(QWidget):
    """Asks for another layout by signals; ``show_layout`` shows the one there is."""

    group_asked = Signal(tuple)  # names of fields
    differing_asked = Signal(bool)
    columns_asked = Signal(QPoint)
    views_asked = Signal(QPoint)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.filter = FilterBox(self)
        self.group = IconButton(
            "ph.stack", "Group runs by a setting: means with 95 % intervals", text="Group", parent=self
        )
        self.differing = IconButton(
            "ph.intersect",
            "Only settings in which the selected runs differ; of all runs that are listed where none is selected",
            text="Only differences",
            checkable=True,
            parent=self,
        )
        self.columns = IconButton("ph.columns", "Choose and order columns", text="Columns", parent=self)
        self.views = IconButton("ph.bookmark-simple", "Saved views of the table", text="Views", parent=self)
        self.number = PlainLabel("", self, role="muted")
        self._layout = TableLayout()
        self._catalogue = Catalogue()
        self._runs, self._unread = "", 0
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(SPACE // 2)
        row.addWidget(self.filter, 1)
        for widget in (self.number, self.group, self.differing, self.columns, self.views):
            row.addWidget(widget)
        self.differing.clicked.connect(self.differing_asked)
        self.columns.clicked.connect(lambda: self.columns_asked.emit(_below(self.columns)))
        self.views.clicked.connect(lambda: self.views_asked.emit(_below(self.views)))
        self.group.clicked.connect(lambda: self._open(self.group_menu()))

    def show_layout(self, layout: TableLayout, catalogue: Catalogue, typed: bool = False) -> None:
        """What is filtered and grouped by now; ``typed``: the filter's box holds what is not asked for yet."""
        self._layout, self._catalogue = layout, catalogue
        self.filter.catalogue = catalogue
        if not typed:
            self.filter.show_filter(layout.filter)
        self.differing.setChecked(layout.only_differing)
        names = [title_of(field) for field in fields_of(layout.group_by, catalogue)]
        self.group.setText(f"By {names[0] if len(names) == 1 else f'{len(names)} fields'}" if names else "Group")
        self.group.setToolTip(plain_tip(f"Grouped by {', '.join(names)}" if names else "Group runs by a setting"))

    def show_number(self, total: int, groups: int | None) -> None:
        """How many runs fit."""
        runs = f"{total:,} run{'s' if total != 1 else ''}".replace(",", "\u2009")
        self._runs = runs if groups is None else f"{groups:,} groups, {runs}".replace(",", "\u2009", 1)
        self.show_unread(self._unread)

    def show_unread(self, runs: int) -> None:
        """Of how many runs metrics at a step are still being read from their folders."""
        self._unread = runs
        self.number.setText(f"{self._runs} · reading {runs:,}".replace(",", "\u2009") if runs else self._runs)
        self.number.setToolTip("Metrics at a step are read from the folders of these runs." if runs else "")

    def group_menu(self) -> QMenu:
        """Group by one of the usual fields or the shown settings; several may be ticked."""
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        names = dict.fromkeys([*_USUAL_GROUPS, *self._layout.group_by, *self._layout.columns])
        for field in fields_of(names, self._catalogue):
            if field.aggregate not in ("", "at") or field.key in ("note", "metric", "progress", "duration", "created"):
                continue
            title = "Same settings, any seed" if field.name == RECIPE else title_of(field)
            title = f"{title}, in bands" if field.aggregate == "at" else title
            action = menu.addAction(title.replace("&", "&&"))
            action.setCheckable(True)
            action.setChecked(field.name in self._layout.group_by)
            action.triggered.connect(lambda on, name=field.name: self._toggle(name, on))
        menu.addSeparator()
        no = menu.addAction("Do not group")
        no.setEnabled(bool(self._layout.group_by))
        no.triggered.connect(lambda: self.group_asked.emit(()))
        return menu

    def _toggle(self, name: str, on: bool) -> None:
        others = tuple(field for field in self._layout.group_by if field != name)
        self.group_asked.emit((*others, name) if on else others)

    def _open(self, menu: QMenu) -> None:
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(_below(self.group))


def _below(button: QToolButton) -> QPoint:
    return button.mapToGlobal(QPoint(0, button.height() + 2))
