"""Computes a study's results: means with intervals, paired differences and cost, as JSON, a table and a plot.

Flow: ``exports/measures.json`` of the finished runs -> ``results.json`` -> ``core.studies.study.table``,
``core.studies.study.plot``, the window. Rewritten after every run, so that an unfinished study can be read.

An arm's *final* network is the teacher, or the student if there is no teacher: the network used by default afterwards.

results.json::

    {"version", "name", "config": DIGEST, "machine", "about", "steps", "seeds", "arms": {NAME: {"seeds": [...],
        "failed": {SEED: why}, "notes": {SEED: [...]},
        "cost": {"step_seconds": MEAN, "train_seconds": MEAN, "ratio": MEAN to the first arm},
        "networks": {"student": {METRIC: MEAN}, "teacher": ..., "final": ...}}},
     "compare": [{"arm", "baseline", "metrics": {METRIC: {"final": PAIRED, "student": PAIRED, "teacher": PAIRED}},
        "cost_ratio": MEAN, "equal": "steps", "budget" or "" }],
     "metrics": [...]}

Each arm also has "of": the name of the arm in the config, without a budget. A study with budgets also has "budgets":
[SECONDS, ...], and "budget", "steps", "clock" and "flops" in the cost of each arm. It also has "crossings": [{"arm",
"baseline", "metric", "kind", "seconds", "last": the difference at the largest budget as {"seconds", "mean", "low",
"high"}}].

MEAN is {"mean", "low", "high", "values"}; PAIRED is {"difference": MEAN, "p_t", "p_exact", "significant", "seeds"}.

"equal" is what both arms of "metrics" have in common: steps, budget or nothing.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.run.metric_names import is_rank
from core.spec.study import Arm, Study, StudyDir, budget_name
from core.studies.study.budgets import step_time, steps_within
from core.studies.study.claiming import StudyError
from core.studies.study.cost_plot import draw_costs
from core.studies.study.crossings import Difference, crossing
from core.studies.study.places.place import known_machine
from core.studies.study.plot import draw
from core.studies.study.statistics import Paired, mean_of, paired_mean
from core.studies.study.table import markdown

RESULTS_VERSION = 1
FINAL = "final"
MeasuresBySeed = dict[int, dict[str, Any]]  # seed -> measures.json


def write_results(out: StudyDir, study: Study) -> dict[str, Any]:
    """Write ``results.json``, ``results.md`` and ``plot.svg`` from the finished runs, and return the results."""
    results = collect(out, study)
    write_whole(out.results, (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())
    write_whole(out.table, markdown(results).encode())
    write_whole(out.plot, draw(results).encode())
    if results["budgets"]:
        write_whole(out.costs, draw_costs(results).encode())
    return results


def collect(out: StudyDir, study: Study) -> dict[str, Any]:
    """The results of a study as plain data."""
    by_arm = {arm.name: _measures(out, arm.name, study.seeds) for arm in study.arms_to_train}
    measures = {name: run_measures for name, (run_measures, _) in by_arm.items()}
    status = out.read_status()
    failed = {(run.arm, run.seed): run.message for run in (status.runs if status else []) if run.state == "failed"}
    failed |= {(name, seed): reason for name, (_, damaged) in by_arm.items() for seed, reason in damaged.items()}
    arms: dict[str, dict[str, Any]] = {}
    for arm in study.arms_to_train:
        first = budget_name(study.arms[0].name, arm.budget) if study.budgets else study.arms[0].name
        arms[arm.name] = {
            "of": study.configured_arm(arm.name).name,
            "seeds": sorted(measures[arm.name]),
            "notes": {
                str(seed): run_measures["notes"]
                for seed, run_measures in measures[arm.name].items()
                if run_measures.get("notes")
            },
            "failed": {str(seed): reason for (name, seed), reason in failed.items() if name == arm.name},
            "cost": _cost(measures[arm.name], measures[first]) | _budget(out, study, arm, first)
            if measures[arm.name]
            else {},
            "networks": _networks(measures[arm.name]),
        }
    metrics: dict[str, None] = {}
    for arm_results in arms.values():
        metrics.update(dict.fromkeys(arm_results["networks"].get(FINAL, {})))
    compare = [
        {**_comparison(name, base, measures[name], measures[base]), "equal": _equal(study.arm(name), study.arm(base))}
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
    """The processor, the versions, and the machines that trained runs or measured step times."""
    timed_on = set[str]()
    for arm in study.arms:
        with suppress(UserError):
            if (record := out.read_step_time(arm.name, 0)) is not None:
                timed_on.add(f"{record.device} of {record.machine}")
    versions = f"Python {platform.python_version()}, torch {version('torch')}"
    cores = f"{platform.machine()}, {os.cpu_count()} cores"
    machines = (known_machine(out.run(arm.name, seed)) for arm in study.arms_to_train for seed in study.seeds)
    names = sorted({name for name in machines if name is not None})
    trained_on_text = [f"trained on {', '.join(name or 'this computer' for name in names)}"] if any(names) else []
    return "; ".join([cores, versions, *trained_on_text, *(f"step times: {name}" for name in sorted(timed_on))])


def _budget(out: StudyDir, study: Study, arm: Arm, first: str) -> dict[str, Any]:
    """Budget, FLOPs and step time of a trained arm; empty without a budget."""
    if not arm.budget:
        return {}
    try:
        step_cost = step_time(out, study, arm.name)
    except StudyError:
        return {"budget": arm.budget}
    steps = steps_within(out, study, arm.name, arm.budget)
    costs = {"budget": arm.budget, "steps": steps, "clock": step_cost.clock, "flops": steps * step_cost.step_flops}
    try:
        ratio = step_cost.step_seconds / step_time(out, study, first).step_seconds
    except StudyError:
        return costs
    return costs | {"ratio": asdict(mean_of([ratio]))}


def _crossings(study: Study, compare: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The crossing of each comparison and metric, for a study with budgets."""
    points: dict[tuple[str, str, str], list[Difference]] = {}
    for comparison in compare if study.budgets else ():
        for metric, networks in comparison["metrics"].items():
            if FINAL in networks:
                arm, baseline = (study.configured_arm(comparison[key]).name for key in ("arm", "baseline"))
                mean, seconds = networks[FINAL]["difference"], study.arm(comparison["arm"]).budget
                point = Difference(seconds, mean["mean"], mean["low"], mean["high"])
                points.setdefault((arm, baseline, metric), []).append(point)
    crossings = []
    for (arm, baseline, metric), differences in points.items():
        result = crossing(differences, is_rank(metric))
        if result is not None:
            crossings.append({"arm": arm, "baseline": baseline, "metric": metric, **asdict(result)})
    return crossings


