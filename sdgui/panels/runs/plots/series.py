"""The numbers of a curve: growing arrays, smoothed values, and what to draw of them in a given view.

Flow: ``PlotGrid`` appends points; ``PlotCurves`` gets the minimum and maximum in each pixel column, so that no spike is
lost at any zoom: from ``extents`` for the screen, and from ``points_in_view`` for exported files. No Qt widgets.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor

from sdgui.panels.runs.plots.drawing.extents import Extents, Floats
from sdgui.widgets.style.theme import mix, theme

XMode = Literal["step", "time"]

_MIN_DENSE_POINTS = 4000  # with more points in view, every pixel column shows points
_NEGLIGIBLE_WEIGHT = 1e-18  # smaller weights do not change a double


def pale(color: QColor) -> QColor:
    """The colour of the ancestors of a run with this colour."""
    return mix(color, theme().color("surface"), 0.5)


def decayed_sums(values: Floats, decay: float) -> Floats:
    """``out[t] = sum over j <= t of decay**j * values[t - j]``, in log2(n) vector passes and without overflow."""
    sums = values.copy()
    reach = 1
    while reach < len(sums) and (factor := decay**reach) > _NEGLIGIBLE_WEIGHT:
        sums[reach:] += factor * sums[:-reach]
        reach *= 2
    return sums


class Ema:
    """Debiased moving average as in TensorBoard; non-finite values are skipped and leave a gap."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self._total = 0.0
        self._count = 0

    def extend(self, values: Floats) -> Floats:
        """The average after each of ``values``, which continue the values of earlier calls."""
        out = np.full(len(values), np.nan)
        finite = np.isfinite(values)
        new_values = values[finite]
        if len(new_values) == 0:
            return out
        decay = np.zeros(len(new_values))  # weight ** 1, 2, …; only the non-negligible powers
        powers = min(
            len(new_values), 1 + int(np.log(_NEGLIGIBLE_WEIGHT) / np.log(self.weight)) if self.weight > 0 else 1
        )
        decay[:powers] = self.weight ** np.arange(1, powers + 1, dtype=np.float64)
        totals = (1.0 - self.weight) * decayed_sums(new_values, self.weight) + decay * self._total
        out[finite] = totals / (1.0 - self.weight**self._count * decay)
        self._total = float(totals[-1])
        self._count += len(new_values)
        return out


def column_peaks(x: Floats, y: Floats, low: float, high: float, columns: int) -> tuple[Floats, Floats]:
    """The points needed to draw ``y`` over ascending ``x`` between ``low`` and ``high`` exactly on ``columns`` pixels.

    Columns with many points keep minimum and maximum; one point beyond each end is kept so that lines leave the view.
    NaN is no value; a column with only NaN is a gap.
    """
    first = max(0, int(np.searchsorted(x, low, "left")) - 1)
    end = min(len(x), int(np.searchsorted(x, high, "right")) + 1)
    x, y = x[first:end], y[first:end]
    if len(x) <= 2 * columns:
        return x, y
    edges = np.linspace(low, high, columns + 1)
    starts = np.unique(np.concatenate(([0], np.searchsorted(x, edges))))
    starts = starts[starts < len(x)]
    ends = np.append(starts[1:], len(x)) - 1
    out_x, out_y = np.empty(2 * len(starts)), np.empty(2 * len(starts))
    out_x[0::2], out_x[1::2] = x[starts], x[ends]
    out_y[0::2], out_y[1::2] = np.fmin.reduceat(y, starts), np.fmax.reduceat(y, starts)
    return out_x, out_y


