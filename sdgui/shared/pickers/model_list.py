"""The lines of the model picker's list as Qt items: headings between them, and what the completer offers of them."""

from __future__ import annotations

from PySide6.QtCore import QSortFilterProxyModel, Qt
from PySide6.QtGui import QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QWidget

from sdgui.shared.pickers.entries import ModelEntry
from sdgui.widgets.style.theme import theme

ENTRY = Qt.ItemDataRole.UserRole


def heading(title: str) -> QStandardItem:
    """A line that cannot be picked."""
    item = QStandardItem(title)
    item.setFlags(Qt.ItemFlag.NoItemFlags)
    font = theme().font("small")
    font.setBold(True)
    item.setFont(font)
    return item


class _Possible(QSortFilterProxyModel):
    """What the completer offers: no headings, nothing grey, nothing twice."""

    def filterAcceptsRow(self, row: int, parent: object) -> bool:
        index = self.sourceModel().index(row, 0)
        entry = index.data(ENTRY)
        possible = bool(index.flags() & Qt.ItemFlag.ItemIsEnabled)
        return isinstance(entry, ModelEntry) and possible and entry.recent is None


def only_possible(items: QStandardItemModel, parent: QWidget) -> _Possible:
    """``items`` without headings, what is grey, and what stands among the recent ones already."""
    proxy = _Possible(parent)
    proxy.setSourceModel(items)
    return proxy
