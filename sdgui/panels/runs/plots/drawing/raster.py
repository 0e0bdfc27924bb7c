"""Renders many curves to one antialiased image, by sums over pixel columns instead of one path per curve.

Qt takes seconds to paint a hundred antialiased paths of a thousand points. Here each curve covers a box in each column;
boxes are stored as differences along y and summed once for all curves. Where curves cross, their colours are mixed in
proportion to their coverage. No Qt: the result is an array of pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint32]

_SUBPIXELS = 64  # per pixel, along y; coverage is counted in subpixels
_BITS = 26  # two sums share a double; both stay below 2**26 and are therefore exact
_MASK = (1 << _BITS) - 1


def raster(low: Floats, high: Floats, colors: NDArray[np.integer], height: int, thickness: float) -> Pixels:
    """Premultiplied ARGB of N curves, (height, columns).

    ``low``, ``high`` (N, columns): the extent of each curve in pixels from the top, nan if absent; ``colors`` (N, 3):
    red, green, blue from 0 to 255; ``thickness``: of lines, in pixels. At most a few thousand curves.
    """
    columns = low.shape[1]
    size = columns * (height + 2)
    end_pixels, offsets = _ends(low, high, height, thickness)
    starts, stretches = _stretches(end_pixels, size)
    red, green, blue = (colors[:, channel].astype(np.float64) for channel in range(3))
    red_green = _summed(stretches, offsets, red * (1 << _BITS) + green, len(starts))
    blue_coverage = _summed(stretches, offsets, blue * (1 << _BITS) + 1.0, len(starts))
    pixels = np.repeat(_mixed(red_green, blue_coverage), np.diff(starts, append=size))
    return np.ascontiguousarray(pixels.reshape(columns, height + 2)[:, :height].T)


def _ends(low: Floats, high: Floats, height: int, thickness: float) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The pixels where each curve's coverage of each column begins and ends, and the subpixel offsets in these pixels.

    Both (2, N, columns).
    """
    upper, lower = low.astype(np.float32), high.astype(np.float32)  # finer than a subpixel, with half the memory
    middle = (upper + lower) * np.float32(0.5)
    half = _half_length(lower - upper, thickness)
    ends = np.stack([middle - half, middle + half])
    np.clip(ends, 0, height, out=ends)
    ends[np.isnan(ends)] = 0.0  # begin equals end: no coverage
    end_pixels = (ends * np.float32(_SUBPIXELS)).astype(np.int32)
    offsets = end_pixels & (_SUBPIXELS - 1)
    end_pixels >>= _SUBPIXELS.bit_length() - 1
    end_pixels += np.arange(low.shape[1], dtype=np.int32) * (height + 2)
    return end_pixels, offsets


def _half_length(rise: NDArray[np.float32], thickness: float) -> NDArray[np.float32]:
    """Half the height that a line covers in a column; larger for steeper lines."""
    thick = np.float32(thickness)
    length = np.where(rise < 2 * thick, thick * np.sqrt(1 + rise * rise), rise + thick)
    return (length * np.float32(0.5)).astype(np.float32)


def _stretches(end_pixels: NDArray[np.int32], size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The start of each stretch of equally covered pixels, in column-major order, and the stretch of each end.

    A pixel that contains an end forms a stretch of its own.
    """
    starting = np.zeros(size, bool)
    starting[end_pixels] = True
    starting[1:] |= starting[:-1]
    starting[0] = True
    starts = np.flatnonzero(starting)
    stretch_at = np.empty(size, np.intp)  # only set where a stretch starts
    stretch_at[starts] = np.arange(len(starts))
    return starts, stretch_at[end_pixels]


def _summed(stretches: NDArray[np.intp], offsets: NDArray[np.int32], color: Floats, count: int) -> NDArray[np.int64]:
    """The sum over curves of coverage in subpixels times ``color`` (N,), for each of ``count`` stretches."""
    colors = np.stack([color, -color])[:, :, None]  # coverage begins, coverage ends
    flat = stretches.ravel()
    sums = np.bincount(flat, np.broadcast_to(_SUBPIXELS * colors, offsets.shape).ravel(), count)
    next_sums = np.bincount(flat, (offsets * colors).ravel(), count)  # what counts from the next pixel on
    sums -= next_sums
    sums[1:] += next_sums[:-1]
    return np.cumsum(sums, out=sums).astype(np.int64)


def _mixed(red_green: NDArray[np.int64], blue_coverage: NDArray[np.int64]) -> Pixels:
    """Colours weighted by coverage; fully covered pixels are opaque. Each argument contains two sums."""
    covered = (blue_coverage & _MASK).astype(np.float32)
    alpha = np.minimum(covered * np.float32(255 / _SUBPIXELS), np.float32(255))
    scale = alpha / (255 * np.maximum(covered, 1))
    mixed: Pixels = alpha.astype(np.uint32) << 24
    mixed |= ((red_green >> _BITS) * scale).astype(np.uint32) << 16
    mixed |= ((red_green & _MASK) * scale).astype(np.uint32) << 8
    mixed |= ((blue_coverage >> _BITS) * scale).astype(np.uint32)
    return mixed
