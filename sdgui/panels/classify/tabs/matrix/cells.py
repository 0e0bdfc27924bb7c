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
        strength = self._strengths()
        self._weakest_first = np.argsort(strength, kind="stable")  # 16-bit integers, so NumPy uses radix sort
        # level and display position (row, column) of each cell, weakest cells first
        self._level = np.where(self.true == self.predicted, strength, strength + np.uint16(COLOUR_LEVELS))[
            self._weakest_first
        ]
        self._y, self._x = self._sorted_positions(self.true), self._sorted_positions(self.predicted)
        self.order: Integers = np.arange(size)
        self._display_position: Integers = self.order

    def _strengths(self) -> Levels:
        """The colour level of each cell, 1 to 255, (N,)."""
        strength = _MIN_STRENGTH + (1 - _MIN_STRENGTH) * np.sqrt(self.share)
        return np.clip(np.rint(strength * (COLOUR_LEVELS - 1)), 1, COLOUR_LEVELS - 1).astype(np.uint16)

    def _sorted_positions(self, classes: Integers) -> NDArray[np.int32]:
        """``classes`` (N,) of the cells in the order of drawing: weakest first, so that strong cells are on top."""
        return classes[self._weakest_first].astype(np.int32)

    def set_order(self, order: Sequence[int] | Integers) -> None:
        """Set the display order. Raises ValueError if ``order`` is not a permutation of all classes."""
        order = np.asarray(order, dtype=np.int64)
        if len(order) != self.size or not np.array_equal(np.sort(order), np.arange(self.size)):
            raise ValueError("the order must contain every class exactly once")
        self.order = order
        self._display_position = np.empty(self.size, dtype=np.int64)
        self._display_position[order] = np.arange(self.size)
        self._y, self._x = (
            self._sorted_positions(self._display_position[self.true]),
            self._sorted_positions(self._display_position[self.predicted]),
        )

    def position(self, index: int) -> int:
        """Position of a class in the display."""
        return int(self._display_position[index])

    def count_at(self, true: int, predicted: int) -> int:
        """The number of images in the cell (``true``, ``predicted``)."""
        key = true * self.size + predicted
        index = int(np.searchsorted(self._keys, key))
        return int(self._counts[index]) if index < len(self._keys) and self._keys[index] == key else 0

    def cells_in(self, rows: range, columns: range) -> list[tuple[int, int, int]]:
        """(row, column, count) of the non-empty cells in a part of the display."""
        y, x = self._display_position[self.true], self._display_position[self.predicted]
        inside = (y >= rows.start) & (y < rows.stop) & (x >= columns.start) & (x < columns.stop)
        indices = np.flatnonzero(inside)
        return list(zip(y[indices].tolist(), x[indices].tolist(), self.count[indices].tolist(), strict=True))

    def levels(
        self, left: float, top: float, scale: float, width: int, height: int, mistakes_only: bool = False
    ) -> Levels:
        """Levels (H, W), one per pixel, of the part from cell (``left``, ``top``) on at ``scale`` pixels per cell.

        0: empty, 1 to 255: diagonal, from 257: mistakes. If several cells share a pixel, the strongest is shown.
        """
        y, x, level = self._y, self._x, self._level
        if mistakes_only:
            is_mistake = y != x
            y, x, level = y[is_mistake], x[is_mistake], level[is_mistake]
        if scale >= 1:
            return self._enlarged(y, x, level, left, top, scale, width, height)
        # The pixel of each class; classes outside the image share an extra pixel, which is cut off.
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
        """The levels (H, W) at one or more pixels per cell."""
        rows = np.floor(top + (np.arange(height) + 0.5) / scale).astype(np.int64)  # (H,) which cell each pixel shows
        columns = np.floor(left + (np.arange(width) + 0.5) / scale).astype(np.int64)
        first_row, first_column = (int(rows[0]), int(columns[0])) if height and width else (0, 0)
        grid = np.zeros((int(rows[-1]) - first_row + 1, int(columns[-1]) - first_column + 1), dtype=np.uint16)
        inside = (y >= first_row) & (y <= rows[-1]) & (x >= first_column) & (x <= columns[-1])
        grid[y[inside] - first_row, x[inside] - first_column] = level[inside]
        return grid[np.ix_(rows - first_row, columns - first_column)]
