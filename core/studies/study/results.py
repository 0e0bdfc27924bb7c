"""What a study found: means with their intervals, paired differences, cost; as JSON, a table and a plot.

Flow: ``exports/measures.json`` of the runs that are done -> ``results.json`` -> ``core.studies.study.table``,
``core.studies.study.plot``, the window. It is written anew after every run, so that an unfinished study can be read.

An arm's *final* network is its teacher where it has one, else its student: what is used afterwards by default.

results.json::

    {"version", "name", "config": DIGEST, "machine", "about", "steps", "seeds", "arms": {NAME: {"seeds": [...],
        "failed": {SEED: why}, "notes": {SEED: [...]},
        "cost": {"step_seconds": MEAN, "train_seconds": MEAN, "ratio": MEAN to the first arm},
        "networks": {"student": {METRIC: MEAN}, "teacher": ..., "final": ...}}},
     "compare": [{"arm", "baseline", "metrics": {METRIC: {"final": PAIRED, "student": PAIRED, "teacher": PAIRED}},
        "cost_ratio": MEAN, "equal_clock": {METRIC: PAIRED}, "equal": "steps", "budget", "time" or "" }],
     "metrics": [...]}

A study with budgets also has "budgets": [SECONDS, ...], for each trained arm "of" and, in its cost, "budget", "steps",
"clock", "flops", and "crossings": [{"arm", "baseline", "metric", "kind", "seconds", "last": the difference at the
greatest budget as {"seconds", "mean", "low", "high"}}].

MEAN is {"mean", "low", "high", "values"}; PAIRED is {"difference": MEAN, "p_t", "p_exact", "significant", "seeds"}.

"equal" says what both arms of the plain differences had the same of: steps, a budget, wall-clock time
(``as_long_as``), or nothing. *Equal clock* compares on the validation curve at the time by which the faster
arm is done: the slower one is cut short there, between two validations linearly. Its learning rate has not decayed by
then, so this understates it; an arm with ``as_long_as`` is the fair comparison, and costs a run.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.study import Arm, Study, StudyDir, budget_name
from core.spec.study.records import StepTimeFile
from core.studies.study.budgets import step_time, steps_within
from core.studies.study.claiming import StudyError
from core.studies.study.cost_plot import draw_costs
from core.studies.study.crossings import Difference, crossing
from core.studies.study.places.place import trained_on
from core.studies.study.plot import draw
from core.studies.study.statistics import Paired, mean_of, paired
from core.studies.study.table import markdown

RESULTS_VERSION = 1
FINAL = "final"
Found = dict[int, dict[str, Any]]  # seed -> measures.json


def write_results(out: StudyDir, study: Study) -> dict[str, Any]:
    """Write ``results.json``, ``results.md`` and ``plot.svg`` from the runs that are done; returns the first."""
    results = collect(out, study)
    write_whole(out.results, (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())
    write_whole(out.table, markdown(results).encode())
    write_whole(out.plot, draw(results).encode())
    if results["budgets"]:
        write_whole(out.costs, draw_costs(results).encode())
    return results


def collect(out: StudyDir, study: Study) -> dict[str, Any]:
    """The results as plain data."""
    read = {arm.name: _measures(out, arm.name, study.seeds) for arm in study.trained}
    found = {name: measured for name, (measured, _) in read.items()}
    status = out.read_status()
    failed = {(run.arm, run.seed): run.message for run in (status.runs if status else []) if run.state == "failed"}
    failed |= {(name, seed): why for name, (_, damaged) in read.items() for seed, why in damaged.items()}
    arms: dict[str, dict[str, Any]] = {}
    for arm in study.trained:
        base = study.base(arm.name).name
        first = budget_name(study.arms[0].name, arm.budget) if study.budgets else study.arms[0].name
        arms[arm.name] = {
            "of": base,
            "seeds": sorted(found[arm.name]),
            "notes": {str(seed): one["notes"] for seed, one in found[arm.name].items() if one.get("notes")},
            "failed": {str(seed): why for (name, seed), why in failed.items() if name == arm.name},
            "cost": _cost(found[arm.name], found[first]) | _budget(out, study, arm, first) if found[arm.name] else {},
            "networks": _networks(found[arm.name]),
        }
    metrics: dict[str, None] = {}
    for arm_found in arms.values():
        metrics.update(dict.fromkeys(arm_found["networks"].get(FINAL, {})))
    compare = [
        {**_comparison(name, base, found[name], found[base]), "equal": _equal(study.arm(name), study.arm(base))}
        for name, base in study.pairs
    ]
    return {
        "version": RESULTS_VERSION,
        "name": study.name,
        "config": study.digest(),
        "machine": _machine(out, study),
        "about": study.about,
        "steps": study.steps,
        "seeds": study.seeds,
        "metrics": list(metrics),
        "arms": arms,
        "compare": compare,
        "budgets": sorted(study.budgets),
        "crossings": _crossings(study, compare),
    }


def _machine(out: StudyDir, study: Study) -> str:
    """What the results come from: processor and device, versions, and where the step times were measured."""
    times = [one for arm in study.arms if (one := _read_time(out, arm.name)) is not None]
    where = sorted({f"{one.device} of {one.machine}" for one in times})
    versions = f"Python {platform.python_version()}, torch {version('torch')}"
    cores = f"{platform.machine()}, {os.cpu_count()} cores"
    found = (trained_on(out.run(arm.name, seed)) for arm in study.trained for seed in study.seeds)
    names = sorted({name for name in found if name is not None})
    elsewhere = [f"trained on {', '.join(name or 'this computer' for name in names)}"] if any(names) else []
    return "; ".join([cores, versions, *elsewhere, *(f"step times: {one}" for one in where)])


def _read_time(out: StudyDir, arm: str) -> StepTimeFile | None:
    try:
        return out.read_step_time(arm, 0)
    except UserError:
        return None


def _budget(out: StudyDir, study: Study, arm: Arm, first: str) -> dict[str, Any]:
    """Budget, operations and the measured cost of a step of a trained arm; nothing where it has no budget."""
    if not arm.budget:
        return {}
    try:
        own = step_time(out, study, arm.name)
    except StudyError:
        return {"budget": arm.budget}
    steps = steps_within(out, study, arm.name, arm.budget)
    found = {"budget": arm.budget, "steps": steps, "clock": own.clock, "flops": steps * own.step_flops}
    try:
        ratio = own.step_seconds / step_time(out, study, first).step_seconds
    except StudyError:
        return found
    return found | {"ratio": asdict(mean_of([ratio]))}


def _crossings(study: Study, compare: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Where an arm overtakes its baseline, for each comparison and metric of a study with budgets."""
    points: dict[tuple[str, str, str], list[Difference]] = {}
    for one in compare if study.budgets else ():
        for metric, networks in one["metrics"].items():
            if FINAL in networks:
                key = (study.base(one["arm"]).name, study.base(one["baseline"]).name, metric)
                mean, seconds = networks[FINAL]["difference"], study.arm(one["arm"]).budget
                points.setdefault(key, []).append(Difference(seconds, mean["mean"], mean["low"], mean["high"]))
    found = []
    for (arm, baseline, metric), some in points.items():
        where = crossing(some)
        if where is not None:
            found.append({"arm": arm, "baseline": baseline, "metric": metric, **asdict(where)})
    return found


