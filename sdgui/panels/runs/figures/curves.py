"""The curves of a plot grid and the last value of each run as plain data, for figures and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor

from core.spec.run.metric_names import higher_is_better
from sdgui.panels.runs.plots.card import PlotCard
from sdgui.panels.runs.plots.drawing.extents import Floats
from sdgui.panels.runs.plots.grid import PlotGrid
from sdgui.panels.runs.plots.series import Series, XMode
from sdgui.widgets.style.colors import LIGHT
from sdgui.widgets.style.theme import mix, shade

Range = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """A curve. ``entry``: the legend key of the run or group; ``raw``: the values before smoothing."""

    entry: str
    metric: str  # title of the metric; combined plots have several metrics
    color: str  # ``#rrggbb``
    dashed: bool
    x: Floats
    y: Floats
    raw: Floats | None = None
    band: tuple[Floats, Floats] | None = None


@dataclass(frozen=True)
class LastValues:
    """A column of the table: the last finite value of each run, by legend key."""

    title: str
    is_share: bool
    higher_is_better: bool
    values: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class MetricPlot:
    """One plot. ``x_range``, ``y_range``: the current view; None if the plot was not visible yet."""

    id: str
    title: str
    is_share: bool
    curves: Sequence[Curve]
    columns: Sequence[LastValues]
    x_range: Range | None
    y_range: Range | None
    is_on_screen: bool


@dataclass(frozen=True)
class PlotData:
    """The plots with their legend. ``entries``: key -> name of the shown runs or groups, in legend order."""

    plots: Sequence[MetricPlot]
    entries: Mapping[str, str]
    x_mode: XMode
    log: bool


def plot_data(grid: PlotGrid) -> PlotData:
    """The visible curves (means if runs are grouped), smoothed as on screen."""
    on_screen = grid.page.visible_cards()
    cards = grid.drawn_cards()
    for canvas in (card.canvas for card in cards if card.canvas is not None):
        canvas.redraw()
    # the x axes are linked
    x_range = next((card.canvas.view_range()[0] for card in cards if card.canvas is not None), None)
    return PlotData(
        [_metric_plot(grid, card, x_range, len(cards) == 1 or card in on_screen) for card in cards],
        {key: name for key, (name, _) in grid.legend.shown_entries().items()},
        grid.toolbar.mode,
        grid.toolbar.log.isChecked(),
    )


def _metric_plot(grid: PlotGrid, card: PlotCard, x_range: Range | None, is_on_screen: bool) -> MetricPlot:
    y_range = None
    if card.canvas is not None:
        _, (low, high) = card.canvas.view_range()
        y_range = (10.0**low, 10.0**high) if grid.toolbar.log.isChecked() else (low, high)
    smoothed = grid.toolbar.weight > 0 and card.chart.smoothable
    curves = [_curve(series, grid.toolbar.mode, smoothed) for series in card.visible_series()]
    return MetricPlot(
        card.chart.id,
        card.title,
        card.chart.kind == "share",
        curves,
        _last_values(grid, card),
        x_range,
        y_range,
        is_on_screen,
    )


def _curve(series: Series, mode: XMode, smoothed: bool) -> Curve:
    finite = np.where(np.isfinite(series.values), series.values, np.nan)
    smoothed = smoothed and series.band is None  # means are computed from smoothed curves
    color = shade(LIGHT, series.color) if isinstance(series.color, int) else QColor(series.color)
    if series.is_ancestral:
        color = mix(color, QColor(LIGHT.surface), 0.5)
    return Curve(
        series.group,
        series.metric,
        color.name(),
        series.style == Qt.PenStyle.DashLine,
        series.x(mode).copy(),
        series.smoothed.copy() if smoothed else finite,
        finite if smoothed else None,
        series.band,
    )


def _last_values(grid: PlotGrid, card: PlotCard) -> list[LastValues]:
    """The last value of each curve in ``card``, one column per metric, or per role where the metric has roles."""
    columns: dict[tuple[str, str], LastValues] = {}
    for member in (card, *card.guests):
        for series in member.series.values():
            values, role = series.values[: series.size_without_joint], series.key.rpartition("\n")[2]
            finite = values[np.isfinite(values)]
            if series.visible and len(finite):
                title = f"{series.metric} ({role})" if role else series.metric
                column = columns.setdefault(
                    (member.chart.id, role),
                    LastValues(title, member.chart.kind == "share", higher_is_better(member.chart.id)),
                )
                column.values.setdefault(grid.grouping.entry_of(series.group), []).append(float(finite[-1]))
    return list(columns.values())
