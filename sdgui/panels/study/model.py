"""The tables of a study's results: means with intervals, and paired differences; also as CSV. No Qt."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.spec.cells import escape_cell, escape_row
from core.spec.run.metric_names import is_evaluation_share, is_rank
from core.spec.study.holm import holm
from sdgui.widgets.formats import count, duration, metric_title


@dataclass(frozen=True)
class Cell:
    """A cell: text, sort key and tooltip."""

    text: str
    value: float | str = math.nan
    tip: str = ""
    role: str = ""  # colour role of the theme
    right: bool = True  # right-aligned, as numbers are
    exported: str = ""  # the text in CSV files, if it differs


@dataclass(frozen=True)
class Table:
    """A table. ``metrics``: the metric of each column if ``by_column``, otherwise of each row; "" for none."""

    columns: Sequence[str]
    tips: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    metrics: Sequence[str]
    by_column: bool = False


_EQUAL = {  # budget that both arms share -> title, tooltip
    "steps": ("Equal steps", "Both arms trained for the same number of steps."),
    "budget": ("Equal budget", "Both arms trained for the same budget in seconds."),
}
_DIFFERENT = ("Difference", "In some comparisons, the arms differ in training steps and time.")


def number_text(metric: str, value: float, signed: bool = False) -> str:
    """A value as text, such as ``40.6`` (per cent) or ``0.812``; ``signed`` for differences."""
    text = f"{100 * value:+.1f}" if is_evaluation_share(metric) else f"{value:+.3f}"
    return text if signed else text.lstrip("+")


def probability_text(p: float) -> str:
    """A p value as text, such as ``0.062`` or ``< 0.001``."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def interval_text(metric: str, mean: Mapping[str, Any], signed: bool = False) -> str:
    """A mean with its interval, such as ``40.6 [38.1, 43.1]``; only the mean for a single seed."""
    centre = number_text(metric, mean["mean"], signed)
    low, high = mean["low"], mean["high"]
    if low is None or high is None:
        return centre
    return f"{centre} [{number_text(metric, low, signed)}, {number_text(metric, high, signed)}]"


def mean_text(metric: str, mean: Mapping[str, Any], signed: bool = False) -> str:
    """A mean with half of its interval, such as ``40.6 ± 2.5``; only the mean for a single seed."""
    low, high = mean["low"], mean["high"]
    centre = number_text(metric, mean["mean"], signed)
    return centre if low is None or high is None else f"{centre} ± {number_text(metric, (high - low) / 2)}"


def metric_heading(metric: str) -> str:
    """A metric's title with its unit."""
    return f"{metric_title(metric)}, %" if is_evaluation_share(metric) else metric_title(metric)


def means_table(results: Mapping[str, Any], network: str) -> Table:
    """One row per arm, one column per metric: mean and 95 % interval of ``network`` (final, student or teacher)."""
    metrics = list(results["metrics"])
    rows = []
    for name, arm in results["arms"].items():
        failed = arm.get("failed", {})
        reason = "\n".join(f"seed {seed}: {text}" for seed, text in failed.items())
        seeds = len(arm["seeds"])
        text = f"{seeds}" + (f", {len(failed)} failed" if failed else "")
        cells = [Cell(name, name, reason, right=False), Cell(text, seeds, reason, "error" if failed else "")]
        values = arm["networks"].get(network, {})
        for metric in metrics:
            mean = values.get(metric)
            if mean is None:
                cells.append(
                    Cell("–", tip="No finished run" if not seeds else f"Not evaluated for the {network} network")
                )
            else:
                by_seed = ", ".join(number_text(metric, value) for value in mean["values"])
                tip = f"{metric_title(metric)}: {interval_text(metric, mean)}\nBy seed: {by_seed}"
                cells.append(Cell(mean_text(metric, mean), mean["mean"], tip, exported=interval_text(metric, mean)))
        rows.append([*cells, *_cost_cells(arm.get("cost") or {})])
    tips = ["", "Finished seeds", *(f"Mean of {metric} ± half of its 95 % interval" for metric in metrics)]
    return Table(
        ["Arm", "Seeds", *map(metric_heading, metrics), "Step", "Training", "Cost"],
        [*tips, "Mean time per step", "Mean training time", "Time per step relative to the first arm"],
        rows,
        ["", "", *metrics, "", "", ""],
        by_column=True,
    )


def _cost_cells(cost: Mapping[str, Any]) -> list[Cell]:
    if not cost:
        return [Cell("–")] * 3
    step, train, ratio = cost["step_seconds"]["mean"], cost["train_seconds"]["mean"], cost.get("ratio")
    last = Cell(f"{ratio['mean']:.2f} x", ratio["mean"]) if ratio else Cell("–")
    return [Cell(f"{count(1000 * step)} ms", step), Cell(duration(train), train), last]


