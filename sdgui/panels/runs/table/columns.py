"""The chooser of columns: every fact, setting and metric, searched by words; ticked ones are shown, in their order.

Flow: ``open`` with the columns -> ``changed`` with their names, at each tick, move or drop.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QAbstractItemView, QFrame, QLineEdit, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from sdgui.panels.runs.table.cells import tip_of, title_of
from sdgui.panels.runs.table.layout import NAME, fields_of
from sdgui.store.run_table.fields import Catalogue, Field
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, set_role

_NAME = int(Qt.ItemDataRole.UserRole)
_TEXT = _NAME + 1
_HINT = "Drag or Alt+Up, Alt+Down moves a column"


class ColumnChooser(QFrame):
    """A popup; the shown columns come first."""

    changed = Signal(tuple)  # names

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.setAccessibleName("Columns")
        self.search = QLineEdit(self)
        self.search.setPlaceholderText("Find a setting or a metric")
        self.search.setAccessibleName("Find a column")
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._search)
        self.list = QListWidget(self)
        self.list.setAccessibleName("Columns; ticked ones are shown")
        self.list.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        self.list.setUniformItemSizes(True)
        self.list.itemChanged.connect(lambda _item: self._tell())
        self.list.model().rowsMoved.connect(lambda *_: self._tell())
        hint = PlainLabel(_HINT, self)
        set_role(hint, "small")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(SPACE, SPACE, SPACE, SPACE)
        layout.setSpacing(SPACE)
        for widget in (self.search, self.list, hint):
            layout.addWidget(widget)

    def open(self, columns: Sequence[str], catalogue: Catalogue, at: QPoint) -> None:
        """Show below the screen's point ``at``."""
        self.fill(columns, catalogue)
        self.resize(52 * SPACE, 56 * SPACE)
        self.move(at)
        self.show()
        self.search.setFocus(Qt.FocusReason.PopupFocusReason)

    def fill(self, columns: Sequence[str], catalogue: Catalogue) -> None:
        """List everything, the shown ``columns`` first."""
        shown = fields_of(columns, catalogue)
        names = {one.name for one in shown}
        last = [f"last({metric})" for metric in catalogue.metrics]
        rest = [one for one in fields_of([*catalogue.names(), *last], catalogue) if one.name not in names]
        self.list.blockSignals(True)
        self.list.clear()
        for field in (*shown, *rest):
            if field.name != NAME:
                self.list.addItem(_item(field, field.name in names))
        self.list.blockSignals(False)
        self.search.clear()

    def chosen(self) -> tuple[str, ...]:
        """The ticked names, in order."""
        items = [self.list.item(row) for row in range(self.list.count())]
        return tuple(str(one.data(_NAME)) for one in items if one.checkState() == Qt.CheckState.Checked)

    def _search(self, text: str) -> None:
        words = text.casefold().split()
        for row in range(self.list.count()):
            item = self.list.item(row)
            item.setHidden(not all(word in str(item.data(_TEXT)) for word in words))

    def _tell(self) -> None:
        self.changed.emit(self.chosen())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        row, by = self.list.currentRow(), {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(Qt.Key(event.key()))
        if by is not None and event.modifiers() & Qt.KeyboardModifier.AltModifier and 0 <= row + by < self.list.count():
            item = self.list.takeItem(row)
            self.list.insertItem(row + by, item)
            self.list.setCurrentRow(row + by)
            self._tell()
        elif by == 1 and self.search.hasFocus():
            self.list.setFocus(Qt.FocusReason.OtherFocusReason)
        else:
            super().keyPressEvent(event)


def _item(field: Field, shown: bool) -> QListWidgetItem:
    title = title_of(field)
    item = QListWidgetItem(title)
    item.setData(_NAME, field.name)
    item.setData(_TEXT, f"{title} {field.name}".casefold())
    item.setToolTip(plain_tip(tip_of(field)))
    item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
    item.setCheckState(Qt.CheckState.Checked if shown else Qt.CheckState.Unchecked)
    return item