def _measures(out: StudyDir, arm: str, seeds: Sequence[int]) -> tuple[Found, dict[int, str]]:
    """What was measured of an arm, and the seeds whose file cannot be used with the reason."""
    found: Found = {}
    damaged: dict[int, str] = {}
    for seed in seeds:
        try:
            raw = out.read_measures(arm, seed)
        except UserError as error:
            damaged[seed] = str(error)
            continue
        if raw is None or not raw["networks"]:
            continue
        raw = {"step_seconds": 0.0, "train_seconds": 0.0, "curve": [], **raw}
        networks = raw["networks"]
        networks[FINAL] = networks["teacher"] if "teacher" in networks else networks["student"]
        found[seed] = raw
    return found, damaged


def _networks(found: Found) -> dict[str, dict[str, Any]]:
    """The mean of every metric of every network over the seeds that have it."""
    networks: dict[str, dict[str, Any]] = {}
    for weights in ("student", "teacher", FINAL):
        values: dict[str, list[float]] = {}
        for one in found.values():
            for metric, value in one["networks"].get(weights, {}).items():
                values.setdefault(metric, []).append(value)
        if values:
            networks[weights] = {metric: asdict(mean_of(some)) for metric, some in values.items()}
    return networks


def _cost(found: Found, first: Found) -> dict[str, Any]:
    shared = [seed for seed in found if seed in first and first[seed]["step_seconds"] > 0]
    ratios = [found[seed]["step_seconds"] / first[seed]["step_seconds"] for seed in shared]
    return {
        "step_seconds": asdict(mean_of([one["step_seconds"] for one in found.values()])),
        "train_seconds": asdict(mean_of([one["train_seconds"] for one in found.values()])),
        "ratio": asdict(mean_of(ratios)) if ratios else None,
    }


