"""The column chooser: lists all facts, settings and metrics with a search; ticked columns are shown in order.

Flow: ``open`` with the columns -> ``changed`` with the new names after each tick or move. Metrics at a step are
added below the list.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPoint, QRegularExpression, QSignalBlocker, Qt, Signal
from PySide6.QtGui import QKeyEvent, QRegularExpressionValidator
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFrame,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QWidget,
)

from sdgui.panels.runs.table.cells import tip_of, title_of
from sdgui.panels.runs.table.layout import NAME_COLUMN, STEPS_KEY, Values, fields_of
from sdgui.store.run_table.fields import Catalogue, Field
from sdgui.widgets.formats import metric_title
from sdgui.widgets.input_boxes import ListOnlyComboBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.popovers.placing import move_within
from sdgui.widgets.style.theme import SPACE

_FIELD_NAME = int(Qt.ItemDataRole.UserRole)
_SEARCH_TEXT = _FIELD_NAME + 1
_HINT = "Drag to reorder, or press Alt+Up or Alt+Down"


class MetricAtStep(QWidget):
    """Chooses a metric and a step. ``column_requested``: the field's name."""

    column_requested = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.metrics = ListOnlyComboBox(self)
        self.metrics.setAccessibleName("Metric of a column at a step")
        self.metrics.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.step = ListOnlyComboBox(self)
        self.edit = QLineEdit(self.step)
        self.edit.setValidator(QRegularExpressionValidator(QRegularExpression(r"\d{1,15}"), self))
        self.step.setEditable(True)
        self.step.setLineEdit(self.edit)
        self.step.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.step.setAccessibleName("Step")
        self.step.setToolTip("The last value at or before this step; empty for runs that have not reached it")
        self.step.setMinimumContentsLength(6)
        self.add = QPushButton("Add", self)
        self.add.setToolTip("Show this metric at this step as a column")
        hbox((self.metrics, 1), PlainLabel("at step", self), self.step, self.add, into=self)
        self.add.clicked.connect(self._request_column)
        self.edit.returnPressed.connect(self._request_column)
        self.step.currentTextChanged.connect(lambda text: self.add.setEnabled(bool(text)))

    def fill(self, catalogue: Catalogue, steps: Sequence[str]) -> None:
        """List the metrics and steps to choose from; the current choice is kept."""
        metric, step = self.metrics.currentData(), self.step.currentText()
        self.metrics.clear()
        for name in sorted(
            catalogue.metrics, key=lambda metric_name: (not metric_name.startswith("val/"), metric_name)
        ):
            self.metrics.addItem(metric_title(name), name)
        self.metrics.setCurrentIndex(max(0, self.metrics.findData(metric)))
        self.step.clear()
        self.step.addItems(list(steps))
        self.step.setCurrentText(step or (steps[-1] if steps else ""))
        self.setVisible(bool(catalogue.metrics))
        self.add.setEnabled(bool(self.step.currentText()))

    def choose(self, field: Field) -> None:
        """Select the metric of ``field``, and its step if it has one."""
        self.metrics.setCurrentIndex(max(0, self.metrics.findData(field.metrics[0])))
        if field.step:
            self.step.setCurrentText(str(field.step))
        self.edit.selectAll()
        self.step.setFocus(Qt.FocusReason.OtherFocusReason)

    def _request_column(self) -> None:
        if self.step.currentText() and self.metrics.currentData():
            self.column_requested.emit(f"at({self.metrics.currentData()}, {int(self.step.currentText())})")


class ColumnChooser(QFrame):
    """The chooser, a popup that lists the shown columns first."""

    changed = Signal(tuple)  # names

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.setAccessibleName("Columns")
        self._catalogue = Catalogue()
        self.search = QLineEdit(self)
        self.search.setPlaceholderText("Find a setting or a metric")
        self.search.setAccessibleName("Find a column")
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._search)
        self.list = QListWidget(self)
        self.list.setAccessibleName("Columns; ticked ones are shown")
        self.list.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        self.list.setUniformItemSizes(True)
        self.list.itemChanged.connect(lambda _item: self._emit_changed())
        self.list.model().rowsMoved.connect(lambda *_: self._emit_changed())
        self.at_step = MetricAtStep(self)
        self.at_step.column_requested.connect(self.add)
        hint = PlainLabel(_HINT, self, role="small")
        vbox(self.search, self.list, hint, self.at_step, into=self, margins=SPACE)

    def open(self, columns: Sequence[str], catalogue: Catalogue, position: QPoint, values: Values) -> None:
        """Open at the screen position ``position``. ``values``: the filter's completions, which include the steps."""
        self.fill(columns, catalogue)
        self.at_step.fill(catalogue, values.get(STEPS_KEY, ()))
        self.resize(52 * SPACE, 56 * SPACE)
        move_within(self, position)
        self.show()
        self.search.setFocus(Qt.FocusReason.PopupFocusReason)

    def add(self, name: str) -> None:
        if name not in self.chosen():
            self.fill([*self.chosen(), name], self._catalogue)
            self.list.scrollToItem(self.list.item(len(self.chosen()) - 1))
            self._emit_changed()

    def fill(self, columns: Sequence[str], catalogue: Catalogue) -> None:
        """List all fields, starting with the shown ``columns``."""
        self._catalogue = catalogue
        shown_fields = fields_of(columns, catalogue)
        names = {field.name for field in shown_fields}
        last = [f"last({metric})" for metric in catalogue.metrics]
        others = [field for field in fields_of([*catalogue.names(), *last], catalogue) if field.name not in names]
        with QSignalBlocker(self.list):
            self.list.clear()
            for field in (*shown_fields, *others):
                if field.name != NAME_COLUMN:
                    self.list.addItem(_item(field, field.name in names))
        self.search.clear()

    def chosen(self) -> tuple[str, ...]:
        """The names of the ticked columns, in order."""
        items = [self.list.item(row) for row in range(self.list.count())]
        return tuple(str(item.data(_FIELD_NAME)) for item in items if item.checkState() == Qt.CheckState.Checked)

    def _search(self, text: str) -> None:
        words = text.casefold().split()
        for row in range(self.list.count()):
            item = self.list.item(row)
            item.setHidden(not all(word in str(item.data(_SEARCH_TEXT)) for word in words))

    def _emit_changed(self) -> None:
        self.changed.emit(self.chosen())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        row, offset = self.list.currentRow(), {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(Qt.Key(event.key()))
        if (
            offset is not None
            and event.modifiers() & Qt.KeyboardModifier.AltModifier
            and 0 <= row + offset < self.list.count()
        ):
            item = self.list.takeItem(row)
            self.list.insertItem(row + offset, item)
            self.list.setCurrentRow(row + offset)
            self._emit_changed()
        elif offset == 1 and self.search.hasFocus():
            self.list.setFocus(Qt.FocusReason.OtherFocusReason)
        else:
            super().keyPressEvent(event)


def _item(field: Field, is_shown: bool) -> QListWidgetItem:
    title = title_of(field)
    item = QListWidgetItem(title)
    item.setData(_FIELD_NAME, field.name)
    item.setData(_SEARCH_TEXT, f"{title} {field.name}".casefold())
    item.setToolTip(plain_tip(tip_of(field)))
    item.setCheckState(Qt.CheckState.Checked if is_shown else Qt.CheckState.Unchecked)
    return item
