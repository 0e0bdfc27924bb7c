"""Draws the curves inside a plot's view box: lines, bands, dots and marks of ``Series``.

Flow: ``PlotCanvas`` sets the visible x range; ``measure`` looks up the extents in each pixel column; ``paint`` renders
the lines once the y range is known. Faint curves have a mixed colour, not alpha.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtGui import QColor

from sdgui.panels.runs.plots.drawing.extents import Floats
from sdgui.panels.runs.plots.drawing.lines import LineExtent, LinesItem, Polyline, draw_layers
from sdgui.panels.runs.plots.readout import Reading
from sdgui.panels.runs.plots.series import Series, XMode, pale
from sdgui.widgets.style.theme import mix, theme

_MAX_DOTS = 40  # a curve with more points in view has no dots
_MAX_MARKS = 200  # marks of non-finite values per curve
_BAND_OPACITY = 0.18  # of the band around a mean
_RAW_OPACITY, _FADED_OPACITY = 0.35, 0.22  # raw curves below smoothed ones; curves while another is highlighted


class PlotCurves:
    """Draws the series of a view box. ``x_mode``, ``log`` and ``smooth`` control ``measure``."""

    def __init__(self, box: Any) -> None:
        """``box``: the pyqtgraph view box to draw in."""
        self.series: dict[str, Series] = {}
        self.x_mode: XMode = "step"
        self.log = False
        self.smooth = False
        self.highlighted = ""  # the highlighted group, drawn in front
        self._box = box
        self._columns = 1  # number of columns in the last ``measure``
        self._layers: list[list[LineExtent]] = []
        self._lines = LinesItem(box, self._polylines)
        self._dots = pg.ScatterPlotItem(pxMode=True, antialias=True)
        self._dots.setZValue(20)
        box.addItem(self._dots, ignoreBounds=True)

    def put(self, series: Series) -> None:
        """Add a series, replacing a series with the same key."""
        self.series.pop(series.key, None)
        self.series[series.key] = series

    def visible_series(self) -> list[Series]:
        """The visible series that have points."""
        return [series for series in self.series.values() if series.visible and len(series)]

    def x_range(self) -> tuple[float, float] | None:
        """The x range of the visible series; None if there are no points."""
        ends = [(x[0], x[-1]) for series in self.visible_series() if len(x := series.x(self.x_mode))]
        return (float(min(low for low, _ in ends)), float(max(high for _, high in ends))) if ends else None

    def measure(self, low: float, high: float, columns: int) -> tuple[float, float] | None:
        """Look up the lines' extents (lowest, highest y) in the ``columns`` pixel columns from x = ``low`` to ``high``.

        Returns the y range of the lines; None if there are none. ``paint`` then draws them.
        """
        ground = theme().color("surface")
        self._columns = columns
        raw: tuple[list[LineExtent], list[LineExtent]] = ([], [])  # background curves, curves of the highlighted group
        smooth: tuple[list[LineExtent], list[LineExtent]] = ([], [])
        bands: list[LineExtent] = []
        bounds: list[tuple[float, float]] = []
        for series in self.visible_series():
            if (ends := series.band_extents(self.log)) is not None:
                lower, upper = ends
                extent = lower.columns(low, high, columns)[0], upper.columns(low, high, columns)[1]
                bands.append(LineExtent(*extent, mix(self.color(series), ground, _BAND_OPACITY)))
                bounds += _bounds(*extent)
            front, color = int(series.group == self.highlighted), self.color(series)
            for averaged, line_color in self._lines_of(color):
                extent = series.extents(self.x_mode, averaged, self.log).columns(low, high, columns)
                (smooth if averaged else raw)[front].append(LineExtent(*extent, line_color, series.style))
                bounds += _bounds(*extent)
        self._layers = [bands, raw[0], smooth[0], raw[1], smooth[1]]
        return (min(b[0] for b in bounds), max(b[1] for b in bounds)) if bounds else None

    def paint(self, y_range: tuple[float, float], height: int, ratio: float) -> None:
        """Paint the lines of the last ``measure``; sizes as in `draw_layers`."""
        self._lines.show_images(draw_layers(self._layers, y_range, height, ratio))

    def _polylines(self) -> list[Polyline]:
        """The visible bands and lines as polylines, from back to front; for exported files."""
        (x0, x1), (y0, y1) = self._box.viewRange()
        x_scale, y_scale = self._box.width() / ((x1 - x0) or 1.0), self._box.height() / ((y1 - y0) or 1.0)

        def to_pixels(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
            return [((x - x0) * x_scale, (y1 - y) * y_scale) for x, y in points]

        polylines = []
        for series in self.visible_series():
            color = mix(self.color(series), theme().color("surface"), _BAND_OPACITY)
            polylines += [Polyline(to_pixels(points), color, filled=True) for points in series.band_outlines(self.log)]
        for series in self.visible_series():
            for averaged, color in self._lines_of(self.color(series)):
                x, y = series.points_in_view(self.x_mode, x0, x1, self._columns, averaged, self.log)
                polylines += [Polyline(to_pixels(part), color, series.style) for part in _unbroken(x, y)]
        return polylines

    def _lines_of(self, color: QColor) -> list[tuple[bool, QColor]]:
        """The lines of a curve from back to front: whether it is the moving average, and its colour."""
        if not self.smooth:
            return [(False, color)]
        return [(False, mix(color, theme().color("surface"), _RAW_OPACITY)), (True, color)]

    def draw_dots(self, low: float, high: float, top: float) -> None:
        """Draw dots for isolated points and the points of short curves; triangles at ``top`` for non-finite values."""
        spots: list[dict[str, Any]] = []
        for series in self.visible_series():
            x, color = series.x(self.x_mode), self.color(series)
            for i in series.dots(self.x_mode, low, high, _MAX_DOTS):
                y = series.values[i]
                if not self.log or y > 0:
                    y = np.log10(y) if self.log else y
                    spots.append({"pos": (x[i], y), "size": 5, "brush": color, "pen": None, "symbol": "o"})
            for i in series.not_finite(self.x_mode, low, high)[:_MAX_MARKS]:
                spots.append({"pos": (x[i], top), "size": 9, "brush": color, "pen": None, "symbol": "t"})
        self._dots.setData(spots)

    def color(self, series: Series) -> QColor:
        color = theme().run_color(series.color) if isinstance(series.color, int) else QColor(series.color)
        if series.is_ancestral:
            color = pale(color)
        faded = bool(self.highlighted) and series.group != self.highlighted
        return mix(color, theme().color("surface"), _FADED_OPACITY) if faded else color

    def readings(self, x: float, slack: float) -> list[Reading]:
        """The nearest point of every visible curve that reaches ``x`` within ``slack``, largest value first."""
        readings, all_series = [], self.visible_series()
        has_several_metrics = len({series.metric for series in all_series}) > 1
        for series in all_series:
            i = series.nearest(self.x_mode, x, slack)
            if i is not None:
                nearest_x, raw = float(series.x(self.x_mode)[i]), float(series.values[i])
                smooth = float(series.smoothed[i]) if self.smooth else None
                name = f"{series.name} · {series.metric}" if has_several_metrics else series.name
                readings.append(
                    Reading(name, self.color(series), nearest_x, raw, smooth, series.group == self.highlighted)
                )
        return sorted(readings, key=lambda reading: np.inf if np.isnan(reading.value) else -reading.value)

    def count_not_positive(self) -> int:
        """The number of values that a log scale cannot show."""
        return sum(int((series.values <= 0).sum()) for series in self.visible_series())


def _bounds(low: Floats, high: Floats) -> list[tuple[float, float]]:
    lowest, highest = float(np.fmin.reduce(low)), float(np.fmax.reduce(high))
    return [] if np.isnan(lowest) else [(lowest, highest)]


def _unbroken(x: Floats, y: Floats) -> list[list[tuple[float, float]]]:
    """The points of the line, split at gaps."""
    parts: list[list[tuple[float, float]]] = [[]]
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        if b == b:  # not nan
            parts[-1].append((a, b))
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]
