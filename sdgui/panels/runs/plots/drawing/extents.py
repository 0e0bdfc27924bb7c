"""The vertical extent of a curve in each column of pixels, from a pyramid of minima and maxima. No Qt.

Flow: ``Series`` creates ``Extents``; ``PlotCurves`` looks up the columns in view and ``raster`` paints them. A column's
extent covers every point in the column, so that no spike is lost, however many points share a column.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_LEVEL_FACTOR = 16  # entries of a level per block of the next, coarser level
_MIN_BLOCKS = 4  # blocks per column; with fewer, a finer level is used
_MAX_COARSEST_BLOCKS = 4096  # a level with at most this many blocks has no coarser level above it


class Extents:
    """The vertical extents of a curve. ``x`` ascends; nan in ``y`` leaves a gap."""

    def __init__(self, x: Floats, y: Floats) -> None:
        # per level: x of each block's start, minimum, maximum
        self._levels: list[tuple[Floats, Floats, Floats]] = [(x, y, y)]
        while len(self._levels[-1][0]) > _MAX_COARSEST_BLOCKS:
            above, low, high = self._levels[-1]
            starts = np.arange(0, len(above), _LEVEL_FACTOR)
            self._levels.append((above[starts], np.fmin.reduceat(low, starts), np.fmax.reduceat(high, starts)))

    def columns(self, low: float, high: float, columns: int) -> tuple[Floats, Floats]:
        """Minimum and maximum of the line in each column from ``low`` to ``high``, (columns,); nan without a line.

        A line that crosses a column without having a point in it counts too.
        """
        level = self._level(low, high, columns)
        x, lowest, highest = self._levels[level]
        if len(x) == 0:
            return np.full(columns, np.nan), np.full(columns, np.nan)
        edges = np.linspace(low, high, columns + 1)
        starts = np.searchsorted(x, edges)  # first block of each column
        crossing = np.interp(edges, x, lowest, left=np.nan, right=np.nan)  # y of the line at each edge
        if level and starts[0]:  # the previous block has points in the first column
            starts = np.concatenate(([starts[0] - 1], starts[1:]))
        inner_low = _parts(np.fmin, lowest, starts)
        # with at most one point per column, both extremes are equal
        inner_high = inner_low if level == 0 and (starts[1:] - starts[:-1] <= 1).all() else None
        if inner_high is None:
            inner_high = _parts(np.fmax, highest, starts)
        if level:
            crossing = _joined(inner_low, inner_high, crossing)
        line_low = np.fmin(np.fmin(inner_low, crossing[:-1]), crossing[1:])
        line_high = np.fmax(np.fmax(inner_high, crossing[:-1]), crossing[1:])
        return line_low, line_high

    def _level(self, low: float, high: float, columns: int) -> int:
        """The coarsest level with enough blocks in view."""
        x = self._levels[0][0]
        points = int(x.searchsorted(high)) - int(x.searchsorted(low))
        level = 0
        while level + 1 < len(self._levels) and points / _LEVEL_FACTOR ** (level + 1) >= _MIN_BLOCKS * columns:
            level += 1
        return level


def _parts(extreme: np.ufunc, values: Floats, starts: NDArray[np.intp]) -> Floats:
    """``extreme`` of the values from each start up to the next start; nan if there are none."""
    if starts[-1] == len(values):  # reduceat needs valid start indices
        values, starts = np.append(values[starts[0] :], np.nan), starts - starts[0]
    extremes: Floats = extreme.reduceat(values[: starts[-1] + 1], starts)[:-1]
    extremes[starts[1:] == starts[:-1]] = np.nan
    return extremes


def _joined(low: Floats, high: Floats, crossing: Floats) -> Floats:
    """Where the lines of neighbouring columns meet: within both extents, or half-way between the nearer ends."""
    lowest, highest = np.fmax(low[:-1], low[1:]), np.fmin(high[:-1], high[1:])
    middle = crossing.copy()
    middle[1:-1] = np.where(lowest > highest, (lowest + highest) / 2, np.clip(crossing[1:-1], lowest, highest))
    return middle
