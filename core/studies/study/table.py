"""Writes ``results.md``: a study's results as a Markdown report, with shares in per cent.

Flow: ``core.studies.study.results`` -> **table**.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.spec.run.metric_names import is_evaluation_share
from core.studies.study.statistics import holm


def markdown(results: Mapping[str, Any]) -> str:
    """The full report."""
    parts = [f"# Study: {results['name']}", results["about"], _facts(results), _means(results), _cost(results)]
    parts.append(_budgets(results))
    adjusted = _holm_by_comparison(results["compare"])
    parts += [
        _comparison(comparison, results["arms"][comparison["arm"]]["cost"], adjusted)
        for comparison in results["compare"]
    ]
    parts.append(_failures(results))
    return "\n\n".join(part for part in parts if part) + "\n"


def format_value(metric: str, value: float) -> str:
    """``value`` as text: in per cent with one decimal, or plain with three."""
    return f"{100 * value:.1f}" if is_evaluation_share(metric) else f"{value:.3f}"


def _with_interval(metric: str, mean: Mapping[str, Any], signed: bool = False) -> str:
    sign = "+" if signed and mean["mean"] > 0 else ""
    text = f"{sign}{format_value(metric, mean['mean'])}"
    if mean["low"] is None:
        return text
    return f"{text} ({format_value(metric, mean['low'])} to {format_value(metric, mean['high'])})"


def _facts(results: Mapping[str, Any]) -> str:
    seeds = ", ".join(map(str, results["seeds"]))
    budgets = ", ".join(f"{seconds:g} s" for seconds in results["budgets"])
    steps = f"{results['steps']} steps per arm" if results["steps"] else "Each arm is trained for its own budget"
    length = f"Each arm is trained for each budget ({budgets})" if budgets else steps
    source = f" Config {results['config']}, on {results['machine']}." if results.get("config") else ""
    done_count = sum(len(arm["seeds"]) for arm in results["arms"].values())
    total = len(results["arms"]) * len(results["seeds"])
    unfinished = "" if done_count == total else f" {done_count} of {total} runs are done."
    return (
        f"{length}, seeds {seeds}.{unfinished} Means over seeds with 95 % intervals (Student's t); shares "
        "in per cent. *Final* is the teacher, or the student of an arm without one. Intervals, p (t) and p (exact) "
        "are of one comparison each; p (Holm) is p (t) adjusted for all comparisons of final networks in this study. "
        "If all seeds have exactly the same difference, the spread is unknown: there is no interval and no p (t)."
        f"{source}"
    )


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _means(results: Mapping[str, Any]) -> str:
    rows = []
    for name, arm in results["arms"].items():
        for network in ("student", "teacher"):
            values = arm["networks"].get(network)
            if values:
                cells = [_with_interval(m, values[m]) if m in values else "" for m in results["metrics"]]
                rows.append([f"{name}, {network}", str(len(arm["seeds"])), *cells])
    return (
        "## Means\n\n" + markdown_table(["arm", "seeds", *results["metrics"]], rows)
        if rows
        else "No run is finished yet."
    )


def _cost(results: Mapping[str, Any]) -> str:
    rows = []
    for name, arm in results["arms"].items():
        cost = arm["cost"]
        if cost:
            ratio = f"{cost['ratio']['mean']:.2f}" if cost["ratio"] else ""
            step = 1000 * cost["step_seconds"]["mean"]
            flops = f"{cost['flops'] / 1e12:.2f}" if cost.get("flops") else ""
            rows.append([name, f"{step:.0f} ms", f"{cost['train_seconds']['mean']:.0f} s", ratio, flops])
    head = ["arm", "step", "training", "relative to the first arm's step", "TFLOPs"]
    return "## Cost\n\n" + markdown_table(head, rows) if rows else ""


def _budgets(results: Mapping[str, Any]) -> str:
    """Differences at each budget, and the budget at which an arm overtakes its baseline."""
    budgets = results["budgets"]
    if not budgets:
        return ""
    by_budget: dict[tuple[str, str, str, float], str] = {}
    for comparison in results["compare"]:
        arm, base = (results["arms"][comparison[key]] for key in ("arm", "baseline"))
        seconds = arm["cost"].get("budget", 0.0)
        for metric, networks in comparison["metrics"].items():
            if "final" in networks:
                difference = _with_interval(metric, networks["final"]["difference"], signed=True)
                by_budget[arm["of"], base["of"], metric, seconds] = difference
    rows = []
    for comparison in results["crossings"]:
        key = (comparison["arm"], comparison["baseline"], comparison["metric"])
        cells = [by_budget.get((*key, seconds), "") for seconds in budgets]
        word = "at" if comparison["kind"] in ("overtakes", "falls behind") else "from"
        time_text = f" {word} {comparison['seconds']:.0f} s" if comparison["seconds"] is not None else ""
        rows.append(
            [
                f"{comparison['arm']} - {comparison['baseline']}",
                comparison["metric"],
                *cells,
                f"{comparison['kind']}{time_text}",
            ]
        )
    if not rows:
        return ""
    clock = {arm["cost"].get("clock") for arm in results["arms"].values()} - {None}
    clock_text = "CPU time of all threads" if clock == {"cpu"} else "elapsed time"
    head = ["arms", "metric", *(f"{seconds:g} s" for seconds in budgets), "crossing"]
    text = (
        f"Differences of final networks at equal budgets ({clock_text}). If an interval contains 0, or one seed gives "
        "none, the difference is *not significant*."
    )
    return f"## By budget\n\n{text}\n\n" + markdown_table(head, rows)


def _holm_by_comparison(compare: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], float]:
    """The Holm-adjusted p value of each comparison of final networks, by arm, baseline and metric."""
    values = {
        (comparison["arm"], comparison["baseline"], metric): networks["final"]["p_t"]
        for comparison in compare
        for metric, networks in comparison["metrics"].items()
        if "final" in networks and networks["final"]["p_t"] is not None
    }
    return dict(zip(values, holm(list(values.values())), strict=True))


def _comparison(
    comparison: Mapping[str, Any], cost: Mapping[str, Any], adjusted: Mapping[tuple[str, str, str], float]
) -> str:
    """The section of one comparison. ``cost``: the cost of its arm, with the budget if there is one."""
    rows = []
    for metric, networks in comparison["metrics"].items():
        for network, result in networks.items():
            p = adjusted.get((comparison["arm"], comparison["baseline"], metric)) if network == "final" else None
            difference = _difference(metric, result)
            rows.append([metric, network, *difference[:-1], "" if p is None else f"{p:.3f}", difference[-1]])
    if not rows:
        return ""
    head = ["metric", "network", "difference", "by seed", "p (t)", "p (exact)", "p (Holm)", "interval excludes 0"]
    equal = {
        "steps": "At equal steps",
        "budget": f"At equal budgets ({cost.get('budget', 0.0):g} s of training)",
    }.get(comparison.get("equal", ""), "Trained for different numbers of steps and times")
    return f"## {comparison['arm']} - {comparison['baseline']}\n\n{equal}:\n\n{markdown_table(head, rows)}"


def _difference(metric: str, result: Mapping[str, Any]) -> list[str]:
    by_seed = ", ".join(f"{format_value(metric, value)}" for value in result["difference"]["values"])
    chances = ["" if result[p] is None else f"{result[p]:.3f}" for p in ("p_t", "p_exact")]
    return [
        _with_interval(metric, result["difference"], signed=True),
        by_seed,
        *chances,
        "" if result["difference"]["low"] is None else "yes" if result["significant"] else "no",
    ]


def _failures(results: Mapping[str, Any]) -> str:
    lines = [
        f"- {name}, seed {seed}: {reason}"
        for name, arm in results["arms"].items()
        for seed, reason in arm["failed"].items()
    ]
    text = "## Failed runs\n\n" + "\n".join(lines) if lines else ""
    notes = [
        f"- {name}, seed {seed}: {note}"
        for name, arm in results["arms"].items()
        for seed, per_seed in arm["notes"].items()
        for note in per_seed
    ]
    return text + ("\n\n## Not evaluated\n\n" + "\n".join(notes) if notes else "")
