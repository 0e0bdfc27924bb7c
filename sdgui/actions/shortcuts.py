"""Ctrl+/: every action with its shortcut, in a window that does not block."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QDialog, QHeaderView, QLineEdit, QTreeWidget, QTreeWidgetItem, QWidget

from sdgui.panels.registry import PANELS
from sdgui.widgets.actions import Actions
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE

# keys handled by widgets; the keys of panels are in the table of panels
_WIDGET_KEYS = {
    "Images": (("Space", "Enlarge the image"), ("Ctrl+wheel", "Larger or smaller thumbnails")),
    "Tree": (("Space", "Overlay the run's curves"), ("Enter", "Show the run")),
}


class ShortcutsDialog(QDialog):
    """The list of shortcuts by group, with a filter."""

    def __init__(self, actions: Actions, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Shortcuts")
        self.setModal(False)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)  # recreated each time, to show the current titles
        self._rows: list[tuple[QTreeWidgetItem, list[QTreeWidgetItem]]] = []
        self.filter_box = QLineEdit(self)
        self.filter_box.setPlaceholderText("Filter")
        self.filter_box.setAccessibleName("Filter shortcuts")
        self.filter_box.setClearButtonEnabled(True)
        self.list = QTreeWidget(self)
        self.list.setAccessibleName("Shortcuts")
        self.list.setHeaderLabels(["Action", "Keys", "What it does"])
        self.list.setRootIsDecorated(False)
        for group, members in actions.groups().items():
            rows = [
                (
                    action.text().replace("&", ""),
                    action.shortcut().toString(QKeySequence.SequenceFormat.NativeText),
                    action.statusTip(),
                )
                for action in members
            ]
            self._add(group, rows)
        for group, handled in ({spec.title: spec.keys for spec in PANELS if spec.keys} | _WIDGET_KEYS).items():
            self._add(group, [("", keys, text) for keys, text in handled])
        self.list.header().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        vbox(self.filter_box, (self.list, 1), into=self, margins=2 * SPACE)
        self.filter_box.textChanged.connect(self._filter)
        self.resize(960, 600)

    def _add(self, group: str, rows: list[tuple[str, str, str]]) -> None:
        head = QTreeWidgetItem(self.list, [group])
        font = head.font(0)
        font.setBold(True)
        head.setFont(0, font)
        head.setFlags(Qt.ItemFlag.ItemIsEnabled)
        head.setExpanded(True)
        items = [QTreeWidgetItem(head, list(row)) for row in rows]
        for item in items:
            item.setToolTip(2, plain_tip(item.text(2)))  # the text may be cut off
        self._rows.append((head, items))

    def _filter(self, text: str) -> None:
        words = text.casefold().split()
        for group, items in self._rows:
            for item in items:
                content = " ".join(item.text(column) for column in range(3)).casefold()
                item.setHidden(not all(word in content for word in words))
            group.setHidden(all(item.isHidden() for item in items))
