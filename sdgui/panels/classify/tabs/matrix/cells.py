"""The cells of a confusion matrix as pixels; sparse, so that any number of classes can be drawn.

Flow: counts by (true, predicted) -> ``ConfusionCells`` (shares of each true class, in the order of the display) ->
colour ``levels`` of the visible part -> ``ConfusionMatrix`` colours and shows the levels. No Qt.

Dimensions: K classes, N non-empty cells, H height and W width of the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Integers = NDArray[np.int64]
Levels = NDArray[np.uint16]

COLOUR_LEVELS = 256  # colour levels: 0 for empty cells, 1 to 255 for the share of the true class
_MIN_STRENGTH = 0.18  # keeps a single mistake among many visible


class ConfusionCells:
    """The cells as arrays. ``order``: the classes in display order."""

    def __init__(self, size: int, true: ArrayLike, predicted: ArrayLike, count: ArrayLike) -> None:
        """``size``: K; the arrays (N,) describe the non-empty cells. Raises ValueError if inconsistent."""
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
        # the colour level of each cell, 1 to 255, (N,); 16-bit integers, so NumPy uses radix sort
        strength = np.rint((_MIN_STRENGTH + (1 - _MIN_STRENGTH) * np.sqrt(self.share)) * (COLOUR_LEVELS - 1))
        levels = np.clip(strength, 1, COLOUR_LEVELS - 1).astype(np.uint16)
        # cells are drawn weakest first, so that strong cells are on top
        self._weakest_first = np.argsort(levels, kind="stable")
        levels[self.true != self.predicted] += np.uint16(COLOUR_LEVELS)
        self._level = levels[self._weakest_first]
        self.set_order(np.arange(size))

    def set_order(self, order: Sequence[int] | Integers) -> None:
        """Set the display order. Raises ValueError if ``order`` is not a permutation of all classes."""
        order = np.asarray(order, dtype=np.int64)
        if len(order) != self.size or not np.array_equal(np.sort(order), np.arange(self.size)):
            raise ValueError("the order must contain every class exactly once")
        self.order: Integers = order
        self.display_position: Integers = np.argsort(order)  # class -> row or column
        # the display row and column of each cell, weakest cells first
        rows, columns = (self.display_position[classes] for classes in (self.true, self.predicted))
        self._y, self._x = (values[self._weakest_first].astype(np.int32) for values in (rows, columns))

    def count_at(self, true: int, predicted: int) -> int:
        """The number of images in the cell (``true``, ``predicted``)."""
        key = true * self.size + predicted
        index = int(np.searchsorted(self._keys, key))
        return int(self._counts[index]) if index < len(self._keys) and self._keys[index] == key else 0

    def cells_in(self, rows: range, columns: range) -> list[tuple[int, int, int]]:
        """(row, column, count) of the non-empty cells in a part of the display."""
        y, x = self.display_position[self.true], self.display_position[self.predicted]
        inside = (y >= rows.start) & (y < rows.stop) & (x >= columns.start) & (x < columns.stop)
        indices = np.flatnonzero(inside)
        return list(zip(y[indices].tolist(), x[indices].tolist(), self.count[indices].tolist(), strict=True))

    def levels(self, left: float, top: float, scale: float, width: int, height: int, mistakes_only: bool) -> Levels:
        """Levels (H, W), one per pixel, of the part from cell (``left``, ``top``) on at ``scale`` pixels per cell.

        0: empty, 1 to 255: diagonal, from 257: mistakes. If several cells share a pixel, the strongest is shown.
        """
        y, x, level = self._y, self._x, self._level
        if mistakes_only:
            is_mistake = y != x
            y, x, level = y[is_mistake], x[is_mistake], level[is_mistake]
        if scale >= 1:  # each pixel shows one cell
            rows = np.floor(top + (np.arange(height) + 0.5) / scale).astype(np.int64)  # (H,)
            columns = np.floor(left + (np.arange(width) + 0.5) / scale).astype(np.int64)  # (W,)
            first_row, first_column = (int(rows[0]), int(columns[0])) if height and width else (0, 0)
            grid = np.zeros((int(rows[-1]) - first_row + 1, int(columns[-1]) - first_column + 1), dtype=np.uint16)
            inside = (y >= first_row) & (y <= rows[-1]) & (x >= first_column) & (x <= columns[-1])
            grid[y[inside] - first_row, x[inside] - first_column] = level[inside]
            return grid[np.ix_(rows - first_row, columns - first_column)]
        # The pixel of each class; classes outside the image share an extra pixel, which is cut off.
        positions = np.arange(self.size)
        rows, columns = np.floor((positions - top) * scale), np.floor((positions - left) * scale)
        rows[(rows < 0) | (rows >= height)] = height
        columns[(columns < 0) | (columns >= width)] = width
        image = np.zeros((height + 1, width + 1), dtype=np.uint16)
        flat = (rows.astype(np.int32) * np.int32(width + 1))[y] + columns.astype(np.int32)[x]
        image.reshape(-1)[flat] = level
        return image[:height, :width]