class Series:
    """A curve: ascending steps (equal steps are allowed), values, times if known, and smoothed values."""

    def __init__(
        self,
        key: str,
        name: str = "",
        color: int | QColor = 0,
        style: Qt.PenStyle = Qt.PenStyle.SolidLine,
        group: str = "",
        metric: str = "",
    ) -> None:
        self.key = key
        self.name = name or key
        self.color = color
        self.style = style
        self.group = group or key  # the legend shows and highlights a group as a whole
        self.metric = metric  # title of the metric, for plots of several metrics
        self.visible = True
        self.is_ancestral = False  # whether this is the paler curve of ancestors, up to the first point of the run
        self.band: tuple[Floats, Floats] | None = None  # interval of a mean: lower and upper ends
        self._size = 0
        self._buffers: dict[str, Floats] = {name: np.empty(0) for name in ("x", "y", "t", "finite", "smooth")}
        self._ema = Ema(0.0)
        self._extents: dict[tuple[XMode, bool, bool], Extents] = {}  # of the current points, by x mode, smooth, log
        self._seconds: Floats | None = None
        self._all_finite = True  # whether every value is finite

    def __len__(self) -> int:
        return self._size

    @property
    def steps(self) -> Floats:
        return self._buffers["x"][: self._size]

    @property
    def size_without_joint(self) -> int:
        """The number of points without the joint: the curve of ancestors ends in the first point of the run itself."""
        return max(0, self._size - self.is_ancestral)

    @property
    def values(self) -> Floats:
        """The raw values, including nan and inf."""
        return self._buffers["y"][: self._size]

    @property
    def times(self) -> Floats:
        """Seconds since the run started, (N,); negative for ancestors, nan if unknown."""
        return self._buffers["t"][: self._size]

    @property
    def smoothed(self) -> Floats:
        """The smoothed values; equal to the values at weight 0, with nan for non-finite values."""
        return self._buffers["smooth"][: self._size] if self._ema.weight > 0 else self._finite

    @property
    def _finite(self) -> Floats:
        return self._buffers["finite"][: self._size]

    def replace(self, x: ArrayLike, y: ArrayLike, times: ArrayLike | None = None) -> None:
        """Replace all points. Raises ValueError if the lengths differ."""
        self._size = 0
        self._extents.clear()
        self._seconds = None
        self._ema = Ema(self._ema.weight)
        self.append(x, y, times)

    def append(self, x: ArrayLike, y: ArrayLike, times: ArrayLike | None = None) -> None:
        """Append points, scalars or arrays. Raises ValueError if the lengths differ."""
        steps, values = _column(x), _column(y)
        seconds = np.full(len(steps), np.nan) if times is None else _column(times)
        if not len(steps) == len(values) == len(seconds):
            raise ValueError(f"curve {self.key!r}: {len(steps)} steps, {len(values)} values, {len(seconds)} times")
        if len(steps) == 0:
            return
        start = self._size
        self._grow(start + len(steps))
        for name, column in (("x", steps), ("y", values), ("t", seconds)):
            self._buffers[name][start : self._size] = column
        if bool(np.any(np.diff(self.steps[max(0, start - 1) :]) < 0)):
            self._sort()
            start = 0
        self._derive(start)

    def set_weight(self, weight: float) -> None:
        """Set the smoothing weight, 0 <= weight < 1."""
        if weight != self._ema.weight:
            self._ema = Ema(weight)
            self._derive(0)

    def x(self, mode: XMode) -> Floats:
        """Steps, or seconds since the run started; steps if no times are known."""
        if mode == "step" or self._size == 0 or not np.isfinite(self.times[0]):
            return self.steps
        if self._seconds is None:  # keep x ascending even if the system clock was set back
            self._seconds = np.fmax.accumulate(self.times)
        return self._seconds

    def extents(self, mode: XMode, smooth: bool, log: bool) -> Extents:
        """The extents of the raw or smoothed curve; with ``log``, of log10 values with gaps for values <= 0."""
        key = (mode, smooth, log)
        if key not in self._extents:
            y = self.smoothed if smooth else self._finite
            if log:
                y = np.log10(np.where(y > 0, y, np.nan))
            self._extents[key] = Extents(self.x(mode), y)
        return self._extents[key]

    def points_in_view(
        self, mode: XMode, low: float, high: float, columns: int, smooth: bool, log: bool
    ) -> tuple[Floats, Floats]:
        """The points to draw of the raw or smoothed curve; with ``log``, log10 values with gaps for values <= 0."""
        y = self.smoothed if smooth else self._finite
        x = self.x(mode)
        if log and len(y) and not bool(np.nanmin(y, initial=np.inf) > 0):
            y = np.where(y > 0, y, np.nan)
        x, y = column_peaks(x, y, low, high, columns)
        return (x, np.log10(y)) if log else (x, y)

    def band_extents(self, log: bool) -> tuple[Extents, Extents] | None:
        """The extents of the lower and the upper end of the band; None if there is no band."""
        if self.band is None:
            return None
        low, high = (np.log10(np.where(edge > 0, edge, np.nan)) if log else edge for edge in self.band)
        return Extents(self.steps, low), Extents(self.steps, high)

    def band_outlines(self, log: bool) -> list[list[tuple[float, float]]]:
        """The band as closed outlines, one per stretch with finite ends."""
        if self.band is None:
            return []
        low, high = (np.log10(np.where(edge > 0, edge, np.nan)) if log else edge for edge in self.band)
        usable = np.flatnonzero(np.isfinite(low) & np.isfinite(high))
        outlines = []
        for part in np.split(usable, np.flatnonzero(np.diff(usable) > 1) + 1):
            x = self.steps[part].tolist()
            upper, lower = zip(x, high[part].tolist(), strict=True), zip(x, low[part].tolist(), strict=True)
            outlines.append([*upper, *reversed(list(lower))])
        return outlines

    def nearest(self, mode: XMode, x: float, slack: float) -> int | None:
        """Index of the point nearest to ``x``; None if the curve is further away than ``slack``."""
        xs = self.x(mode)[: self.size_without_joint]
        if len(xs) == 0 or x < xs[0] - slack or x > xs[-1] + slack:
            return None
        after = min(int(np.searchsorted(xs, x)), len(xs) - 1)
        before = max(0, after - 1)
        return before if abs(xs[before] - x) <= abs(xs[after] - x) else after

    def dots(self, mode: XMode, low: float, high: float, max_dots: int) -> NDArray[np.int64]:
        """Indices of the points to draw as dots between ``low`` and ``high``.

        All finite points if at most ``max_dots``, otherwise only those that no line shows: without a finite neighbour.
        """
        x = self.x(mode)
        first, end = int(np.searchsorted(x, low, "left")), int(np.searchsorted(x, high, "right"))
        end = max(first, min(end, self.size_without_joint))
        if end - first > _MIN_DENSE_POINTS:  # every pixel column shows points anyway
            return np.empty(0, np.int64)
        finite = np.isfinite(self._finite[max(0, first - 1) : end + 1])
        inner = finite[1 if first > 0 else 0 :][: end - first]
        if int(inner.sum()) <= max_dots:
            return np.flatnonzero(inner) + first
        padded = np.concatenate(([False], finite, [False]))
        alone = padded[1:-1] & ~padded[:-2] & ~padded[2:]
        indices: NDArray[np.int64] = np.flatnonzero(alone) + max(0, first - 1)
        return indices

    def not_finite(self, mode: XMode, low: float, high: float) -> NDArray[np.int64]:
        """Indices of the points in view that are nan or inf."""
        if self._all_finite:
            return np.empty(0, np.int64)
        x = self.x(mode)
        first, end = int(np.searchsorted(x, low, "left")), int(np.searchsorted(x, high, "right"))
        indices: NDArray[np.int64] = np.flatnonzero(np.isnan(self._finite[first:end])) + first
        return indices

    def _grow(self, size: int) -> None:
        if size > len(self._buffers["x"]):
            capacity = max(size, 2 * len(self._buffers["x"]), 64)
            for name, old in self._buffers.items():
                self._buffers[name] = np.empty(capacity)
                self._buffers[name][: self._size] = old[: self._size]
        self._size = size

    def _sort(self) -> None:
        order = np.argsort(self.steps, kind="stable")
        for name in ("x", "y", "t"):
            self._buffers[name][: self._size] = self._buffers[name][: self._size][order]
        self._ema = Ema(self._ema.weight)

    def _derive(self, start: int) -> None:
        """Recompute what is derived from the values, from index ``start`` on."""
        self._extents.clear()
        self._seconds = None
        new_values = self.values[start:]
        self._all_finite = (self._all_finite or start == 0) and bool(np.isfinite(new_values).all())
        self._buffers["finite"][start : self._size] = np.where(np.isfinite(new_values), new_values, np.nan)
        if self._ema.weight > 0:
            self._buffers["smooth"][start : self._size] = self._ema.extend(new_values)


def _column(values: ArrayLike) -> Floats:
    return np.atleast_1d(np.asarray(values, dtype=np.float64)).ravel()
