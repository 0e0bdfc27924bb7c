"""The lines of the model picker's list: entries under headings, and what the completer offers of them."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, QSortFilterProxyModel, Qt
from PySide6.QtWidgets import QWidget

from sdgui.shared.pickers.entries import ModelEntry
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import theme

ENTRY = Qt.ItemDataRole.UserRole
Index = QModelIndex | QPersistentModelIndex


class ModelLines(QAbstractListModel):
    """Headings and entries, as many as there are; what a line shows is made when it is seen."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._lines: list[str | ModelEntry] = []

    def replace(self, groups: Sequence[tuple[str, Sequence[ModelEntry]]]) -> None:
        """Show these groups, each under its heading; empty ones are left out."""
        self.beginResetModel()
        self._lines = []
        for title, entries in groups:
            if entries:
                self._lines += [title, *entries]
        self.endResetModel()

    def entries(self) -> list[ModelEntry]:
        """All entries, without the headings."""
        return [line for line in self._lines if isinstance(line, ModelEntry)]

    def entry(self, row: int) -> ModelEntry | None:
        """The entry in ``row``; None for a heading, and where there is no such row."""
        line = self._lines[row] if 0 <= row < len(self._lines) else ""
        return line if isinstance(line, ModelEntry) else None

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008  # Qt's own signature
        return 0 if parent.isValid() else len(self._lines)

    def flags(self, index: Index) -> Qt.ItemFlag:
        entry = self.entry(index.row())
        if entry is None:
            return Qt.ItemFlag.NoItemFlags
        flags = Qt.ItemFlag.ItemIsSelectable
        return flags if entry.reason else flags | Qt.ItemFlag.ItemIsEnabled

    def data(self, index: Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> object:
        if not 0 <= index.row() < len(self._lines):
            return None
        line = self._lines[index.row()]
        if isinstance(line, str):
            return line if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole) else _heading(role)
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return line.title
        if role == ENTRY:
            return line
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(line.reason or line.name)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{line.title}, {line.reason}" if line.reason else line.title
        return None


def _heading(role: int) -> object:
    if role != Qt.ItemDataRole.FontRole:
        return None
    font = theme().font("small")
    font.setBold(True)
    return font


class _Possible(QSortFilterProxyModel):
    """What the completer offers: no headings, nothing grey, nothing twice."""

    def filterAcceptsRow(self, row: int, parent: object) -> bool:
        lines = self.sourceModel()
        entry = lines.entry(row) if isinstance(lines, ModelLines) else None
        return entry is not None and not entry.reason and entry.recent is None


def only_possible(lines: ModelLines, parent: QWidget) -> _Possible:
    """``lines`` without headings, what is grey, and what stands among the recent ones already."""
    proxy = _Possible(parent)
    proxy.setSourceModel(lines)
    return proxy
