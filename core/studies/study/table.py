"""``results.md``: a study's results as a report, negative ones too. Shares are in per cent.

Flow: ``core.studies.study.results`` -> **table**.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.studies.study.statistics import holm

PLAIN = ("CIDEr", "rank", "MRR")  # metrics that are no shares


def markdown(results: Mapping[str, Any]) -> str:
    """The full report."""
    parts = [f"# Study: {results['name']}", results["about"], _facts(results), _means(results), _cost(results)]
    parts.append(_budgets(results))
    adjusted = _adjusted(results["compare"])
    parts += [_comparison(one, results["arms"][one["arm"]]["cost"], adjusted) for one in results["compare"]]
    parts.append(_failures(results))
    return "\n\n".join(part for part in parts if part) + "\n"


def shown(metric: str, value: float) -> str:
    """A value with the usual precision."""
    return f"{value:.3f}" if any(word in metric for word in PLAIN) else f"{100 * value:.1f}"


def _with_ends(metric: str, mean: Mapping[str, Any], signed: bool = False) -> str:
    sign = "+" if signed and mean["mean"] > 0 else ""
    text = f"{sign}{shown(metric, mean['mean'])}"
    if mean["low"] is None:
        return text
    return f"{text} ({shown(metric, mean['low'])} to {shown(metric, mean['high'])})"


def _facts(results: Mapping[str, Any]) -> str:
    seeds = ", ".join(map(str, results["seeds"]))
    budgets = ", ".join(f"{seconds:g} s" for seconds in results["budgets"])
    length = f"Each arm is trained for each of {budgets}" if budgets else f"{results['steps']} steps per arm"
    source = f" Config {results['config']}, on {results['machine']}." if results.get("config") else ""
    done = sum(len(arm["seeds"]) for arm in results["arms"].values())
    wanted = len(results["arms"]) * len(results["seeds"])
    left = "" if done == wanted else f" {done} of {wanted} runs are done."
    return (
        f"{length}, seeds {seeds}.{left} Means over seeds with 95 % intervals (Student's t); shares "
        "in per cent. *Final* is the teacher where an arm has one, else the student. Intervals, p (t) and p (exact) "
        "are of one comparison each; p (Holm) is p (t) adjusted for all comparisons of final networks in this study. "
        "Where all seeds gain exactly the same, the spread is unknown, and there is no interval and no p (t)."
        f"{source}"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _means(results: Mapping[str, Any]) -> str:
    rows = []
    for name, arm in results["arms"].items():
        for weights in ("student", "teacher"):
            values = arm["networks"].get(weights)
            if values:
                cells = [_with_ends(m, values[m]) if m in values else "" for m in results["metrics"]]
                rows.append([f"{name}, {weights}", str(len(arm["seeds"])), *cells])
    return "## Means\n\n" + _table(["arm", "seeds", *results["metrics"]], rows) if rows else "No run is finished yet."


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
    return "## Cost\n\n" + _table(head, rows) if rows else ""


def _budgets(results: Mapping[str, Any]) -> str:
    """Differences at each budget, and where an arm overtakes its baseline."""
    budgets = results["budgets"]
    if not budgets:
        return ""
    by_budget: dict[tuple[str, str, str, float], str] = {}
    for one in results["compare"]:
        arm, base = (results["arms"][one[key]] for key in ("arm", "baseline"))
        seconds = arm["cost"].get("budget", 0.0)
        for metric, networks in one["metrics"].items():
            if "final" in networks:
                told = _with_ends(metric, networks["final"]["difference"], signed=True)
                by_budget[arm["of"], base["of"], metric, seconds] = told
    rows = []
    for one in results["crossings"]:
        key = (one["arm"], one["baseline"], one["metric"])
        cells = [by_budget.get((*key, seconds), "") for seconds in budgets]
        word = "at" if one["kind"] in ("overtakes", "falls behind") else "from"
        where = f" {word} {one['seconds']:.0f} s" if one["seconds"] is not None else ""
        rows.append([f"{one['arm']} - {one['baseline']}", one["metric"], *cells, f"{one['kind']}{where}"])
    if not rows:
        return ""
    clock = {arm["cost"].get("clock") for arm in results["arms"].values()} - {None}
    told = "CPU time of all threads" if clock == {"cpu"} else "elapsed time"
    head = ["arms", "metric", *(f"{seconds:g} s" for seconds in budgets), "crossing"]
    text = (
        f"Differences of final networks at equal budgets ({told}). Where an interval holds 0, or a single seed gives "
        "none, the arms are not told apart."
    )
    return f"## By budget\n\n{text}\n\n" + _table(head, rows)


def _adjusted(compare: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], float]:
    """Holm's p of each comparison of final networks, by arm, baseline and metric."""
    values = {
        (one["arm"], one["baseline"], metric): networks["final"]["p_t"]
        for one in compare
        for metric, networks in one["metrics"].items()
        if "final" in networks and networks["final"]["p_t"] is not None
    }
    return dict(zip(values, holm(list(values.values())), strict=True))


def _comparison(one: Mapping[str, Any], cost: Mapping[str, Any], adjusted: Mapping[tuple[str, str, str], float]) -> str:
    """``cost``: of the arm, with its budget if it has one."""
    rows = []
    for metric, networks in one["metrics"].items():
        for weights, found in networks.items():
            p = adjusted.get((one["arm"], one["baseline"], metric)) if weights == "final" else None
            difference = _difference(metric, found)
            rows.append([metric, weights, *difference[:-1], "" if p is None else f"{p:.3f}", difference[-1]])
    if not rows:
        return ""
    head = ["metric", "network", "difference", "by seed", "p (t)", "p (exact)", "p (Holm)", "interval excludes 0"]
    equal = {
        "steps": "At equal steps",
        "budget": f"At equal budgets ({cost.get('budget', 0.0):g} s of training)",
        "time": "Trained for equal wall-clock time",
    }.get(one.get("equal", ""), "Trained for different numbers of steps and times")
    text = f"## {one['arm']} - {one['baseline']}\n\n{equal}:\n\n{_table(head, rows)}"
    clock = [[metric, *_difference(metric, found)] for metric, found in one["equal_clock"].items()]
    if clock and one["cost_ratio"]:
        text += (
            f"\n\nAt equal wall-clock time (a step takes {one['cost_ratio']['mean']:.2f} times the baseline's; the "
            "slower arm is cut short on its validation curve, before its learning rate has decayed, which understates "
            f"it):\n\n{_table([head[0], *head[2:6], head[-1]], clock)}"
        )
    return text


def _difference(metric: str, found: Mapping[str, Any]) -> list[str]:
    by_seed = ", ".join(f"{shown(metric, value)}" for value in found["difference"]["values"])
    chances = ["" if found[p] is None else f"{found[p]:.3f}" for p in ("p_t", "p_exact")]
    return [
        _with_ends(metric, found["difference"], signed=True),
        by_seed,
        *chances,
        "" if found["difference"]["low"] is None else "yes" if found["significant"] else "no",
    ]


def _failures(results: Mapping[str, Any]) -> str:
    lines = [
        f"- {name}, seed {seed}: {why}" for name, arm in results["arms"].items() for seed, why in arm["failed"].items()
    ]
    text = "## Failed runs\n\n" + "\n".join(lines) if lines else ""
    notes = [
        f"- {name}, seed {seed}: {note}"
        for name, arm in results["arms"].items()
        for seed, some in arm["notes"].items()
        for note in some
    ]
    return text + ("\n\n## Not evaluated\n\n" + "\n".join(notes) if notes else "")
