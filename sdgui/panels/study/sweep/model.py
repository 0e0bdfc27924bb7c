"""A sweep's trials as a table and as plot axes. No Qt.

Flow: `SweepReport` -> ``trials_table``, ``axes_of`` -> the tabs of `sdgui.panels.study.sweep.view`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from core.spec.reading import excerpt
from core.spec.run.metric_names import is_evaluation_share, is_share
from core.spec.study.sweep import Value
from core.spec.study.sweep_report import SweepReport, TrialRecord
from sdgui.panels.study.model import Cell, Table, metric_heading, number_text
from sdgui.widgets.formats import duration, metric_title
from sdgui.widgets.relations.axis import Floats, ValueAxis

COSTS = {  # metric -> title, unit
    "step_seconds": ("Time per step", "s"),
    "train_seconds": ("Training time", "s"),
    "memory_gib": ("Memory", "GiB"),
}
_MIN_LOG_SPAN = 100.0  # positive values with a larger max/min get a log scale


def value_text(metric: str, value: float) -> str:
    """A metric's value as text, such as ``0.058 s`` or ``40.6``."""
    return f"{value:.3g} {COSTS[metric][1]}" if metric in COSTS else number_text(metric, value)


def objective_heading(metric: str) -> str:
    """A metric's title with its unit."""
    return ", ".join(COSTS[metric]) if metric in COSTS else metric_heading(metric)


def factor(metric: str) -> float:
    """The factor from a metric's value to the plotted value: 100 for shares."""
    return 100.0 if is_evaluation_share(metric) and metric not in COSTS else 1.0


def stopping_scale(report: SweepReport) -> tuple[str, float]:
    """The heading and the display factor of the metric that early stopping compares."""
    rule = report.early_stopping
    if rule is None:  # the rule was removed from the sweep
        return "Intermediate values", 1.0
    if rule.kind == "wilcoxon":
        metric = report.objectives[0].metric
        return objective_heading(metric), factor(metric)
    title = metric_title(rule.metric)
    return (f"{title}, %", 100.0) if is_share(rule.metric) else (title, 1.0)


def setting_text(value: Value) -> str:
    """The value of a setting as text of one line; floats to 4 significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else excerpt(str(value))


def setting_names(report: SweepReport) -> list[str]:
    """The settings of the search space, then other settings of earlier trials."""
    return list(dict.fromkeys([*report.space, *(name for trial in report.trials for name in trial.params)]))


def trials_table(report: SweepReport) -> Table:
    """A table with one row per trial: state, objectives, settings, duration."""
    names, best_trials = setting_names(report), frozenset(report.best)
    rows = []
    for trial in report.trials:
        best = "best" if trial.number in best_trials else ""
        state = trial.state if trial.feasible else "violates a constraint"
        cells = [
            Cell(
                f"trial-{trial.number}",
                trial.number,
                best and "Best trial, or on the Pareto front",
                right=False,
            ),
            Cell(
                f"{state}, {best}" if best else state,
                state,
                trial.message,
                "error" if trial.message else "",
                right=False,
            ),
        ]
        for index, objective in enumerate(report.objectives):
            value = trial.values[index] if trial.values else math.nan
            cells.append(Cell("–" if math.isnan(value) else value_text(objective.metric, value), value))
        for name in names:
            setting = trial.params.get(name)
            is_number = isinstance(setting, (int, float)) and not isinstance(setting, bool)
            cells.append(Cell(setting_text(setting), float(setting) if is_number else setting_text(setting)))  # type: ignore[arg-type]
        seconds = trial.ended - trial.started if trial.ended else math.nan
        rows.append([*cells, Cell("" if math.isnan(seconds) else duration(seconds), seconds)])
    metrics = [objective_heading(objective.metric) for objective in report.objectives]
    columns = ["Trial", "State", *metrics, *names, "Time"]
    tips = [
        "Press Enter to show the run of the trial",
        "",
        *(f"To {objective.direction}" for objective in report.objectives),
    ]
    return Table(columns, [*tips, *("" for _ in names), "Time from proposal to result"], rows, [""] * len(columns))


def complete_trials(report: SweepReport) -> list[TrialRecord]:
    return [trial for trial in report.trials if trial.values]


def axes_of(report: SweepReport) -> list[ValueAxis]:
    """One axis per setting and one per objective, over the complete trials."""
    trials = complete_trials(report)
    axes = [setting_axis(report, name, trials) for name in setting_names(report)]
    return axes + [objective_axis(report, index, trials) for index in range(len(report.objectives))]


def setting_axis(report: SweepReport, name: str, trials: Sequence[TrialRecord]) -> ValueAxis:
    """The axis of a setting: numeric, or categorical for choices and text."""
    values = [trial.params.get(name) for trial in trials]
    space = report.space.get(name)
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) < len([value for value in values if value is not None]) or (space is not None and space.choices):
        words = dict.fromkeys(setting_text(value) for value in [*(space.choices if space else []), *values])
        position = {word: index for index, word in enumerate(words)}
        return ValueAxis(name, name, np.array([position[setting_text(value)] for value in values], float), tuple(words))
    column = np.array([math.nan if value is None else float(value) for value in values])
    is_log = (
        space.log
        if space is not None
        else bool(numbers and min(numbers) > 0 and max(numbers) / min(numbers) > _MIN_LOG_SPAN)
    )
    return ValueAxis(name, name, column, log=is_log)


def objective_axis(report: SweepReport, index: int, trials: Sequence[TrialRecord]) -> ValueAxis:
    metric = report.objectives[index].metric
    values = np.array([trial.values[index] for trial in trials], float)
    return ValueAxis(metric, objective_heading(metric), values, factor=factor(metric))


def best_so_far(values: Floats, direction: str) -> Floats:
    """Running maximum or minimum of ``values``, (N,)."""
    return np.maximum.accumulate(values) if direction == "maximize" else np.minimum.accumulate(values)


def surface(x: Floats, y: Floats, values: Floats, cells: int = 40) -> Floats:
    """Values on a grid over the unit square, (cells, cells), by inverse-distance weighting of points in [0, 1]²."""
    centres = (np.arange(cells) + 0.5) / cells
    distance = (centres[:, None, None] - x) ** 2 + (centres[None, :, None] - y) ** 2  # (cells, cells, N)
    weights = 1.0 / (distance + 1e-3) ** 2
    return np.asarray((weights * values).sum(axis=-1) / weights.sum(axis=-1))
