"""The mean of a group's curves with its 95 % interval, by Student's t over the runs that reach each step. No Qt widget.

Flow: ``PlotGrid`` knows which run is in which group -> ``group_curves`` of a card's series -> curves with a band.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from PySide6.QtCore import Qt

from sdgui.panels.runs.plots.drawing.extents import Floats
from sdgui.panels.runs.plots.series import Series, XMode
from sdgui.store.run_table.intervals import student_t

MOST_POINTS = 2000  # of a mean curve; a band of more is drawn no finer


def mean_curve(curves: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats, Floats]:
    """(K,) steps, means and half widths of the interval; nan where fewer than two runs have values.

    ``curves``: steps and values of each run. A run counts between its first and its last step, by linear interpolation.
    """
    steps = np.unique(np.concatenate([x for x, _ in curves])) if curves else np.empty(0)
    if len(steps) > MOST_POINTS:
        steps = np.linspace(steps[0], steps[-1], MOST_POINTS)
    if len(steps) == 0:
        return steps, steps, steps
    values = np.stack([np.interp(steps, x, y, left=np.nan, right=np.nan) for x, y in curves if len(x)])
    has_value = np.isfinite(values)
    count = has_value.sum(axis=0)
    total = np.where(has_value, values, 0.0).sum(axis=0)
    mean = np.divide(total, count, out=np.full(len(steps), np.nan), where=count > 0)
    with np.errstate(over="ignore"):  # values beyond 1e154 get no interval
        squares = np.where(has_value, (values - mean) ** 2, 0.0).sum(axis=0)
    several = count > 1
    variance = np.divide(squares, count - 1, out=np.full(len(steps), np.nan), where=several)
    quantiles = np.array([np.nan, np.nan, *(student_t(df) for df in range(1, len(curves) + 1))])
    half = quantiles[np.minimum(count, len(quantiles) - 1)] * np.sqrt(variance / np.maximum(count, 1))
    return steps, mean, np.where(np.isfinite(half), half, np.nan)


def group_curves(
    series: Iterable[Series], groups: Mapping[str, str], colors: Mapping[str, int], mode: XMode
) -> list[Series]:
    """A curve with a band for each group and role among ``series``. ``groups``: the group of each run's key."""
    members: dict[tuple[str, str], list[Series]] = {}
    for member in series:
        if member.group in groups and len(member):
            members.setdefault((groups[member.group], member.key.rpartition("\n")[2]), []).append(member)
    curves = []
    for (group, role), members_of_group in members.items():
        x, mean, half = mean_curve([(member.x(mode), member.smoothed) for member in members_of_group])
        dash = Qt.PenStyle.DashLine if role == "teacher" else Qt.PenStyle.SolidLine
        name = f"{group}, {role}" if role else group
        curve = Series(
            f"{group}\n{role}", f"{name} (mean of {len(members_of_group)})", colors[group], dash, group=group
        )
        curve.replace(x, mean)
        curve.band = (mean - half, mean + half)
        curves.append(curve)
    return curves