def differences_table(results: Mapping[str, Any], network: str) -> Table:
    """One row per comparison and metric: paired difference, intervals and tests."""
    rows, metrics = [], []
    adjusted = _holm_p_values(results, network)
    for comparison in results["compare"]:
        by_metric = {metric: networks.get(network) for metric, networks in comparison["metrics"].items()}
        for metric, paired in by_metric.items():
            if paired is None:
                continue
            ratio = comparison.get("cost_ratio")
            rows.append(
                [
                    Cell(comparison["arm"], comparison["arm"], right=False),
                    Cell(comparison["baseline"], comparison["baseline"], right=False),
                    Cell(metric_title(metric), metric, right=False),
                    *_paired_cells(metric, paired),
                    _verdict_cell(adjusted.get((comparison["arm"], comparison["baseline"], metric))),
                    _probability_cell(paired["p_exact"]),
                    Cell(f"{ratio['mean']:.2f} x", ratio["mean"]) if ratio else Cell("–"),
                ]
            )
            metrics.append(metric)
        if not comparison["metrics"]:
            missing = [
                name for name in (comparison["arm"], comparison["baseline"]) if not results["arms"][name]["seeds"]
            ]
            reason = f"{' and '.join(missing)}: no finished run" if missing else "No seed finished in both arms"
            names = [Cell(comparison[key], comparison[key], reason, right=False) for key in ("arm", "baseline")]
            rows.append([*names, Cell(reason, reason, right=False), *[Cell("–", tip=reason)] * 5])
            metrics.append("")
    kinds = {str(comparison.get("equal", "")) for comparison in results["compare"]}
    equal = _EQUAL.get(kinds.pop(), _DIFFERENT) if len(kinds) == 1 else _DIFFERENT
    columns = ["Arm", "Against", "Metric", equal[0], "Significant (t)", "Significant (Holm)", "p (exact)", "Step cost"]
    tips = [
        "",
        "Baseline of the comparison",
        "",
        "Mean paired difference over seeds ± half of its 95 % interval; shares in percentage points. " + equal[1],
        "Whether p of the paired t test (two-sided) is below 0.05, that is, the interval excludes zero",
        "Whether p of the t test, adjusted for all comparisons of final networks in this study (Holm 1979), is below "
        "0.05",
        "Exact sign-flip permutation test, two-sided. With n seeds p is at least 2 / 2^n: 0.062 for 5 seeds",
        "Time per step relative to the baseline",
    ]
    return Table(columns, tips, rows, metrics)


def _holm_p_values(results: Mapping[str, Any], network: str) -> dict[tuple[str, str, str], float]:
    """(arm, baseline, metric) -> Holm-adjusted p of final networks; {} for other networks."""
    values = {
        (comparison["arm"], comparison["baseline"], metric): networks["final"]["p_t"]
        for comparison in results["compare"]
        for metric, networks in comparison["metrics"].items()
        if network == "final" and networks.get("final") and networks["final"]["p_t"] is not None
    }
    return dict(zip(values, holm(list(values.values())), strict=True))


def _verdict_cell(p: float | None, missing: str = "–") -> Cell:
    """Whether a difference with this p value is significant; ``missing``: why it has none."""
    if p is None:
        return Cell(missing, math.nan, right=False)
    return Cell(f"{'yes' if p < 0.05 else 'no'} (p {'' if p < 0.001 else '= '}{probability_text(p)})", p, right=False)


def _paired_cells(metric: str, paired: Mapping[str, Any]) -> list[Cell]:
    difference = paired["difference"]
    by_seed = ", ".join(number_text(metric, value, signed=True) for value in difference["values"])
    is_significant = bool(paired["significant"])
    is_better = (difference["mean"] > 0) is not is_rank(metric)
    role = "" if not is_significant else "good" if is_better else "error"
    reason = "one seed" if len(difference["values"]) == 1 else "no spread"  # why there is no interval
    text, interval = (show(metric, difference, signed=True) for show in (mean_text, interval_text))
    first = Cell(text, difference["mean"], f"{interval}\nBy seed: {by_seed}", role, exported=interval)
    return [first, _verdict_cell(paired["p_t"], reason)]


def _probability_cell(p: float | None) -> Cell:
    return Cell("–") if p is None else Cell(probability_text(p), p)


def to_csv(tables: Sequence[Table]) -> str:
    """The tables as CSV, separated by empty lines."""
    text = io.StringIO()
    writer = csv.writer(text)
    for index, table in enumerate(tables):
        if index:
            writer.writerow([])
        writer.writerow(escape_row(table.columns))
        # left-aligned cells are text, which a spreadsheet must not execute as a formula
        writer.writerows(
            [
                [(cell.exported or cell.text) if cell.right else escape_cell(cell.text) for cell in row]
                for row in table.rows
            ]
        )
    return text.getvalue()
