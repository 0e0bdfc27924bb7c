"""The rows that the gallery shows, and their items, created in batches so that large sources do not block.

Flow: `SourceRows` and a `Filter` -> **ShownRows** -> gallery.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from itertools import islice

from PySide6.QtCore import QObject, QTimer

from sdgui.panels.data.images import item_of
from sdgui.panels.data.model import Filter, SourceRows
from sdgui.widgets.gallery.gallery import Gallery, GalleryItem

_FREEZES = 10_000  # number of rows after which new ones are excluded from Python's garbage collection
_MANY = 5_000  # rows that are not even noted in the turn in which they change
_AT_ONCE = 250  # rows whose items are made in one turn of the event loop


class ShownRows(QObject):
    """``numbers``: of the rows in the gallery, in its order."""

    def __init__(self, gallery: Gallery, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._gallery = gallery
        self._rows = SourceRows()
        self._filter = Filter()
        self._items: list[GalleryItem] = []  # of every row
        self._stale: dict[int, None] = {}  # rows whose items must be recreated, in order
        self._coming: list[Sequence[int]] = []  # large batches that wait to be added to ``_stale``
        self._places: dict[int, int] = {}  # row -> index in the gallery, made when it is needed
        self._renewing = QTimer(self, singleShot=True, interval=0)
        self._renewing.timeout.connect(self._renew_some)
        self.numbers: list[int] = []

    def begin(self, rows: SourceRows) -> None:
        """Show ``rows``, which come later."""
        self._rows, self._filter, self._items, self.numbers = rows, Filter(), [], []
        self._stale.clear()
        self._coming.clear()
        self._places.clear()
        self._gallery.set_items([])

    def add(self, added: range) -> None:
        """Add new rows that match the filter."""
        self._places.clear()
        self._items += [item_of(self._rows, row) for row in added]
        if added.start // _FREEZES < added.stop // _FREEZES:
            gc.freeze()  # they hold no cycles, and the collector would walk all of them again and again
        numbers = self._rows.filtered(self._filter, added)
        self.numbers += numbers
        self._gallery.append([self._items[row] for row in numbers])

    def filter(self, row_filter: Filter) -> None:
        """Show the rows that ``row_filter`` asks for."""
        self._filter = row_filter
        self._places.clear()
        self.numbers = self._rows.filtered(row_filter)
        self._gallery.set_items([self._items[row] for row in self.numbers])

    def chosen(self) -> list[int]:
        """Numbers of the selected rows."""
        return [self.numbers[index] for index in self._gallery.selected()]

    def renew(self, rows: Sequence[int]) -> None:
        """Update ``rows``: visible ones immediately, the others between other events."""
        if self._filter.subset in ("kept", "excluded"):
            self.filter(self._filter)
        seen = self._gallery.visible_rows()
        for index, row in enumerate(self.numbers[seen.start : seen.stop], seen.start):
            self._items[row] = item_of(self._rows, row)
            self._gallery.replace(index, self._items[row])
        if len(rows) > _MANY:
            self._coming.append(rows)
            self._renewing.start()
        else:
            self._stale.update(dict.fromkeys(rows))
            self._renew_some()

    def _renew_some(self) -> None:
        if self._coming:  # in a separate turn of the event loop
            self._stale.update(dict.fromkeys(self._coming.pop(0)))
        else:
            self._renew(list(islice(self._stale, _AT_ONCE)))
        if self._stale or self._coming:
            self._renewing.start()

    def _renew(self, rows: Sequence[int]) -> None:
        if not self._places:
            self._places = {row: index for index, row in enumerate(self.numbers)}
        for row in rows:
            del self._stale[row]
            self._items[row] = item_of(self._rows, row)
            if (index := self._places.get(row)) is not None:
                self._gallery.replace(index, self._items[row])