def _comparison(name: str, base: str, found: Found, baseline: Found) -> dict[str, Any]:
    """``name`` minus ``base`` over the seeds of both; a student too is compared with the baseline's final network."""
    seeds = sorted(found.keys() & baseline.keys())
    metrics: dict[str, dict[str, Any]] = {}
    for weights in (FINAL, "student", "teacher"):
        pairs: dict[str, list[tuple[float, float]]] = {}
        for seed in seeds:
            theirs = baseline[seed]["networks"][FINAL]
            for metric, value in found[seed]["networks"].get(weights, {}).items():
                if metric in theirs:
                    pairs.setdefault(metric, []).append((value, theirs[metric]))
        for metric, values in pairs.items():
            metrics.setdefault(metric, {})[weights] = _plain([a for a, _ in values], [b for _, b in values])
    ratios = [
        found[seed]["step_seconds"] / baseline[seed]["step_seconds"]
        for seed in seeds
        if baseline[seed]["step_seconds"] > 0
    ]
    return {
        "arm": name,
        "baseline": base,
        "seeds": seeds,
        "cost_ratio": asdict(mean_of(ratios)) if ratios else None,
        "metrics": metrics,
        "equal_clock": _equal_clock(found, baseline, seeds),
    }


def _equal(arm: Arm, baseline: Arm) -> str:
    """What both were trained for the same of: "steps", "budget", "time"; "" for nothing."""
    if arm.budget or baseline.budget:
        return "budget" if arm.budget == baseline.budget else ""
    if arm.as_long_as or baseline.as_long_as:
        return "time" if (arm.as_long_as or arm.name) == (baseline.as_long_as or baseline.name) else ""
    return "steps"


def _plain(a: Sequence[float], b: Sequence[float]) -> dict[str, Any]:
    result: Paired = paired(a, b)
    return {**asdict(result), "significant": result.significant, "seeds": len(a)}


def _equal_clock(found: Found, baseline: Found, seeds: Sequence[int]) -> dict[str, Any]:
    """``val/R@1`` and ``val/R@10`` of both at the time by which the faster of the two is done."""
    result = {}
    for k in (1, 10):
        pairs = []
        for seed in seeds:
            ours, theirs = found[seed], baseline[seed]
            end = min(ours["train_seconds"], theirs["train_seconds"])
            a, b = (value_at(one["curve"], end, f"R@{k}") for one in (ours, theirs))
            if a is not None and b is not None:
                pairs.append((a, b))
        if pairs:
            result[f"val/R@{k}"] = _plain([a for a, _ in pairs], [b for _, b in pairs])
    return result


def value_at(curve: Sequence[dict[str, Any]], seconds: float, metric: str) -> float | None:
    """The final network's ``metric`` after so many seconds of training, between two validations linearly.

    0 before the first validation's share; None without any.
    """
    before_time, before = 0.0, 0.0
    last: float | None = None
    for point in curve:
        values = point["values"]
        value = values.get(f"teacher/{metric}", values.get(f"student/{metric}"))
        if value is None:
            continue
        if point["seconds"] >= seconds:
            span = point["seconds"] - before_time
            share = (seconds - before_time) / span if span > 0 else 1.0
            return float(before + (value - before) * share)
        before_time, before, last = point["seconds"], value, value
    return last
