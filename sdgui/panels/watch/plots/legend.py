"""The legend of a plot: a list that scrolls; hovering a row lifts its curve, clicking toggles it."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QModelIndex, QPersistentModelIndex, QRect, QSize, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QPainter, QPen
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE, theme

_KEY = Qt.ItemDataRole.UserRole
_COLOR = Qt.ItemDataRole.UserRole + 1
_DASH = Qt.ItemDataRole.UserRole + 2
_VALUE = Qt.ItemDataRole.UserRole + 3


class PlotLegend(QListWidget):
    """``hovered(key)`` ("" on leaving), ``toggled(key, shown)`` on click or Space, ``soloed(key)`` on double click."""

    hovered = Signal(str)
    toggled = Signal(str, bool)
    soloed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: dict[str, QListWidgetItem] = {}
        self.setProperty("role", "plain")
        self.setAccessibleName("Legend")
        self.setMouseTracking(True)
        self.setUniformItemSizes(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setItemDelegate(_Row(self))
        self.itemEntered.connect(lambda item: self.hovered.emit(item.data(_KEY)))
        self.itemClicked.connect(self._toggle)
        self.itemDoubleClicked.connect(lambda item: self.soloed.emit(item.data(_KEY)))
        self.currentItemChanged.connect(lambda item, _: self.hovered.emit(item.data(_KEY) if item else ""))
        theme().changed.connect(self.viewport().update)

    def set_entry(self, key: str, name: str, color: int | QColor, dash: Qt.PenStyle = Qt.PenStyle.SolidLine) -> None:
        """Add a row, or change it and keep its state."""
        item = self._rows.get(key)
        if item is None:
            item = QListWidgetItem()
            item.setData(_KEY, key)
            item.setData(Qt.ItemDataRole.CheckStateRole, Qt.CheckState.Checked)
            self._rows[key] = item
            self.addItem(item)
        item.setText(name)
        item.setToolTip(plain_tip(f"{name}\nClick: show or hide. Double-click: show only this."))
        item.setData(_COLOR, color)
        item.setData(_DASH, dash.value)

    def set_value(self, key: str, text: str) -> None:
        """The figure at the right of a row."""
        if key in self._rows and self._rows[key].data(_VALUE) != text:
            self._rows[key].setData(_VALUE, text)

    def set_shown(self, key: str, shown: bool) -> None:
        """Check or uncheck a row without a signal."""
        if key in self._rows:
            state = Qt.CheckState.Checked if shown else Qt.CheckState.Unchecked
            self._rows[key].setData(Qt.ItemDataRole.CheckStateRole, state)

    def remove(self, key: str) -> None:
        """Take a row away; nothing happens when it is not there."""
        if key in self._rows:
            self.takeItem(self.row(self._rows.pop(key)))

    def clear(self) -> None:
        """Take all rows away."""
        self._rows.clear()
        super().clear()

    def keys(self) -> list[str]:
        return list(self._rows)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Space and self.currentItem() is not None:
            self._toggle(self.currentItem())
        else:
            super().keyPressEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.hovered.emit("")

    def _toggle(self, item: QListWidgetItem) -> None:
        shown = item.checkState() != Qt.CheckState.Checked
        self.set_shown(item.data(_KEY), shown)
        self.toggled.emit(item.data(_KEY), shown)


class _Row(QStyledItemDelegate):
    """A piece of the line (hollow when hidden), the name, the value at the right."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        return QSize(12 * SPACE, option.fontMetrics.height() + SPACE)

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        look = theme()
        shown = index.data(Qt.ItemDataRole.CheckStateRole) == Qt.CheckState.Checked
        state = option.state
        if state & QStyle.StateFlag.State_MouseOver or state & QStyle.StateFlag.State_HasFocus:
            painter.fillRect(option.rect, look.color("raised"))
        raw = index.data(_COLOR)
        color = look.run_color(raw) if isinstance(raw, int) else QColor(raw)
        if not shown:
            color = look.color("border")
        box = option.rect.adjusted(SPACE // 2, 0, -SPACE // 2, 0)
        pen = QPen(color, 3, Qt.PenStyle(index.data(_DASH)), Qt.PenCapStyle.FlatCap)
        painter.setPen(pen)
        middle = box.center().y()
        painter.drawLine(box.left(), middle, box.left() + 2 * SPACE, middle)
        self._texts(painter, box.adjusted(3 * SPACE, 0, 0, 0), option, index, look.color("text" if shown else "muted"))

    def _texts(
        self,
        painter: QPainter,
        box: QRect,
        option: QStyleOptionViewItem,
        index: QModelIndex | QPersistentModelIndex,
        color: QColor,
    ) -> None:
        figure = str(index.data(_VALUE) or "")
        room = option.fontMetrics.horizontalAdvance(figure)
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.setPen(theme().color("muted"))
        painter.drawText(box, int(right), figure)
        painter.setPen(color)
        box = box.adjusted(0, 0, -(room + SPACE if figure else 0), 0)
        name = option.fontMetrics.elidedText(index.data(), Qt.TextElideMode.ElideMiddle, box.width())
        painter.drawText(box, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), name)
