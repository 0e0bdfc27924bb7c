"""The cells of a confusion matrix as pixels; sparse, so that any number of classes can be drawn.

Flow: counts by (true, predicted) -> ``ConfusionCells`` (shares of each true class, in the order of the display) ->
``levels`` of a part at a size -> ``ConfusionMatrix`` colours and shows them. No Qt.

Legend: K classes, N cells that are not empty, H and W of the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Integers = NDArray[np.int64]
Levels = NDArray[np.uint16]

STEPS = 256  # levels of a colour: 0 is empty, 1 to 255 a share of the true class
_FAINTEST = 0.18  # strength of a single mistake among many, which must remain visible


class ConfusionCells:
    """``order``: the classes in display order."""

    def __init__(self, size: int, true: ArrayLike, predicted: ArrayLike, count: ArrayLike) -> None:
        """``size`` K; three arrays (N,) of the cells that are not empty. ValueError when they do not fit."""
        self.size = size
        self.true, self.predicted, self.count = (
            np.asarray(values, dtype=np.int64) for values in (true, predicted, count)
        )
        if not len(self.true) == len(self.predicted) == len(self.count):
            raise ValueError("each cell needs a true class, a predicted class and a count")
        for values in (self.true, self.predicted):
            if len(values) and not 0 <= values.min() <= values.max() < size:
                raise ValueError(f"classes of cells must lie from 0 to {size - 1}")
        self.totals: Integers = np.bincount(self.true, self.count, minlength=size).astype(np.int64)  # (K,)
        self.share = self.count / np.maximum(1, self.totals)[self.true]  # (N,)
        keys = self.true * size + self.predicted
        by_key = None if len(keys) < 2 or (keys[1:] > keys[:-1]).all() else np.argsort(keys, kind="stable")
        self._keys, self._counts = (keys, self.count) if by_key is None else (keys[by_key], self.count[by_key])
        strength = self._strengths()
        self._weakest_first = np.argsort(strength, kind="stable")  # of 16 bits: sorted by radix
        self._level = np.where(self.true == self.predicted, strength, strength + np.uint16(STEPS))[self._weakest_first]
        self._y, self._x = self._sorted_positions(self.true), self._sorted_positions(self.predicted)
        self.order: Integers = np.arange(size)
        self._place: Integers = self.order

    def _strengths(self) -> Levels:
        """1 to 255 for each cell (N,)."""
        strength = _FAINTEST + (1 - _FAINTEST) * np.sqrt(self.share)
        return np.clip(np.rint(strength * (STEPS - 1)), 1, STEPS - 1).astype(np.uint16)

    def _sorted_positions(self, classes: Integers) -> NDArray[np.int32]:
        """Each cell's position along one axis, weakest cells first: those drawn last stay visible."""
        return classes[self._weakest_first].astype(np.int32)

    def set_order(self, order: Sequence[int] | Integers) -> None:
        """Set the display order; ValueError if it is not a permutation of all classes."""
        order = np.asarray(order, dtype=np.int64)
        if len(order) != self.size or not np.array_equal(np.sort(order), np.arange(self.size)):
            raise ValueError("an order names every class once")
        self.order = order
        self._place = np.empty(self.size, dtype=np.int64)
        self._place[order] = np.arange(self.size)
        self._y, self._x = (
            self._sorted_positions(self._place[self.true]),
            self._sorted_positions(self._place[self.predicted]),
        )

    def position(self, index: int) -> int:
        """Position of a class in the display."""
        return int(self._place[index])

    def count_at(self, true: int, predicted: int) -> int:
        """Images in one cell, by classes."""
        key = true * self.size + predicted
        index = int(np.searchsorted(self._keys, key))
        return int(self._counts[index]) if index < len(self._keys) and self._keys[index] == key else 0

    def cells_in(self, rows: range, columns: range) -> list[tuple[int, int, int]]:
        """``row, column, count`` of the cells that are not empty in a part of the display."""
        y, x = self._place[self.true], self._place[self.predicted]
        inside = (y >= rows.start) & (y < rows.stop) & (x >= columns.start) & (x < columns.stop)
        indices = np.flatnonzero(inside)
        return list(zip(y[indices].tolist(), x[indices].tolist(), self.count[indices].tolist(), strict=True))

    def levels(
        self, left: float, top: float, scale: float, width: int, height: int, mistakes_only: bool = False
    ) -> Levels:
        """Levels (H, W), one per pixel, of the part from cell (``left``, ``top``) on at ``scale`` pixels per cell.

        0 is empty, up to 255 the diagonal, from 257 on mistakes. Below one pixel per cell, the strongest one is shown.
        """
        y, x, level = self._y, self._x, self._level
        if mistakes_only:
            off = y != x
            y, x, level = y[off], x[off], level[off]
        if scale >= 1:
            return self._enlarged(y, x, level, left, top, scale, width, height)
        # The pixel of each class; classes outside of the image go to an extra pixel, which is cut off.
        positions = np.arange(self.size)
        rows, columns = np.floor((positions - top) * scale), np.floor((positions - left) * scale)
        rows[(rows < 0) | (rows >= height)] = height
        columns[(columns < 0) | (columns >= width)] = width
        image = np.zeros((height + 1, width + 1), dtype=np.uint16)
        flat = (rows.astype(np.int32) * np.int32(width + 1))[y] + columns.astype(np.int32)[x]
        image.reshape(-1)[flat] = level
        return image[:height, :width]

    def _enlarged(
        self,
        y: NDArray[np.int32],
        x: NDArray[np.int32],
        level: Levels,
        left: float,
        top: float,
        scale: float,
        width: int,
        height: int,
    ) -> Levels:
        """The cells in view, each over as many pixels as it takes."""
        rows = np.floor(top + (np.arange(height) + 0.5) / scale).astype(np.int64)  # (H,) which cell each pixel shows
        columns = np.floor(left + (np.arange(width) + 0.5) / scale).astype(np.int64)
        first_row, first_column = (int(rows[0]), int(columns[0])) if height and width else (0, 0)
        grid = np.zeros((int(rows[-1]) - first_row + 1, int(columns[-1]) - first_column + 1), dtype=np.uint16)
        inside = (y >= first_row) & (y <= rows[-1]) & (x >= first_column) & (x <= columns[-1])
        grid[y[inside] - first_row, x[inside] - first_column] = level[inside]
        return grid[np.ix_(rows - first_row, columns - first_column)]
