"""The Caption panel's list as a Qt model: images, captions, scores, a second model's captions; with a filter.

Flow: drops, the worker's answers and edits -> ``add``, ``update`` and ``remove`` -> rows; ``changed`` and ``removed``
go to the store. Rows that a filter hides stay in ``entries``; a row keeps its position while it is edited.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from PySide6.QtCore import QMimeData, QModelIndex, QObject, QPersistentModelIndex, Qt, QUrl, Signal

from sdgui.panels.caption.model import STATE_TEXTS, Entry, State
from sdgui.shared.tables import HeadedModel
from sdgui.widgets.formats import fixed
from sdgui.widgets.plain_text import plain_tip

IMAGE, CAPTION, SCORE, SECOND_CAPTION = range(4)
ENTRY_ROLE = Qt.ItemDataRole.UserRole
_TITLES = ("Image", "Caption", "Score", "Second model")
_TIPS = (
    "Image; press Space to enlarge",
    "Caption to export; press F2 or type to edit",
    "Log-probability of the caption divided by its length",
    "Best caption of the second model; press Ctrl+U to accept",
)
_Index = QModelIndex | QPersistentModelIndex
_FLAGS = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsDragEnabled
_EDITABLE = _FLAGS | Qt.ItemFlag.ItemIsEditable


class CaptionsModel(HeadedModel):
    """Rows are the entries that pass the filter, in the order of their positions."""

    changed = Signal(list)  # new or changed Entry objects
    removed = Signal(list)  # paths
    edit_requested = Signal(str, str)  # path, typed text
    counts_changed = Signal()  # the number of entries or of rows may have changed

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.compares = False
        self._entries: dict[str, Entry] = {}
        self._visible_paths: list[str] = []
        self._rows: dict[str, int] = {}  # path -> row, of the shown images
        self._filter: Callable[[Entry], bool] | None = None
        self._last = -1  # position of the last entry

    # --- entries

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> list[Entry]:
        """All entries in order, including hidden ones."""
        return sorted(self._entries.values(), key=lambda entry: entry.position)

    def states(self) -> Counter[State]:
        """The number of entries per state, including hidden ones."""
        return Counter(entry.state for entry in self._entries.values())

    def visible_entries(self) -> list[Entry]:
        """The entries that pass the filter, in order."""
        return [self._entries[path] for path in self._visible_paths]

    def entry(self, path: str) -> Entry | None:
        return self._entries.get(path)

    def entry_at(self, row: int) -> Entry:
        """The entry of a row. Raises IndexError if there is none."""
        return self._entries[self._visible_paths[row]]

    def row(self, path: str) -> int:
        """The row of an image, -1 if it is not shown."""
        return self._rows.get(path, -1)

    def add_paths(self, paths: Iterable[str]) -> list[str]:
        """Append images that are not in the list yet; returns their paths."""
        new_paths = [path for path in dict.fromkeys(paths) if path not in self._entries]
        self.add([Entry(path, self._last + 1 + number) for number, path in enumerate(new_paths)])
        return new_paths

    def add(self, entries: Sequence[Entry], emit: bool = True) -> None:
        """Insert entries at their positions; existing ones are replaced. ``emit``: emit ``changed``."""
        existing = [entry for entry in entries if entry.path in self._entries]
        new_entries = [entry for entry in entries if entry.path not in self._entries]
        if existing:
            self.update(existing, emit)
        if not new_entries:
            return
        at_end = min(entry.position for entry in new_entries) > self._last
        self._last = max(self._last, *(entry.position for entry in new_entries))
        visible = [entry.path for entry in new_entries if self._filter is None or self._filter(entry)]
        if at_end and visible:
            first = len(self._visible_paths)
            self.beginInsertRows(QModelIndex(), first, first + len(visible) - 1)
            self._store_entries(new_entries)
            self._visible_paths += visible
            self._rows.update((path, first + number) for number, path in enumerate(visible))
            self.endInsertRows()
        elif at_end:
            self._store_entries(new_entries)
        else:
            self.beginResetModel()
            self._store_entries(new_entries)
            order: list[tuple[int, str]] = [(self._entries[path].position, path) for path in self._visible_paths]
            for path in visible:
                insort(order, (self._entries[path].position, path))
            self._set_visible([path for _, path in order])
            self.endResetModel()
        if emit:
            self.changed.emit(new_entries)
        self.counts_changed.emit()

    def _store_entries(self, entries: Sequence[Entry]) -> None:
        self._entries.update((entry.path, entry) for entry in entries)

    def update(self, entries: Sequence[Entry], emit: bool = True) -> None:
        """Replace the entries of listed images; images that are not in the list are ignored."""
        changed = [entry for entry in entries if self._entries.get(entry.path, entry) != entry]
        if not changed:
            return
        self._store_entries(changed)
        rows = [self._rows[entry.path] for entry in changed if entry.path in self._rows]
        if rows:
            self.dataChanged.emit(self.index(min(rows), 0), self.index(max(rows), self.columnCount() - 1))
        if emit:
            self.changed.emit(changed)
        self.counts_changed.emit()

    def remove(self, paths: Iterable[str]) -> None:
        """Remove images from the list."""
        removed = {path for path in paths if path in self._entries}
        if not removed:
            return
        self.beginResetModel()
        for path in removed:
            del self._entries[path]
        self._set_visible([path for path in self._visible_paths if path not in removed])
        self.endResetModel()
        self.removed.emit(sorted(removed))
        self.counts_changed.emit()

    def _set_visible(self, paths: list[str]) -> None:
        self._visible_paths = paths
        self._rows = {path: row for row, path in enumerate(paths)}

    def set_filter(self, passes: Callable[[Entry], bool] | None) -> None:
        """Show only entries that pass; None shows everything."""
        self.beginResetModel()
        self._filter = passes
        self._set_visible([entry.path for entry in self.entries() if passes is None or passes(entry)])
        self.endResetModel()
        self.counts_changed.emit()

    def set_compares(self, compares: bool) -> None:
        """Show or hide the second model's column."""
        if compares != self.compares:
            self.beginResetModel()
            self.compares = compares
            self.endResetModel()

    # --- overrides of Qt's methods

    def rowCount(self, parent: _Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self._visible_paths)

    def columnCount(self, parent: _Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else (4 if self.compares else 3)

    def heading(self, column: int, role: int) -> object:
        if not 0 <= column < len(_TITLES):
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return _TITLES[column]
        if role == Qt.ItemDataRole.ToolTipRole:
            return _TIPS[column]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if column == SCORE else Qt.AlignmentFlag.AlignLeft
            return side | Qt.AlignmentFlag.AlignVCenter
        return None

    def data(self, index: _Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> object:
        entry = self._entries[self._visible_paths[index.row()]]
        if role == ENTRY_ROLE:
            return entry
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return self._text(entry, index.column())
        if role == Qt.ItemDataRole.ToolTipRole:
            text = entry.path if index.column() == IMAGE else self._text(entry, index.column()) or entry.error
            return plain_tip(text)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return self._spoken(entry, index.column())
        return None

    def _text(self, entry: Entry, column: int) -> str:
        if column == IMAGE:
            return entry.name
        if column == CAPTION:
            return entry.text
        if column == SCORE:
            candidate = entry.candidate()
            return fixed(candidate.score) if candidate is not None and candidate.score is not None else ""
        best = entry.captions["b"].best if "b" in entry.captions else None
        return best.text if best is not None else ""

    def _spoken(self, entry: Entry, column: int) -> str:
        if column != CAPTION:
            return self._text(entry, column)
        state_text = f"{entry.name}: {STATE_TEXTS[entry.state]}"
        return f"{state_text}. {entry.text or entry.error}" if entry.text or entry.error else state_text

    def setData(self, index: _Index, value: Any, role: int = int(Qt.ItemDataRole.EditRole)) -> bool:
        """Emit the typed text; the panel applies it as one undo step."""
        if role != Qt.ItemDataRole.EditRole or index.column() != CAPTION:
            return False
        self.edit_requested.emit(self._visible_paths[index.row()], " ".join(str(value).split()))
        return True

    def flags(self, index: _Index) -> Qt.ItemFlag:
        return _EDITABLE if index.isValid() and index.column() == CAPTION else _FLAGS

    def mimeTypes(self) -> list[str]:
        return ["text/uri-list", "text/plain"]

    def mimeData(self, indexes: Sequence[QModelIndex]) -> QMimeData:
        """The files and captions of dragged rows."""
        return files_and_captions(self.entry_at(row) for row in sorted({index.row() for index in indexes}))


def files_and_captions(entries: Iterable[Entry]) -> QMimeData:
    """Entries for the clipboard or a drag: the files, and the captions as text, one per line."""
    entries, data = list(entries), QMimeData()
    data.setUrls([QUrl.fromLocalFile(entry.path) for entry in entries])
    data.setText("\n".join(entry.text for entry in entries))
    return data
