"""The list at the left: the queue, this computer, and other machines, each with its state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt, Signal
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import (
    QListWidget,
    QListWidgetItem,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE, theme

QUEUE_KEY = "\0queue"  # key of the first entry; not a valid machine name
# Roles of an item's data: the attributes of Entry.
_KEY_ROLE = Qt.ItemDataRole.UserRole
_LINE_ROLE = _KEY_ROLE + 1
_ICON_ROLE = _KEY_ROLE + 2
_COLOR_ROLE = _KEY_ROLE + 3
_ICON_SIZE = 20  # px


@dataclass(frozen=True)
class Entry:
    """An entry of the list. ``key``: the machine's name, or ``QUEUE_KEY``; ``line``: the muted text below the title.

    ``icon`` and its colour ``role`` show the state of the machine.
    """

    key: str
    title: str
    line: str
    icon: str
    role: str = "text"


class MachineList(QListWidget):
    """The list. ``entry_chosen``: the key of the entry to show."""

    entry_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Queue and machines")
        self.setItemDelegate(_Delegate(self))
        self.setUniformItemSizes(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.currentItemChanged.connect(self._on_moved)
        self._quiet = False  # whether a change of the current item is not reported
        theme().changed.connect(self.viewport().update)

    def show_entries(self, entries: Sequence[Entry]) -> None:
        """Replace the entries; the current entry stays current."""
        previous_key, self._quiet = self.key(), True
        while self.count() > len(entries):
            self.takeItem(self.count() - 1)
        for row, entry in enumerate(entries):
            if row >= self.count():
                self.addItem(QListWidgetItem())
            item = self.item(row)
            for role, value in (
                (Qt.ItemDataRole.DisplayRole, entry.title),
                (_KEY_ROLE, entry.key),
                (_LINE_ROLE, entry.line),
                (_ICON_ROLE, entry.icon),
                (_COLOR_ROLE, entry.role),
                (Qt.ItemDataRole.ToolTipRole, plain_tip(f"{entry.title}\n{entry.line}")),
                (Qt.ItemDataRole.AccessibleTextRole, f"{entry.title}, {entry.line}"),
            ):
                item.setData(role, value)
        self._quiet = False
        if not previous_key or self.key() != previous_key:
            self.choose(previous_key or QUEUE_KEY)

    def key(self) -> str:
        """The key of the current entry; "" if there is none."""
        item = self.currentItem()
        return "" if item is None else str(item.data(_KEY_ROLE))

    def choose(self, key: str) -> None:
        """Select the entry with this key, or the first entry if there is none."""
        rows = [row for row in range(self.count()) if self.item(row).data(_KEY_ROLE) == key]
        self.setCurrentRow(rows[0] if rows else 0)

    def _on_moved(self, item: QListWidgetItem | None, _before: QListWidgetItem | None) -> None:
        if item is not None and not self._quiet:
            self.entry_chosen.emit(str(item.data(_KEY_ROLE)))


class _Delegate(QStyledItemDelegate):
    """Paints an icon, the title, and a muted line below the title."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        return QSize(0, 2 * option.fontMetrics.height() + 2 * SPACE)

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        colors = theme()
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        band = option.rect.adjusted(2, 1, -2, -1)
        if option.state & (QStyle.StateFlag.State_Selected | QStyle.StateFlag.State_MouseOver):
            is_selected = bool(option.state & QStyle.StateFlag.State_Selected)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colors.color("selection" if is_selected else "raised"))
            painter.drawRoundedRect(band, 6, 6)
        icon = colors.icon(str(index.data(_ICON_ROLE)), str(index.data(_COLOR_ROLE)))
        top = band.top() + (band.height() - _ICON_SIZE) // 2
        icon.paint(painter, QRect(band.left() + SPACE, top, _ICON_SIZE, _ICON_SIZE))
        text_left, height = band.left() + 2 * SPACE + _ICON_SIZE, option.fontMetrics.height()
        width = band.right() - text_left - SPACE // 2
        for text, role, font, y in (
            (index.data(), "text", colors.font(), band.top() + SPACE - 1),
            (index.data(_LINE_ROLE), "muted", colors.font("small"), band.top() + SPACE - 1 + height),
        ):
            painter.setPen(colors.color(role))
            painter.setFont(font)
            elided = painter.fontMetrics().elidedText(str(text), Qt.TextElideMode.ElideRight, width)
            painter.drawText(QRect(text_left, y, width, height), int(Qt.AlignmentFlag.AlignVCenter), elided)
        painter.restore()
