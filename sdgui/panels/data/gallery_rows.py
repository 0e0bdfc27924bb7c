"""The rows that the gallery shows, and their items, created in batches so that large sources do not block.

Flow: `SourceRows` and a `Filter` -> **GalleryRows** -> gallery.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from itertools import islice

from PySide6.QtCore import QObject, QTimer

from sdgui.panels.data.images import item_of
from sdgui.panels.data.model import Filter, SourceRows
from sdgui.widgets.gallery.gallery import Gallery, GalleryItem

_FREEZE_INTERVAL = 10_000  # after so many new rows, they are excluded from Python's garbage collection
_ROWS_PER_UPDATE = 250  # items created in one turn of the event loop


class GalleryRows(QObject):
    """The gallery's content. ``numbers``: the row numbers in the order of the gallery."""

    def __init__(self, gallery: Gallery, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._gallery = gallery
        self._rows = SourceRows()
        self._filter = Filter()
        self._items: list[GalleryItem] = []  # item of every row
        self._stale: dict[int, None] = {}  # rows whose items must be recreated, in order
        self._index_of_row: dict[int, int] = {}  # row -> index in the gallery, built on demand
        self._renew_timer = QTimer(self, singleShot=True, interval=0)
        self._renew_timer.timeout.connect(self._renew_some)
        self.numbers: list[int] = []

    def begin(self, rows: SourceRows) -> None:
        """Start showing ``rows``, which are still empty."""
        self._rows, self._filter, self._items, self.numbers = rows, Filter(), [], []
        self._stale.clear()
        self._index_of_row.clear()
        self._gallery.set_items([])

    def add(self, added: range) -> None:
        """Add new rows that match the filter."""
        self._index_of_row.clear()
        self._items += [item_of(self._rows, row) for row in added]
        if added.start // _FREEZE_INTERVAL < added.stop // _FREEZE_INTERVAL:
            gc.freeze()  # items have no cycles, and the collector would traverse all of them again and again
        numbers = self._rows.filtered(self._filter, added)
        self.numbers += numbers
        self._gallery.append([self._items[row] for row in numbers])

    def filter(self, row_filter: Filter) -> None:
        """Show the rows that pass ``row_filter``."""
        self._filter = row_filter
        self._index_of_row.clear()
        self.numbers = self._rows.filtered(row_filter)
        self._gallery.set_items([self._items[row] for row in self.numbers])

    def chosen(self) -> list[int]:
        """Numbers of the selected rows."""
        return [self.numbers[index] for index in self._gallery.selected()]

    def renew(self, rows: Sequence[int]) -> None:
        """Recreate the items of ``rows``: visible ones immediately, the others between other events."""
        if self._filter.subset in ("kept", "excluded"):
            self.filter(self._filter)
        seen = self._gallery.visible_rows()
        for index, row in enumerate(self.numbers[seen.start : seen.stop], seen.start):
            self._items[row] = item_of(self._rows, row)
            self._gallery.replace(index, self._items[row])
        self._stale.update(dict.fromkeys(rows))
        self._renew_some()

    def _renew_some(self) -> None:
        if not self._index_of_row:
            self._index_of_row = {row: index for index, row in enumerate(self.numbers)}
        for row in list(islice(self._stale, _ROWS_PER_UPDATE)):
            del self._stale[row]
            self._items[row] = item_of(self._rows, row)
            if (index := self._index_of_row.get(row)) is not None:
                self._gallery.replace(index, self._items[row])
        if self._stale:
            self._renew_timer.start()
