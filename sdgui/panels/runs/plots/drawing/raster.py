"""Many curves at once as one antialiased picture, by sums over columns of pixels instead of a path for each curve.

Painting a hundred antialiased paths of a thousand points takes Qt seconds. Here each curve gives each column a box of
coverage; boxes are added as differences along y and summed up once, for all curves together. Where curves cross,
their colours mix by what each covers. No Qt: the result is an array of pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint32]

_PARTS = 64  # of a pixel that coverage is counted in
_BITS = 26  # two sums share a double: below 2**26 both, and so exact
_MASK = (1 << _BITS) - 1


def raster(low: Floats, high: Floats, colors: NDArray[np.integer], height: int, thickness: float) -> Pixels:
    """(height, columns) premultiplied ARGB of N curves.

    ``low``, ``high`` (N, columns): where each curve reaches in pixels from the top, nan for nowhere; ``colors`` (N, 3):
    red, green, blue from 0 to 255; ``thickness`` of lines in pixels. At most some thousand curves.
    """
    columns = low.shape[1]
    size = columns * (height + 2)
    places, changes = _differences(low, high, height, thickness)
    red, green, blue = (colors[:, channel].astype(np.float64) for channel in range(3))
    first = _summed(places, changes, red * (1 << _BITS) + green, size)
    second = _summed(places, changes, blue * (1 << _BITS) + 1.0, size)
    return _pixels(first, second, columns, height)


def _differences(
    low: Floats, high: Floats, height: int, thickness: float
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(4, N, columns): where coverage begins and ends in each column of each curve, and how it changes there."""
    upper, lower = low.astype(np.float32), high.astype(np.float32)  # finer than a part of a pixel, and half the memory
    middle = (upper + lower) * np.float32(0.5)
    half = _half_length(lower - upper, thickness)
    ends = np.stack([middle - half, middle + half])
    np.clip(ends, 0, height, out=ends)
    ends[np.isnan(ends)] = 0.0  # begins and ends at one place: nothing
    at = (ends * np.float32(_PARTS)).astype(np.int32)
    into = at & (_PARTS - 1)
    at >>= _PARTS.bit_length() - 1
    at += np.arange(low.shape[1], dtype=np.int32) * (height + 2)
    places = np.concatenate([at, at + 1])
    changes = np.concatenate([_PARTS - into, into])
    changes[1::2] *= -1
    return places, changes


def _half_length(rise: NDArray[np.float32], thickness: float) -> NDArray[np.float32]:
    """Half of what a line covers of a column: its thickness across, which is more along y the steeper it is."""
    thick = np.float32(thickness)
    length = np.where(rise < 2 * thick, thick * np.sqrt(1 + rise * rise), rise + thick)
    return (length * np.float32(0.5)).astype(np.float32)


def _summed(places: NDArray[np.int32], changes: NDArray[np.int32], color: Floats, size: int) -> NDArray[np.int64]:
    weights = changes * color[:, None]
    counted = np.bincount(places.ravel(), weights.ravel(), size)[:size]
    return np.cumsum(counted, out=counted).astype(np.int64)


def _pixels(first: NDArray[np.int64], second: NDArray[np.int64], columns: int, height: int) -> Pixels:
    """Colours weighted by coverage, opaque where a pixel is covered whole."""
    pixels = np.zeros(len(first), np.uint32)
    seen = np.flatnonzero(second)
    first, second = first[seen], second[seen]
    covered = (second & _MASK).astype(np.float32)
    alpha = np.minimum(covered * np.float32(255 / _PARTS), np.float32(255))
    scale = alpha / (255 * np.maximum(covered, 1))
    made = alpha.astype(np.uint32) << 24
    made |= ((first >> _BITS) * scale).astype(np.uint32) << 16
    made |= ((first & _MASK) * scale).astype(np.uint32) << 8
    made |= ((second >> _BITS) * scale).astype(np.uint32)
    pixels[seen] = made
    return np.ascontiguousarray(pixels.reshape(columns, height + 2)[:, :height].T)
