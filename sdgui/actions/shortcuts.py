"""F1: every action with its shortcut, in a window that does not block."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QDialog, QHeaderView, QLineEdit, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

from sdgui.widgets.actions import Actions
from sdgui.widgets.style.theme import SPACE

_FURTHER = {
    "Define": (("F8", "Go to the next problem"),),
    "Plots": (
        ("Ctrl+wheel", "Zoom the x axis of all plots"),
        ("L", "Logarithmic scale"),
        ("R", "Reset the view"),
        ("Esc", "Restore a maximised plot"),
    ),
    "Pictures": (("Space", "Enlarge the picture"), ("Ctrl+wheel", "Larger or smaller thumbnails")),
    "Search": (
        ("Up, Down", "Previous searches, in the search box; Down past the last one moves to the results"),
        ("Alt+Enter, Shift+Enter", "Add the words to the query; exclude them"),
        ("M, T", "More like this picture; its nearest captions"),
        ("Ctrl+Alt++, Ctrl+Alt+-", "Add the picture to the query; exclude similar ones"),
        ("Alt+P, Alt+V, Alt+M", "Pictures, evaluation, map"),
        ("Ctrl+B", "Compare with a second model"),
        ("Ctrl+S, Ctrl+H", "Save the search; search history"),
        ("Ctrl+Shift+F, Ctrl+Shift+I", "Filters; a picture from a file"),
        ("R, A, plus, minus, arrows", "On the map: show all, select what is in view, zoom, pan"),
    ),
    "Tree": (("Space", "Overlay the run's curves"), ("Enter", "Watch the run")),
}


class ShortcutsDialog(QDialog):
    """A list by group with a box to filter it."""

    def __init__(self, actions: Actions, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Shortcuts")
        self.setModal(False)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)  # the next one says what the actions are called then
        self._rows: list[tuple[QTreeWidgetItem, list[QTreeWidgetItem]]] = []
        self.filter_box = QLineEdit(self)
        self.filter_box.setPlaceholderText("Filter")
        self.filter_box.setAccessibleName("Filter shortcuts")
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
        for group, further in _FURTHER.items():
            self._add(group, [("", keys, text) for keys, text in further])
        self.list.header().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2 * SPACE, 2 * SPACE, 2 * SPACE, 2 * SPACE)
        layout.addWidget(self.filter_box)
        layout.addWidget(self.list, 1)
        self.filter_box.textChanged.connect(self._filter)
        self.resize(720, 560)

    def _add(self, group: str, rows: list[tuple[str, str, str]]) -> None:
        head = QTreeWidgetItem(self.list, [group])
        font = head.font(0)
        font.setBold(True)
        head.setFont(0, font)
        head.setFlags(Qt.ItemFlag.ItemIsEnabled)
        head.setExpanded(True)
        self._rows.append((head, [QTreeWidgetItem(head, list(row)) for row in rows]))

    def _filter(self, text: str) -> None:
        words = text.casefold().split()
        for group, items in self._rows:
            for item in items:
                content = " ".join(item.text(column) for column in range(3)).casefold()
                item.setHidden(not all(word in content for word in words))
            group.setHidden(all(item.isHidden() for item in items))
