"""The gallery's items as a Qt model: pictures by path with caption, score, rank and mark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QAbstractListModel, QMimeData, QModelIndex, QObject, QPersistentModelIndex, Qt, QUrl

from sdgui.widgets.thumbnails import Thumbnail, Thumbnails

ITEM_ROLE = Qt.ItemDataRole.UserRole
_Index = QModelIndex | QPersistentModelIndex


@dataclass(frozen=True)
class GalleryItem:
    """One picture. ``score`` and ``rank`` (from 1) where there are any; ``correct``: whether it is the true one."""

    path: Path
    caption: str = ""
    score: float | None = None
    rank: int | None = None
    correct: bool | None = None  # None where nothing is right or wrong
    detail: str = ""  # further lines of the tooltip


class GalleryModel(QAbstractListModel):
    """Items as they are; their thumbnails come from ``Thumbnails`` when the delegate asks."""

    def __init__(self, thumbnails: Thumbnails, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._thumbnails = thumbnails
        self._items: list[GalleryItem] = []
        self._waiting: dict[str, set[int]] = {}  # path -> rows that asked for its thumbnail
        thumbnails.ready.connect(self._ready)

    def set_items(self, items: list[GalleryItem]) -> None:
        """Replace everything."""
        self.beginResetModel()
        self._items = list(items)
        self._waiting = {}
        self.endResetModel()

    def items(self) -> list[GalleryItem]:
        """All items, in order."""
        return list(self._items)

    def item(self, row: int) -> GalleryItem:
        """One item; IndexError when there is none."""
        return self._items[row]

    def thumbnail(self, row: int) -> Thumbnail | None:
        """The thumbnail of a row; None while it is being read."""
        path = self._items[row].path
        thumbnail = self._thumbnails.get(path)
        if thumbnail is None:
            self._waiting.setdefault(str(path), set()).add(row)
        return thumbnail

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008  # Qt's own signature
        return 0 if parent.isValid() else len(self._items)

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or index.row() >= len(self._items):
            return None
        item = self._items[index.row()]
        if role == ITEM_ROLE:
            return item
        if role == Qt.ItemDataRole.DisplayRole:
            return item.caption
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tooltip(index.row())
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return spoken(item)
        return None

    def flags(self, index: _Index) -> Qt.ItemFlag:
        usual = super().flags(index)
        return usual | Qt.ItemFlag.ItemIsDragEnabled if index.isValid() else usual

    def mimeTypes(self) -> list[str]:
        return ["text/uri-list"]

    def mimeData(self, indexes: Any) -> QMimeData:
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(self._items[index.row()].path)) for index in indexes])
        return data

    def _tooltip(self, row: int) -> str:
        item = self._items[row]
        thumbnail = self._thumbnails.get(item.path)
        reason = f"Cannot be shown. {thumbnail.reason}" if thumbnail is not None and thumbnail.image is None else ""
        return "\n".join(part for part in (item.caption, facts(item), item.detail, reason, str(item.path)) if part)

    def _ready(self, path: str) -> None:
        for row in self._waiting.pop(path, ()):
            index = self.index(row)
            self.dataChanged.emit(index, index, [Qt.ItemDataRole.DecorationRole])


def facts(item: GalleryItem) -> str:
    """``rank 3 · 0.284``, what of it there is."""
    rank = f"rank {item.rank}" if item.rank is not None else ""
    score = f"{item.score:.3f}" if item.score is not None else ""
    return " · ".join(part for part in (rank, score) if part)


def spoken(item: GalleryItem) -> str:
    """An item in words, for screen readers."""
    mark = {True: "the true one", False: "not the true one", None: ""}[item.correct]
    return ", ".join(part for part in (item.caption or item.path.name, mark, facts(item)) if part)
