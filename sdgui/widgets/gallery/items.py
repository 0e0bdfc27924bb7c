"""The gallery's items as a Qt model: images by path with caption, score, rank and mark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import (
    QAbstractListModel,
    QMimeData,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    Qt,
    QTimer,
    QUrl,
)

from sdgui.widgets.gallery.thumbnail_files import Thumbnail
from sdgui.widgets.gallery.thumbnails import Thumbnails
from sdgui.widgets.plain_text import plain_tip

ITEM_ROLE = Qt.ItemDataRole.UserRole
_FRAME_MS = 16  # thumbnails that arrive within a frame are painted together
_Index = QModelIndex | QPersistentModelIndex


_MISSING = Thumbnail(None, "The file no longer exists.", missing=True)


@dataclass(frozen=True)
class GalleryItem:
    """One image. ``score`` and ``rank`` (from 1) are optional; ``correct``: whether it is a correct result."""

    path: Path
    caption: str = ""
    score: float | None = None
    rank: int | None = None
    correct: bool | None = None  # None if not applicable
    detail: str = ""  # additional lines of the tooltip
    badge: str = ""  # a short word on the image: a label, "new", "+3"
    missing: bool = False  # known to be missing: shown grey, and not looked up
    badge_spoken: str = ""  # the badge in words, if it consists of symbols
    faint: bool = False  # less certain than the others
    line: bool = False  # draw a dashed line before it, to separate another kind of items


class GalleryModel(QAbstractListModel):
    """The items in order; ``Thumbnails`` provides images when the delegate asks for them."""

    def __init__(self, thumbnails: Thumbnails, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._thumbnails = thumbnails
        self._items: list[GalleryItem] = []
        self._waiting: dict[str, set[int]] = {}  # path -> rows that requested its thumbnail
        self._arrived_rows: set[int] = set()
        self._gather = QTimer(self, singleShot=True, interval=_FRAME_MS)
        self._gather.timeout.connect(self._emit_arrived)
        thumbnails.ready.connect(self._on_ready)

    def set_items(self, items: list[GalleryItem]) -> None:
        """Replace all items."""
        self.beginResetModel()
        self._items = list(items)
        self._waiting, self._arrived_rows = {}, set()
        self.endResetModel()

    def append(self, items: Sequence[GalleryItem]) -> None:
        """Append items, keeping the selection."""
        if items:
            count = len(self._items)
            self.beginInsertRows(QModelIndex(), count, count + len(items) - 1)
            self._items.extend(items)
            self.endInsertRows()

    def replace(self, row: int, item: GalleryItem) -> None:
        """Replace the item of ``row``. Raises IndexError if there is no such row."""
        self._items[row] = item
        self.dataChanged.emit(self.index(row), self.index(row))

    def remove(self, rows: Iterable[int]) -> None:
        """Remove these rows; rows out of range are ignored."""
        self._waiting, self._arrived_rows = {}, set()  # rows have moved; visible cells ask again
        for first, last in reversed(row_ranges(row for row in rows if 0 <= row < len(self._items))):
            self.beginRemoveRows(QModelIndex(), first, last)
            del self._items[first : last + 1]
            self.endRemoveRows()

    def items(self) -> list[GalleryItem]:
        """All items, in order."""
        return list(self._items)

    def item(self, row: int) -> GalleryItem:
        """The item of ``row``. Raises IndexError if there is no such row."""
        return self._items[row]

    def has_figures(self) -> bool:
        """Whether items have ranks or scores; all of them do, or none."""
        return bool(self._items) and (self._items[0].rank is not None or self._items[0].score is not None)

    def thumbnail(self, row: int) -> Thumbnail | None:
        """The thumbnail of a row; None while it is being read."""
        if self._items[row].missing:
            return _MISSING
        path = self._items[row].path
        thumbnail = self._thumbnails.get(path)
        if not self._thumbnails.is_sharp(thumbnail):
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
            return plain_tip(self._tooltip(index.row()))
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return describe_item(item)
        return None

    def flags(self, index: _Index) -> Qt.ItemFlag:
        usual = super().flags(index)
        return usual | Qt.ItemFlag.ItemIsDragEnabled if index.isValid() else usual

    def mimeTypes(self) -> list[str]:
        return ["text/uri-list", "text/plain"]

    def mimeData(self, indexes: Any) -> QMimeData:
        return files_mime([self._items[row].path for row in sorted({index.row() for index in indexes})])

    def _tooltip(self, row: int) -> str:
        item = self._items[row]
        thumbnail = self.thumbnail(row)
        reason = f"Cannot be shown. {thumbnail.reason}" if thumbnail is not None and thumbnail.image is None else ""
        return "\n".join(part for part in (item.caption, facts(item), item.detail, reason, str(item.path)) if part)

    def _on_ready(self, path: str) -> None:
        self._arrived_rows |= self._waiting.pop(path, set())
        if self._arrived_rows and not self._gather.isActive():
            self._gather.start()

    def _emit_arrived(self) -> None:
        arrived, self._arrived_rows = self._arrived_rows, set()
        for first, last in row_ranges(row for row in arrived if row < len(self._items)):
            self.dataChanged.emit(self.index(first), self.index(last), [Qt.ItemDataRole.DecorationRole])


def row_ranges(rows: Iterable[int]) -> list[tuple[int, int]]:
    """Convert row numbers to ranges: ``[1, 2, 3, 7]`` to ``[(1, 3), (7, 7)]``."""
    runs: list[tuple[int, int]] = []
    for row in sorted(set(rows)):
        if runs and row == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], row)
        else:
            runs.append((row, row))
    return runs


def files_mime(paths: Sequence[Path]) -> QMimeData:
    """MIME data of ``paths`` for the clipboard or a drag: files for file managers, text for other programs."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    data.setText("\n".join(map(str, paths)))
    return data


def facts(item: GalleryItem) -> str:
    """Rank and score such as ``rank 3 · 0.284``; missing values are omitted."""
    rank = f"rank {item.rank}" if item.rank is not None else ""
    score = f"{item.score:.3f}" if item.score is not None else ""
    return " · ".join(part for part in (rank, score) if part)


def describe_item(item: GalleryItem) -> str:
    """A description of the item for screen readers."""
    mark = {True: "correct", False: "incorrect", None: ""}[item.correct]
    missing = "the file is missing" if item.missing else ""
    parts = (item.caption or item.path.name, item.badge_spoken or item.badge, mark, facts(item), missing)
    return ", ".join(part for part in parts if part)
