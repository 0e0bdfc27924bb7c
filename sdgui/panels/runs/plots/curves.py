"""The curves inside a plot's view box: pyqtgraph items for each ``Series``, their colours, dots and marks.

Flow: ``PlotCanvas`` gives the visible x range; ``draw`` puts exactly what those pixels need into the items. Lines
are one pixel wide without antialiasing (wider is 7 times slower, antialiased 100 times), and faintness is a mixed
colour, not alpha.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtGui import QColor

from sdgui.panels.runs.plots.readout import Reading
from sdgui.panels.runs.plots.series import Floats, Series, XMode
from sdgui.widgets.style.theme import theme

_DOTS_UP_TO = 40  # points of a curve in view that are each drawn as a dot
_MARKS_UP_TO = 200  # marks of values that are not finite, per curve
_FAINT, _FADED = 0.35, 0.22  # what a raw curve beside its average, or any beside a lifted one, keeps of its colour


class PlotCurves:
    """Series by key. ``x_mode``, ``log`` and ``smooth`` say how ``draw`` draws them."""

    def __init__(self, box: Any) -> None:
        """``box``: the pyqtgraph view box that shows them."""
        self.series: dict[str, Series] = {}
        self.x_mode: XMode = "step"
        self.log = False
        self.smooth = False
        self.lifted = ""
        self._box = box
        self._items: dict[str, tuple[Any, Any]] = {}  # key -> raw and smoothed PlotCurveItem
        self._dots = pg.ScatterPlotItem(pxMode=True, antialias=True)
        self._dots.setZValue(20)
        box.addItem(self._dots, ignoreBounds=True)

    def put(self, one: Series) -> None:
        """Add a series, in place of any with its key."""
        self.remove(one.key)
        self._items[one.key] = (pg.PlotCurveItem(), pg.PlotCurveItem())
        for item in self._items[one.key]:
            self._box.addItem(item, ignoreBounds=True)
        self.series[one.key] = one
        self.restyle()

    def remove(self, key: str) -> bool:
        """Take a series away; False when it is not there."""
        if self.series.pop(key, None) is None:
            return False
        for item in self._items.pop(key):
            self._box.removeItem(item)
        return True

    def shown(self) -> list[Series]:
        """The visible ones that have points."""
        return [one for one in self.series.values() if one.visible and len(one)]

    def extent(self) -> tuple[float, float] | None:
        """x range of what is shown; None when there are no points."""
        ends = [(x[0], x[-1]) for one in self.shown() if len(x := one.x(self.x_mode))]
        return (float(min(low for low, _ in ends)), float(max(high for _, high in ends))) if ends else None

    def draw(self, low: float, high: float, columns: int) -> tuple[float, float] | None:
        """Fill the items for an x range on ``columns`` pixels; returns the y range of what is in it, if any."""
        bounds: list[tuple[float, float]] = []
        for key, one in self.series.items():
            for item, smooth in zip(self._items[key], (False, True), strict=True):
                drawn = one.visible and (self.smooth or not smooth)
                item.setVisible(drawn)
                if drawn:
                    x, y = one.drawn(self.x_mode, low, high, columns, smooth, self.log)
                    whole = not bool(np.isnan(y).any())
                    item.setData(x, y, connect="all" if whole else "finite", skipFiniteCheck=whole)
                    bounds += _bounds(y[(x >= low) & (x <= high)])
        return (min(b[0] for b in bounds), max(b[1] for b in bounds)) if bounds else None

    def draw_dots(self, low: float, high: float, top: float) -> None:
        """Dots where a line does not show a point, triangles at ``top`` where a value is not finite."""
        spots: list[dict[str, Any]] = []
        for one in self.shown():
            x, color = one.x(self.x_mode), self.color(one)
            for i in one.lone(self.x_mode, low, high, _DOTS_UP_TO):
                y = one.values[i]
                if not self.log or y > 0:
                    y = np.log10(y) if self.log else y
                    spots.append({"pos": (x[i], y), "size": 5, "brush": color, "pen": None, "symbol": "o"})
            for i in one.not_finite(self.x_mode, low, high)[:_MARKS_UP_TO]:
                spots.append({"pos": (x[i], top), "size": 9, "brush": color, "pen": None, "symbol": "t"})
        self._dots.setData(spots)

    def restyle(self) -> None:
        """Colours and order of all, by the theme and by what is lifted."""
        ground = theme().color("surface")
        for one in self.series.values():
            raw, smooth = self._items[one.key]
            color = self.color(one)
            faint = _mix(color, ground, _FAINT) if self.smooth else color
            raw.setPen(pg.mkPen(faint, width=1, style=one.style))
            smooth.setPen(pg.mkPen(color, width=1, style=one.style))
            front = 10 if one.group == self.lifted else 0
            raw.setZValue(front)
            smooth.setZValue(front + 5)

    def color(self, one: Series) -> QColor:
        """The colour a series has now."""
        color = theme().run_color(one.color) if isinstance(one.color, int) else QColor(one.color)
        faded = bool(self.lifted) and one.group != self.lifted
        return _mix(color, theme().color("surface"), _FADED) if faded else color

    def readings(self, x: float, slack: float) -> list[Reading]:
        """The nearest point of every shown curve that reaches ``x`` within ``slack``, greatest value first."""
        found = []
        for one in self.shown():
            i = one.nearest(self.x_mode, x, slack)
            if i is not None:
                at, raw = float(one.x(self.x_mode)[i]), float(one.values[i])
                smooth = float(one.smoothed[i]) if self.smooth else None
                found.append(Reading(one.name, self.color(one), at, raw, smooth, one.group == self.lifted))
        return sorted(found, key=lambda reading: np.inf if np.isnan(reading.value) else -reading.value)

    def not_positive(self) -> int:
        """How many shown values a log scale cannot show."""
        return sum(int((one.values <= 0).sum()) for one in self.shown())


def _bounds(y: Floats) -> list[tuple[float, float]]:
    finite = y[~np.isnan(y)]
    return [(float(finite.min()), float(finite.max()))] if len(finite) else []


def _mix(color: QColor, ground: QColor, share: float) -> QColor:
    return QColor.fromRgbF(
        share * color.redF() + (1 - share) * ground.redF(),
        share * color.greenF() + (1 - share) * ground.greenF(),
        share * color.blueF() + (1 - share) * ground.blueF(),
    )
