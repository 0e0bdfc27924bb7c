"""The report of a sweep as Markdown, read from ``trials.json`` alone.

Flow: `SweepReport` -> ``sweep show``, ``sweep best``.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.spec.study.sweep import Value
from core.spec.study.sweep_report import SweepReport, TrialRecord, rank_trials
from core.studies.study.table import format_value, markdown_table


def markdown(report: SweepReport) -> str:
    """The report as Markdown: best trials, importance of the settings, all trials by rank, and error messages."""
    counts = {
        state: sum(trial.state == state for trial in report.trials) for state in ("complete", "stopped early", "failed")
    }
    summary = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    parts = [f"# {report.name}", f"{report.done} of {report.wanted} trials have ended{summary and f': {summary}'}."]
    if report.best:
        title = "Pareto front" if len(report.objectives) > 1 else "Best trial"
        parts.append(f"## {title}\n\n{trials_table(report, [report.trials[number] for number in report.best])}")
    if report.importance:
        parts.append(_importance(report))
    if report.trials:
        parts.append(f"## All trials\n\n{trials_table(report, rank_trials(report))}")
    failed = [f"- trial-{trial.number}: {trial.message}" for trial in report.trials if trial.state == "failed"]
    if failed:
        parts.append("## Failed trials\n\n" + "\n".join(failed))
    return "\n\n".join(parts) + "\n"


def trials_table(report: SweepReport, trials: Sequence[TrialRecord]) -> str:
    """A Markdown table with one row per trial: state, objectives and settings."""
    metrics = [objective.metric for objective in report.objectives]
    names = list(dict.fromkeys([*report.space, *(name for trial in trials for name in trial.params)]))
    rows = []
    for trial in trials:
        values = [format_value(metric, value) for metric, value in zip(metrics, trial.values, strict=False)]
        values += [""] * (len(metrics) - len(values))
        state = trial.state if trial.feasible else "breaks a constraint"
        rows.append([f"trial-{trial.number}", state, *values, *(value_text(trial.params.get(name)) for name in names)])
    return markdown_table(["trial", "state", *metrics, *names], rows)


def value_text(value: Value) -> str:
    """The value of a setting as text; floats to 4 significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _importance(report: SweepReport) -> str:
    parts = []
    for metric, shares in report.importance.items():
        rows = [[name, f"{100 * share:.0f} %"] for name, share in shares.items()]
        parts.append(f"## Importance for {metric} (PED-ANOVA)\n\n{markdown_table(['setting', 'share'], rows)}")
    return "\n\n".join(parts)
