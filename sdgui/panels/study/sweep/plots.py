"""The plots of a sweep: each draws a `SweepReport` into an empty plot.

Flow: ``SweepView`` -> ``SweepPlot.show_report`` -> one of the functions below.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import pyqtgraph as pg
from PySide6.QtWidgets import QWidget

from core.spec.study.sweep_report import SweepReport, TrialRecord
from sdgui.panels.study.plot import StudyPlot
from sdgui.panels.study.sweep.model import (
    axes_of,
    best_so_far,
    complete_trials,
    factor,
    objective_axis,
    objective_heading,
    setting_axis,
    setting_text,
    stopping_scale,
    surface,
    value_text,
)
from sdgui.widgets.input_boxes import NoWheelComboBox
from sdgui.widgets.layouts.boxes import hbox
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.relations.axis import Floats, ValueAxis
from sdgui.widgets.relations.parallel import scale_color
from sdgui.widgets.style.theme import SPACE, theme

Draw = Callable[[pg.PlotWidget, SweepReport, Sequence[str]], str]
"""Draws a plot for the names selected in the boxes, and returns its title."""

_POINT_DIAMETER = 9  # diameter of a point, in px
_MAX_POINTS = 1000  # drawn per line of intermediate values


class SweepPlot(StudyPlot):
    """A plot below combo boxes of settings or objectives.

    ``boxes``: each box's accessible name, and a function that lists its items.
    """

    def __init__(
        self,
        draw: Draw,
        boxes: Sequence[tuple[str, Callable[[SweepReport], list[str]]]] = (),
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._draw_report, self._item_lists = draw, [items for _, items in boxes]
        self.report: SweepReport | None = None
        self.boxes = [NoWheelComboBox(self) for _ in boxes]
        for box, (name, _) in zip(self.boxes, boxes, strict=True):
            box.setAccessibleName(name)
            box.setToolTip(plain_tip(name))
            box.setMinimumWidth(24 * SPACE)
            box.activated.connect(lambda _index: self._draw())
        self._column.insertLayout(1, hbox(*self.boxes, None))  # between the title and the plot

    def show_report(self, report: SweepReport | None) -> None:
        """Show the trials, if there are any; the selection in the boxes is kept."""
        self.report = report
        if report is None:
            self._draw()
            return
        for index, (box, items) in enumerate(zip(self.boxes, self._item_lists, strict=True)):
            # a second box with the same items starts at the second item
            names, selected, position = items(report), box.currentText(), self._item_lists[:index].count(items)
            if names != [box.itemText(row) for row in range(box.count())]:
                box.clear()
                box.addItems(names)
                box.setCurrentIndex(names.index(selected) if selected in names else min(position, len(names) - 1))
        self._draw()

    def fill(self, plot: pg.PlotWidget, bottom: pg.AxisItem) -> None:
        bottom.enableAutoSIPrefix(False)
        bottom.setTicks(None)
        bottom.setLabel("")
        plot.getAxis("left").setTicks(None)
        plot.getAxis("left").setLabel("")
        title = "No trial has finished yet."
        if self.report is not None and self.report.trials:
            plot.enableAutoRange()
            title = self._draw_report(plot, self.report, [box.currentText() for box in self.boxes])
        self.title.setText(title)
        self.setAccessibleName(title)


def objectives_of(report: SweepReport) -> list[str]:
    """The items of a box that selects an objective."""
    return [objective.metric for objective in report.objectives]


def history(plot: pg.PlotWidget, report: SweepReport, selected: Sequence[str]) -> str:
    """Draw the objective of each trial, and the best value so far."""
    index = objectives_of(report).index(selected[0])
    trials, objective = complete_trials(report), report.objectives[index]
    values = np.array([trial.values[index] for trial in trials]) * factor(objective.metric)
    numbers = np.array([trial.number for trial in trials], float)
    _points(plot, numbers, values, [_tip(report, trial) for trial in trials])
    is_feasible = np.array([trial.feasible for trial in trials], bool)
    if is_feasible.any():
        plot.plot(
            numbers[is_feasible],
            best_so_far(values[is_feasible], objective.direction),
            pen=pg.mkPen(theme().color("accent"), width=2),
            stepMode="right",
        )
    plot.getAxis("bottom").setLabel("Trial")
    _mark_trials(plot.getAxis("bottom"), report)
    return f"{objective_heading(objective.metric)} of each trial; line: best so far"


def slices(plot: pg.PlotWidget, report: SweepReport, selected: Sequence[str]) -> str:
    """Draw an objective over one setting; later trials are lighter."""
    trials, index = complete_trials(report), objectives_of(report).index(selected[1])
    x, y = setting_axis(report, selected[0], trials), objective_axis(report, index, trials)
    shade = [trial.number / max(1, report.trials[-1].number) for trial in trials]
    _points(plot, x.scaled(), y.scaled(), [_tip(report, trial) for trial in trials], shade)
    _label(plot, "bottom", x)
    return f"{y.title} over {x.title}; blue: early trials, yellow: late ones"


def contour(plot: pg.PlotWidget, report: SweepReport, selected: Sequence[str]) -> str:
    """Draw an objective over two settings: the trials, and an inverse-distance interpolation."""
    trials, index = complete_trials(report), objectives_of(report).index(selected[2])
    x, y = (setting_axis(report, name, trials) for name in selected[:2])
    values = objective_axis(report, index, trials)
    shade = np.nan_to_num(values.positions(), nan=0.5)
    is_finite = np.isfinite(x.scaled()) & np.isfinite(y.scaled())
    if is_finite.sum() >= 3 and x.varies() and y.varies():
        cells = surface(x.positions()[is_finite], y.positions()[is_finite], shade[is_finite])
        scale = [scale_color(share) for share in np.linspace(0, 1, 64)]
        colors = np.array([(color.red(), color.green(), color.blue()) for color in scale], np.uint8)
        image = pg.ImageItem(colors[np.clip(cells * 63, 0, 63).astype(int)], opacity=0.45)
        (x_min, x_max), (y_min, y_max) = x.limits(), y.limits()
        image.setRect(x_min, y_min, x_max - x_min, y_max - y_min)
        plot.addItem(image)
    _points(plot, x.scaled(), y.scaled(), [_tip(report, trial) for trial in trials], list(shade))
    _label(plot, "bottom", x)
    _label(plot, "left", y)
    return f"{values.title} over {x.title} and {y.title}; yellow: highest"


def importance(plot: pg.PlotWidget, report: SweepReport, selected: Sequence[str]) -> str:
    """Draw the PED-ANOVA importance of each setting."""
    shares = report.importance.get(selected[0], {})
    if not shares:
        return "Importance needs at least 4 finished trials with different settings and results."
    names = sorted(shares, key=lambda name: shares[name])
    heights = [100 * shares[name] for name in names]
    bars = pg.BarGraphItem(
        x0=0, y=list(range(len(names))), height=0.6, width=heights, brush=theme().color("accent"), pen=None
    )
    plot.addItem(bars)
    plot.getAxis("left").setTicks([[(position, name) for position, name in enumerate(names)]])
    plot.getAxis("left").setWidth(26 * SPACE)
    plot.getAxis("bottom").setLabel("Importance, %")
    return f"Importance of each setting for {selected[0]} (PED-ANOVA)"


def timeline(plot: pg.PlotWidget, report: SweepReport, _selected: Sequence[str]) -> str:
    """Draw a bar per trial, from its start to its end."""
    started = [trial for trial in report.trials if trial.started]
    if not started:
        return "No trial has started yet."
    first = min(trial.started for trial in started)
    colors = {"complete": "accent", "running": "muted", "failed": "error", "stopped early": "strong_border"}
    for trial in started:
        minutes = ((trial.ended or time.time()) - trial.started) / 60
        bar = pg.BarGraphItem(
            x0=[(trial.started - first) / 60], y=[trial.number], height=0.7, width=[minutes],
            brush=theme().color(colors[trial.state]), pen=None,
        )  # fmt: skip
        bar.setToolTip(plain_tip(f"trial-{trial.number}: {trial.state}, {minutes:.1f} min"))
        plot.addItem(bar)
    plot.getAxis("bottom").setLabel("Minutes since the first trial")
    plot.getAxis("left").setLabel("Trial")
    _mark_trials(plot.getAxis("left"), report)
    return "Time of each trial, from its proposal to its result"


def intermediate(plot: pg.PlotWidget, report: SweepReport, _selected: Sequence[str]) -> str:
    """Draw the intermediate values that early stopping compares."""
    trials = [trial for trial in report.trials if trial.intermediate]
    if not trials:
        return "Only sweeps with early stopping record intermediate values."
    heading, scale = stopping_scale(report)
    for trial in trials:
        share = trial.number / max(1, report.trials[-1].number)
        points = sorted(trial.intermediate)
        stride = 1 + len(points) // _MAX_POINTS  # more points are indistinguishable, and take seconds to draw
        shown = points[:-1:stride] + points[-1:]
        steps, values = (np.array(column, float) for column in zip(*shown, strict=True))
        line = plot.plot(
            steps,
            scale * values,
            pen=pg.mkPen(scale_color(share), width=1),
            symbol="o",
            symbolSize=4,
            symbolBrush=scale_color(share),
            symbolPen=None,
        )
        line.setToolTip(plain_tip(f"trial-{trial.number}, {trial.state}"))
    rule = report.early_stopping
    plot.getAxis("bottom").setLabel("Seed index" if rule is not None and rule.kind == "wilcoxon" else "Step")
    return f"{heading} of each trial, for early stopping"


def pareto(plot: pg.PlotWidget, report: SweepReport, selected: Sequence[str]) -> str:
    """Draw two objectives; trials on the Pareto front are yellow."""
    trials = complete_trials(report)
    x, y = (objective_axis(report, objectives_of(report).index(name), trials) for name in selected)
    front = frozenset(report.best)
    shade = [1.0 if trial.number in front else 0.0 for trial in trials]
    _points(plot, x.scaled(), y.scaled(), [_tip(report, trial) for trial in trials], shade)
    plot.getAxis("bottom").setLabel(x.title)
    plot.getAxis("left").setLabel(y.title)
    return f"{y.title} over {x.title}; yellow: the Pareto front"


def _points(plot: pg.PlotWidget, x: Floats, y: Floats, tips: Sequence[str], shade: Sequence[float] = ()) -> None:
    colors = [scale_color(share) for share in shade] or [theme().color("muted")] * len(x)
    finite_points = np.flatnonzero(np.isfinite(x) & np.isfinite(y)).tolist()
    points = pg.ScatterPlotItem(
        x=x[finite_points], y=y[finite_points], size=_POINT_DIAMETER, brush=[colors[index] for index in finite_points],
        pen=None, data=[tips[index] for index in finite_points], hoverable=True, tip=lambda x, y, data: data,
    )  # fmt: skip
    plot.addItem(points)


def _mark_trials(axis: pg.AxisItem, report: SweepReport) -> None:
    """Set the ticks to about ten numbers of trials, without fractions."""
    count = report.trials[-1].number + 1
    axis.setTicks([[(float(number), str(number)) for number in range(0, count, -(-count // 10))]])


def _label(plot: pg.PlotWidget, side: str, axis: ValueAxis) -> None:
    """Set the title and ticks of an axis: words of a categorical axis, powers of ten of a log axis."""
    item = plot.getAxis(side)
    item.setLabel(axis.title)
    if axis.words:
        item.setTicks([[(float(index), word) for index, word in enumerate(axis.words)]])
    elif axis.log:
        low, high = axis.limits()
        marks = np.linspace(low, high, 5) if high > low else np.array([low])
        item.setTicks([[(float(mark), f"{10.0**mark:.2g}") for mark in marks]])


def _tip(report: SweepReport, trial: TrialRecord) -> str:
    scores = [
        f"{objective_heading(objective.metric).partition(', ')[0]} {value_text(objective.metric, value)}"
        for objective, value in zip(report.objectives, trial.values, strict=False)
    ]
    settings = [f"{name} {setting_text(value)}" for name, value in trial.params.items()]
    return "\n".join([f"trial-{trial.number}", *scores, *settings])


def parallel_axes(report: SweepReport) -> tuple[list[ValueAxis], list[str]]:
    """The axes with more than one value, and the names of the complete trials (the lines)."""
    axes = [axis for axis in axes_of(report) if axis.varies()]
    main_metric = report.objectives[0].metric
    axes.sort(key=lambda axis: axis.name == main_metric)  # the last axis colours the lines
    return axes, [f"trial-{trial.number}" for trial in complete_trials(report)]
