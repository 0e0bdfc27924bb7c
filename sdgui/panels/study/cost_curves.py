"""A metric against training time: a line per arm, a point per budget, 95 % intervals, values as tooltips."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtWidgets import QWidget

from core.spec.run.metric_names import is_evaluation_share
from sdgui.panels.study.model import interval_text
from sdgui.panels.study.plot import StudyPlot
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE, theme


@dataclass(frozen=True)
class CostPoint:
    """An arm at one budget: mean and ends of its interval (None for a single seed)."""

    seconds: float
    mean: float
    low: float | None
    high: float | None
    text: str  # formatted as in the table


@dataclass(frozen=True)
class CostCurve:
    """The points of an arm, in order of budget."""

    name: str
    points: tuple[CostPoint, ...]
    color: int  # palette index


def cost_curves(results: Mapping[str, Any], metric: str, network: str) -> list[CostCurve]:
    """One curve of ``metric`` per arm; arms without this metric are omitted."""
    scale = 100.0 if is_evaluation_share(metric) else 1.0
    points: dict[str, list[CostPoint]] = {}
    for arm_at_budget in results["arms"].values():
        mean = arm_at_budget["networks"].get(network, {}).get(metric)
        seconds = (arm_at_budget.get("cost") or {}).get("budget", 0.0)
        arm_points = points.setdefault(arm_at_budget.get("of", ""), [])  # "of": the arm, whatever its budget
        if mean is not None and seconds > 0:
            low, high = (None if mean[end] is None else scale * mean[end] for end in ("low", "high"))
            arm_points.append(CostPoint(seconds, scale * mean["mean"], low, high, interval_text(metric, mean)))
    return [
        CostCurve(name, tuple(sorted(arm_points, key=lambda point: point.seconds)), color)
        for color, (name, arm_points) in enumerate(points.items())
        if arm_points
    ]


def crossing_texts(results: Mapping[str, Any], metric: str) -> list[str]:
    """One sentence per comparison: which arm is better, and the difference at the largest budget."""
    texts = []
    for crossing in results.get("crossings", ()):
        if crossing["metric"] != metric:
            continue
        arm_name, base, seconds = crossing["arm"], crossing["baseline"], crossing.get("seconds")
        at_budget, from_budget = "", ""
        if seconds is not None:
            at_budget, from_budget = f" at about {seconds:.0f} s", f" from {seconds:.0f} s on"
        sentence = {
            "ahead": f"{arm_name} is better than {base}{from_budget or _at_every_budget(results)}",
            "behind": f"{arm_name} is worse than {base}{from_budget or _at_every_budget(results)}",
            "not significant": f"{arm_name} and {base} do not differ significantly{from_budget}",
            "overtakes": f"{arm_name} overtakes {base}{at_budget}",
            "falls behind": f"{arm_name} falls behind {base}{at_budget}",
        }[crossing["kind"]]
        texts.append(sentence + _difference(metric, crossing.get("last")))
    return texts


def _at_every_budget(results: Mapping[str, Any]) -> str:
    budgets = results.get("budgets", ())
    return " at every budget" if len(budgets) != 1 else ""


def _difference(metric: str, last: Mapping[str, Any] | None) -> str:
    """The difference as text, such as ``(+10.1 [3.5, 16.7] at 80 s)``; "" for older files without it."""
    return "" if last is None else f" ({interval_text(metric, last, signed=True)} at {last['seconds']:g} s)"


class CostCurves(StudyPlot):
    """The plot of curves over a logarithmic axis of seconds."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.curves: list[CostCurve] = []

    def set_curves(self, title: str, curves: Sequence[CostCurve]) -> None:
        """Show the curves. ``title``: the metric."""
        self.curves = list(curves)
        points = [f"{curve.name} at {point.seconds:g} s {point.text}" for curve in curves for point in curve.points]
        self.show_plot(title, "; ".join(points))

    def fill(self, plot: pg.PlotWidget, bottom: pg.AxisItem) -> None:
        style = theme()
        budgets = sorted({point.seconds for curve in self.curves for point in curve.points})
        bottom.setTicks([[(math.log(seconds), f"{seconds:g} s") for seconds in budgets]])
        legend = plot.plotItem.legend or plot.addLegend(offset=(-SPACE, -SPACE))
        legend.clear()
        legend.setLabelTextColor(style.color("text"))
        for curve in self.curves:
            _draw_curve(plot, curve)
        self._fit(plot, budgets)

    def _fit(self, plot: pg.PlotWidget, budgets: Sequence[float]) -> None:
        points = [point for curve in self.curves for point in curve.points]
        values = [value for point in points for value in (point.mean, point.low, point.high) if value is not None]
        if values:
            plot.setYRange(min(values), max(max(values), min(values) + 1e-9), padding=0.08)
            first, last = math.log(budgets[0]), math.log(budgets[-1])
            plot.setXRange(first - 0.2, max(last, first + 0.2) + 0.2, padding=0)


def _draw_curve(plot: pg.PlotWidget, curve: CostCurve) -> None:
    color = theme().run_color(curve.color)
    x = np.array([math.log(point.seconds) for point in curve.points])
    y = np.array([point.mean for point in curve.points])
    line = pg.PlotDataItem(
        x, y, pen=pg.mkPen(color, width=2), symbol="o", symbolSize=7, symbolBrush=color, symbolPen=None, name=curve.name
    )
    tip = "\n".join(f"{curve.name}, {point.seconds:g} s: {point.text}" for point in curve.points)
    line.setToolTip(plain_tip(tip))
    plot.addItem(line)
    for log_seconds, point in zip(x, curve.points, strict=True):
        if point.low is not None and point.high is not None:
            ends = {"top": np.array([point.high - point.mean]), "bottom": np.array([point.mean - point.low])}
            center = {"x": np.array([log_seconds]), "y": np.array([point.mean])}
            plot.addItem(pg.ErrorBarItem(**center, beam=0.05, pen=pg.mkPen(color, width=1), **ends))
