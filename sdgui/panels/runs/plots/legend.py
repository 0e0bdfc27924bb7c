"""The legend of the plots: hovering a row highlights the curve, clicking shows or hides it."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QModelIndex, QPersistentModelIndex, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPainter, QPen
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from sdgui.panels.runs.plots.charts import is_ancestors_key
from sdgui.panels.runs.plots.series import pale
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE, theme

_KEY_ROLE = Qt.ItemDataRole.UserRole
_COLOR_ROLE = Qt.ItemDataRole.UserRole + 1


class PlotLegend(QListWidget):
    """``hovered(key)``: "" on leaving; ``toggled(key, shown)``: click or Space; ``soloed(key)``: double click."""

    hovered = Signal(str)
    toggled = Signal(str, bool)
    soloed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: dict[str, QListWidgetItem] = {}  # key of a run or group -> row
        self.setProperty("role", "plain")
        self.setAccessibleName("Legend")
        self.setMouseTracking(True)
        self.setUniformItemSizes(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setItemDelegate(_Row(self))
        self.itemEntered.connect(lambda item: self.hovered.emit(item.data(_KEY_ROLE)))
        self.itemClicked.connect(self._toggle)
        self.itemDoubleClicked.connect(self._solo)
        self.currentItemChanged.connect(lambda item, _: self.hovered.emit(item.data(_KEY_ROLE) if item else ""))
        theme().changed.connect(self.viewport().update)

    def set_entry(self, key: str, name: str, color: int) -> None:
        """Add or update a row; an existing row stays checked or unchecked. ``color``: palette index."""
        item = self._rows.get(key)
        if item is None:
            item = QListWidgetItem()
            item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsUserCheckable)  # the whole row is clicked, not a box
            item.setData(_KEY_ROLE, key)
            item.setData(Qt.ItemDataRole.CheckStateRole, Qt.CheckState.Checked)
            self._rows[key] = item
            self.addItem(item)
        item.setText(name)
        item.setToolTip(plain_tip(f"{name}\nClick: show or hide. Double-click: show only this."))
        item.setData(_COLOR_ROLE, color)

    def set_shown(self, key: str, visible: bool) -> None:
        """Check or uncheck a row without emitting a signal."""
        if key in self._rows:
            state = Qt.CheckState.Checked if visible else Qt.CheckState.Unchecked
            self._rows[key].setData(Qt.ItemDataRole.CheckStateRole, state)

    def remove(self, key: str) -> None:
        if key in self._rows:
            self.takeItem(self.row(self._rows.pop(key)))

    def clear(self) -> None:
        self._rows.clear()
        super().clear()

    def shown_entries(self) -> dict[str, tuple[str, int]]:
        """Key -> name and palette index of each row whose curve is shown."""
        checked = {key: row for key, row in self._rows.items() if row.checkState() == Qt.CheckState.Checked}
        return {key: (row.text(), int(row.data(_COLOR_ROLE))) for key, row in checked.items()}

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Space and self.currentItem() is not None:
            self._toggle(self.currentItem())
        else:
            super().keyPressEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.hovered.emit("")

    def _toggle(self, item: QListWidgetItem) -> None:
        visible = item.checkState() != Qt.CheckState.Checked
        self.set_shown(item.data(_KEY_ROLE), visible)
        self.toggled.emit(item.data(_KEY_ROLE), visible)

    def _solo(self, item: QListWidgetItem) -> None:
        self._toggle(item)  # undoes the first click of the double-click
        self.soloed.emit(item.data(_KEY_ROLE))


class _Row(QStyledItemDelegate):
    """Paints a short line (grey if the curve is hidden) and the name."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        return QSize(12 * SPACE, option.fontMetrics.height() + SPACE)

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        style = theme()
        visible = index.data(Qt.ItemDataRole.CheckStateRole) == Qt.CheckState.Checked
        state = option.state
        if state & QStyle.StateFlag.State_MouseOver or state & QStyle.StateFlag.State_HasFocus:
            painter.fillRect(option.rect, style.color("raised"))
        rect = option.rect.adjusted(SPACE // 2, 0, -SPACE // 2, 0)
        color = style.run_color(index.data(_COLOR_ROLE)) if visible else style.color("border")
        if visible and is_ancestors_key(index.data(_KEY_ROLE)):
            color = pale(color)
        painter.setPen(QPen(color, 3, Qt.PenStyle.SolidLine, Qt.PenCapStyle.FlatCap))
        middle = rect.center().y()
        painter.drawLine(rect.left(), middle, rect.left() + 2 * SPACE, middle)
        rect = rect.adjusted(3 * SPACE, 0, 0, 0)
        painter.setPen(style.color("text" if visible else "muted"))
        name = option.fontMetrics.elidedText(index.data(), Qt.TextElideMode.ElideMiddle, rect.width())
        painter.drawText(rect, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), name)
