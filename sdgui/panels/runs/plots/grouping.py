"""Shows group means instead of runs: while runs are grouped, cards and legend show groups.

Flow: the grid sets each run's group -> means are computed from its cards and runs -> cards and legend.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from PySide6.QtCore import QObject, Qt, QTimer

from sdgui.panels.runs.plots.card import PlotCard
from sdgui.panels.runs.plots.drawing.extents import Floats
from sdgui.panels.runs.plots.legend import PlotLegend
from sdgui.panels.runs.plots.series import Series, XMode
from sdgui.panels.runs.plots.toolbar import PlotToolbar
from sdgui.store.run_table.intervals import student_t

_UPDATE_MS = 250  # minimum time between two updates of the means of growing curves


class Grouping(QObject):
    """Computes and shows means. ``cards``: plots by id; ``runs``: key -> name, colour, shown; both of the grid."""

    def __init__(
        self,
        toolbar: PlotToolbar,
        legend: PlotLegend,
        cards: Mapping[str, PlotCard],
        runs: Mapping[str, tuple[str, int, bool]],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._toolbar, self._legend, self._cards, self._runs = toolbar, legend, cards, runs
        self._groups: dict[str, str] = {}  # run -> title of its group
        self._given_colors: Mapping[str, int] = {}  # title of a group -> palette index
        self._timer = QTimer(self, singleShot=True, interval=_UPDATE_MS)
        self._timer.timeout.connect(self._show_means)
        toolbar.means_changed.connect(lambda _on: self.refresh())
        toolbar.x_mode_changed.connect(self.schedule_update)

    def set_groups(self, groups: Mapping[str, str], colors: Mapping[str, int] | None = None) -> None:
        """Set run key -> group title; {} shows runs again. ``colors``: title -> palette index."""
        if dict(groups) != self._groups:
            self._groups, self._given_colors = dict(groups), colors or {}
            if bool(groups) != self._toolbar.means.isEnabled():
                self._toolbar.means.setChecked(bool(groups))
            self._toolbar.means.setEnabled(bool(groups))
            self.refresh()

    def members(self, key: str) -> list[str]:
        """The runs of a legend entry: the members of a group, or the run itself."""
        if not self.is_active:
            return [key]
        return [run for run, title in self._groups.items() if title == key and run in self._runs]

    def entry_of(self, run: str) -> str:
        """The legend key of a run: its group's title, or the run's own key."""
        return self._groups.get(run, run) if self.is_active else run

    @property
    def is_active(self) -> bool:
        """Whether groups are shown."""
        return bool(self._groups) and self._toolbar.means.isChecked()

    def schedule_update(self) -> None:
        """Schedule new means after new points or a change of visibility."""
        if self.is_active and not self._timer.isActive():
            self._timer.start()

    def refresh(self) -> None:
        """Show groups or runs in legend and plots."""
        self._legend.clear()
        if self.is_active:
            self._show_means()
            return
        for key, (name, color, visible) in self._runs.items():
            self._legend.set_entry(key, name, color)
            self._legend.set_shown(key, visible)
        for card in self._cards.values():
            card.show_means(None)

    def _colors(self) -> dict[str, int]:
        """The colour of each group with a run in the grid; by default the colour of its first run."""
        colors: dict[str, int] = {}
        for run, title in self._groups.items():
            if run in self._runs:
                colors.setdefault(title, self._given_colors.get(title, self._runs[run][1]))
        return colors

    def _show_means(self) -> None:
        if not self.is_active:
            return
        mode, colors = self._toolbar.mode, self._colors()
        for title, color in colors.items():
            self._legend.set_entry(title, title, color)
        for card in self._cards.values():
            visible_series = [series for series in card.series.values() if series.visible]
            card.show_means(group_curves(visible_series, self._groups, colors, mode))


MAX_POINTS = 2000  # points of a mean curve; more would not be visible


def mean_curve(curves: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats, Floats]:
    """Steps, means and half widths of the 95 % interval, (K,) each; a half width is nan with fewer than two runs.

    ``curves``: steps and values of each run. A run counts between its first and last step; values are interpolated.
    """
    steps = np.unique(np.concatenate([x for x, _ in curves])) if curves else np.empty(0)
    if len(steps) > MAX_POINTS:
        steps = np.linspace(steps[0], steps[-1], MAX_POINTS)
    if len(steps) == 0:
        return steps, steps, steps
    values = np.stack([np.interp(steps, x, y, left=np.nan, right=np.nan) for x, y in curves if len(x)])
    has_value = np.isfinite(values)
    count = has_value.sum(axis=0)
    total = np.where(has_value, values, 0.0).sum(axis=0)
    mean = np.divide(total, count, out=np.full(len(steps), np.nan), where=count > 0)
    with np.errstate(over="ignore"):  # values beyond 1e154 get no interval
        squares = np.where(has_value, (values - mean) ** 2, 0.0).sum(axis=0)
    has_several = count > 1
    variance = np.divide(squares, count - 1, out=np.full(len(steps), np.nan), where=has_several)
    quantiles = np.array([np.nan, np.nan, *(student_t(df) for df in range(1, len(curves) + 1))])
    half = quantiles[np.minimum(count, len(quantiles) - 1)] * np.sqrt(variance / np.maximum(count, 1))
    return steps, mean, np.where(np.isfinite(half), half, np.nan)


def group_curves(
    series: Iterable[Series], groups: Mapping[str, str], colors: Mapping[str, int], mode: XMode
) -> list[Series]:
    """A mean curve with a band for each group and role. ``groups``: run key -> group."""
    members: dict[tuple[str, str], list[Series]] = {}
    for member in series:
        if member.group in groups and len(member):
            members.setdefault((groups[member.group], member.key.partition("\n")[2]), []).append(member)
    curves = []
    for (group, key), members_of_group in members.items():
        role, first = key.rpartition("\n")[2], members_of_group[0]
        x, mean, half = mean_curve([(member.x(mode), member.smoothed) for member in members_of_group])
        name = f"{group}, {role}" if role else group
        name = f"{name} (mean of {len(members_of_group)})"
        style = Qt.PenStyle.DashLine if role == "teacher" else first.style
        curve = Series(f"{group}\n{key}", name, colors[group], style, group, first.metric)
        curve.replace(x, mean)
        curve.band = (mean - half, mean + half)
        curves.append(curve)
    return curves
