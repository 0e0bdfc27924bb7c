"""Where the images of a map lie close together: lines that enclose shares of them, from a smoothed histogram. No Qt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
SHARES = (0.9, 0.7, 0.5, 0.25)  # of the images, from the outer line to the innermost
MIN_POINTS = 50  # with fewer, there are no lines
_BINS = 72  # bins in each direction
_SIGMA = 1.6  # standard deviation of the smoothing, in bins
_MARGIN = 5  # empty bins at each side, in which lines close


@dataclass(frozen=True)
class Density:
    """``grid`` (_BINS, _BINS): the smoothed number of images per bin; ``levels``: its value at each line of ``SHARES``.

    ``origin`` (2,): the centre of the first bin; ``step`` (2,): the width and height of a bin.
    """

    grid: Floats
    origin: Floats
    step: Floats
    levels: tuple[float, ...]


def density(positions: Floats) -> Density | None:
    """The density of ``positions`` (N, 2); None if there are fewer than ``MIN_POINTS`` or they lie on a line."""
    if len(positions) < MIN_POINTS or not np.ptp(positions, axis=0).all():
        return None
    step = np.ptp(positions, axis=0) / (_BINS - 2 * _MARGIN - 1)
    origin = positions.min(0) - _MARGIN * step
    bins = np.rint((positions - origin) / step).astype(np.int64)
    counts = np.zeros((_BINS, _BINS))
    np.add.at(counts, (bins[:, 0], bins[:, 1]), 1.0)
    offsets = np.arange(_BINS)[:, None] - np.arange(_BINS)
    kernel = np.exp(-0.5 * (offsets / _SIGMA) ** 2)
    grid = kernel @ counts @ kernel.T
    ascending = np.sort(grid[bins[:, 0], bins[:, 1]])
    levels = [float(ascending[min(int((1 - share) * len(ascending)), len(ascending) - 1)]) for share in SHARES]
    return Density(grid, origin, step, tuple(levels))