def _measures(out: StudyDir, arm: str, seeds: Sequence[int]) -> tuple[MeasuresBySeed, dict[int, str]]:
    """The measures of an arm by seed, and the reason for each seed whose file cannot be used."""
    measures: MeasuresBySeed = {}
    damaged: dict[int, str] = {}
    for seed in seeds:
        try:
            raw = out.read_measures(arm, seed)
        except UserError as error:
            damaged[seed] = str(error)
            continue
        if raw is None or not raw["networks"]:
            continue
        raw = {"step_seconds": 0.0, "train_seconds": 0.0, **raw}
        networks = raw["networks"]
        networks[FINAL] = networks["teacher"] if "teacher" in networks else networks["student"]
        measures[seed] = raw
    return measures, damaged


def _networks(measures: MeasuresBySeed) -> dict[str, dict[str, Any]]:
    """The mean of each network's metrics over the seeds that have the metric."""
    networks: dict[str, dict[str, Any]] = {}
    for weights in ("student", "teacher", FINAL):
        values: dict[str, list[float]] = {}
        for run_measures in measures.values():
            for metric, value in run_measures["networks"].get(weights, {}).items():
                values.setdefault(metric, []).append(value)
        if values:
            networks[weights] = {metric: asdict(mean_of(per_seed)) for metric, per_seed in values.items()}
    return networks


def _cost(measures: MeasuresBySeed, first: MeasuresBySeed) -> dict[str, Any]:
    shared = [seed for seed in measures if seed in first and first[seed]["step_seconds"] > 0]
    ratios = [measures[seed]["step_seconds"] / first[seed]["step_seconds"] for seed in shared]
    return {
        "step_seconds": asdict(mean_of([run_measures["step_seconds"] for run_measures in measures.values()])),
        "train_seconds": asdict(mean_of([run_measures["train_seconds"] for run_measures in measures.values()])),
        "ratio": asdict(mean_of(ratios)) if ratios else None,
    }


def _comparison(name: str, base: str, measures: MeasuresBySeed, baseline: MeasuresBySeed) -> dict[str, Any]:
    """``name`` minus ``base`` over shared seeds; each network is compared with the baseline's final network."""
    seeds = sorted(measures.keys() & baseline.keys())
    metrics: dict[str, dict[str, Any]] = {}
    for weights in (FINAL, "student", "teacher"):
        pairs: dict[str, list[tuple[float, float]]] = {}
        for seed in seeds:
            baseline_metrics = baseline[seed]["networks"][FINAL]
            for metric, value in measures[seed]["networks"].get(weights, {}).items():
                if metric in baseline_metrics:
                    pairs.setdefault(metric, []).append((value, baseline_metrics[metric]))
        for metric, values in pairs.items():
            metrics.setdefault(metric, {})[weights] = _compare([a for a, _ in values], [b for _, b in values])
    ratios = [
        measures[seed]["step_seconds"] / baseline[seed]["step_seconds"]
        for seed in seeds
        if baseline[seed]["step_seconds"] > 0
    ]
    return {
        "arm": name,
        "baseline": base,
        "seeds": seeds,
        "cost_ratio": asdict(mean_of(ratios)) if ratios else None,
        "metrics": metrics,
    }


def _equal(arm: Arm, baseline: Arm) -> str:
    """The quantity that was equal for both arms: "steps", "budget" or ""."""
    if arm.budget or baseline.budget:
        return "budget" if arm.budget == baseline.budget else ""
    return "steps"


def _compare(a: Sequence[float], b: Sequence[float]) -> dict[str, Any]:
    result: Paired = paired_mean(a, b)
    return {**asdict(result), "significant": result.significant, "seeds": len(a)}
