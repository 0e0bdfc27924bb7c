"""The report of a sweep in Markdown, from ``trials.json`` alone.

Flow: `SweepReport` -> ``sweep show``, ``sweep best``.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.spec.study.sweep import Value
from core.spec.study.sweep_report import SweepReport, TrialRecord
from core.studies.study.table import format_value, markdown_table


def markdown(report: SweepReport) -> str:
    """Trials from the best to the worst, the best ones and the importance of the settings."""
    counts = {
        state: sum(one.state == state for one in report.trials) for state in ("complete", "stopped early", "failed")
    }
    some = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    parts = [f"# {report.name}", f"{report.done} of {report.wanted} trials have ended{some and f': {some}'}."]
    if report.best:
        title = "Pareto front" if len(report.objectives) > 1 else "Best trial"
        parts.append(f"## {title}\n\n{trials_table(report, [report.trials[number] for number in report.best])}")
    if report.importance:
        parts.append(_importance(report))
    if report.trials:
        parts.append(f"## All trials\n\n{trials_table(report, ranked(report))}")
    failed = [f"- trial-{one.number}: {one.message}" for one in report.trials if one.state == "failed"]
    if failed:
        parts.append("## Failed trials\n\n" + "\n".join(failed))
    return "\n\n".join(parts) + "\n"


def ranked(report: SweepReport) -> list[TrialRecord]:
    """Complete and feasible trials by the first objective, the best first; then the others by number."""
    sign = -1 if report.objectives[0].direction == "maximize" else 1

    def rank(one: TrialRecord) -> tuple[int, float, int]:
        order = ("complete", "stopped early", "running", "failed").index(one.state)
        if one.values and one.feasible:
            return (0, sign * one.values[0], one.number)
        return (1 + order, 0.0, one.number)

    return sorted(report.trials, key=rank)


def trials_table(report: SweepReport, trials: Sequence[TrialRecord]) -> str:
    """One row a trial: its objectives and its settings."""
    metrics = [one.metric for one in report.objectives]
    names = list(dict.fromkeys([*report.space, *(name for one in trials for name in one.params)]))
    rows = []
    for one in trials:
        values = [format_value(metric, value) for metric, value in zip(metrics, one.values, strict=False)]
        values += [""] * (len(metrics) - len(values))
        state = one.state if one.feasible else "breaks a constraint"
        rows.append([f"trial-{one.number}", state, *values, *(plain(one.params.get(name)) for name in names)])
    return markdown_table(["trial", "state", *metrics, *names], rows)


def plain(value: Value) -> str:
    """A setting's value, numbers to 4 digits."""
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _importance(report: SweepReport) -> str:
    parts = []
    for metric, shares in report.importance.items():
        rows = [[name, f"{100 * share:.0f} %"] for name, share in shares.items()]
        parts.append(f"## Importance for {metric} (PED-ANOVA)\n\n{markdown_table(['setting', 'share'], rows)}")
    return "\n\n".join(parts)
