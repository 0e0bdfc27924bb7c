"""The vertical extent of a curve in each column of pixels, from a pyramid of minima and maxima. No Qt.

Flow: ``Series`` creates ``Extents``; ``PlotCurves`` looks up the columns in view and ``raster`` paints them. A column's
extent covers every point in the column, so that no spike is lost, however many points share a column.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_LEVEL_FACTOR = 16  # entries of a level per block of the next, coarser level
_MIN_BLOCKS = 4  # blocks per column; with fewer, a finer level is used
_MAX_COARSEST_BLOCKS = 4096  # a level with at most this many blocks has no coarser level above it


class Extents:
    """The vertical extents of a curve. ``x`` ascends; nan in ``y`` leaves a gap."""

    def __init__(self, x: Floats, y: Floats) -> None:
        self._spacing = _spacing(x)
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
        # starts: first block of each column; crossing: y of the line at each edge between columns
        if self._spacing is not None:
            step = self._spacing * _LEVEL_FACTOR**level
            starts, before, share = _even_points(float(x[0]), step, len(x), low, high, columns)
            crossing = lowest[before] + share * (lowest[np.minimum(before + 1, len(x) - 1)] - lowest[before])
        else:
            edges = np.linspace(low, high, columns + 1)
            starts = np.searchsorted(x, edges)
            crossing = np.interp(edges, x, lowest, left=np.nan, right=np.nan)
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


@lru_cache(maxsize=32)  # a hundred runs report at the same steps
def _even_points(
    first: float, step: float, n: int, low: float, high: float, columns: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """For n evenly spaced points and the columns + 1 edges of columns, three arrays of shape (columns + 1,).

    The first point at or after each edge; the last point at or before it; how far the edge lies beyond that point, as a
    fraction of ``step``, nan for edges outside the range of points.
    """
    places = (np.linspace(low, high, columns + 1) - first) / step
    starts = np.clip(np.ceil(places), 0, n).astype(np.intp)
    before = np.clip(np.floor(places), 0, n - 1).astype(np.intp)
    share = np.where((places < 0) | (places > n - 1), np.nan, places - before)
    return starts, before, share


def _spacing(x: Floats) -> float | None:
    """The distance between evenly spaced points; None if they are not evenly spaced."""
    if len(x) < 3:
        return None
    step = float(x[-1] - x[0]) / (len(x) - 1)
    even = step > 0 and bool(np.abs(np.diff(x) - step).max() <= 1e-9 * step)
    return step if even else None


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
