"""What the cells say together: which setting of each family tuning chose, and the comparisons that were named.

Flow: ``cells/*.json`` -> ``chosen_arms`` -> ``summary``, which ``results.json`` and ``results.md`` hold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict
from statistics import fmean
from typing import Any

from core.studies.adapting.config import AdaptStudy, Comparison
from core.studies.adapting.paths import Curves, difference, holm, nested
from core.studies.study.statistics import mean_of

Cell = tuple[int, int]  # seed, draw
Cells = Mapping[str, Mapping[Cell, Mapping[str, Any]]]  # arm -> seed and draw -> what the cell wrote


def criterion(curve: Mapping[str, list[float]]) -> float:
    """What a setting is chosen by: the mean of what it gains where it retains 85 % and 95 %."""
    path = Curves.of(curve)
    return fmean([path.gained_at(0.85), path.gained_at(0.95)])


def chosen_arms(study: AdaptStudy, tuning: Cells) -> dict[str, str]:
    """The arm that tuning chose of each family, by `criterion`; families with an arm that is not tuned yet are left
    out.
    """
    families: dict[str, list[str]] = defaultdict(list)
    for arm in study.arms:
        families[arm.family].append(arm.name)
    chosen = {}
    for family, names in families.items():
        if all(tuning.get(name) for name in names):
            scores = {name: fmean(criterion(one["curve"]) for one in tuning[name].values()) for name in names}
            chosen[family] = max(names, key=scores.__getitem__)
    return chosen


def best_control(study: AdaptStudy, chosen: Mapping[str, str], tuning: Cells) -> str:
    """The family without a teacher that was best in tuning; "" where none is tuned."""
    scores = {
        family: fmean(criterion(one["curve"]) for one in tuning[chosen[family]].values())
        for family in study.without_teacher
        if family in chosen
    }
    return max(scores, key=scores.__getitem__, default="")


def summary(study: AdaptStudy, tuning: Cells, report: Mapping[str, Cells]) -> dict[str, Any]:
    """The results as plain data; ``report`` holds the cells of each condition by its name."""
    chosen = chosen_arms(study, tuning)
    control = best_control(study, chosen, tuning)
    primary = [_compared(study, one, one.control or control, chosen, report) for one in study.primary]
    named = {f"{i}": one["p"] for i, one in enumerate(primary) if one.get("p") is not None}
    for name, p in holm(named).items():
        primary[int(name)]["p_holm"] = p
    return {
        "name": study.name,
        "about": study.about,
        "chosen": chosen,
        "best_control": control,
        "tuning": {name: fmean(criterion(one["curve"]) for one in cells.values()) for name, cells in tuning.items()},
        "primary": primary,
        "conditions": {name: _conditions(cells) for name, cells in report.items()},
    }


def _compared(
    study: AdaptStudy, asked: Comparison, control: str, chosen: Mapping[str, str], report: Mapping[str, Cells]
) -> dict[str, Any]:
    """One comparison, paired by seed and draw."""
    found: dict[str, Any] = {**asked.model_dump(), "control": control}
    cells = report.get(asked.condition, {})
    ours, theirs = cells.get(chosen.get(asked.family, ""), {}), cells.get(chosen.get(control, ""), {})
    by_seed: dict[int, list[float]] = defaultdict(list)
    for seed, draw in sorted(ours.keys() & theirs.keys()):
        mine, control_curves = (Curves.of(one[seed, draw]["curve"]) for one in (ours, theirs))
        by_seed[seed].append(difference(mine, control_curves, asked.measure))
    if by_seed:
        result = nested(by_seed)
        found |= {"seeds": len(by_seed), **asdict(result.difference), "p": result.p_t}
    return found


def _conditions(cells: Cells) -> dict[str, Any]:
    """What each arm gains and retains: means over the seeds, of the means of their draws."""
    return {
        arm: {
            "gained at 85 %": _mean(found, lambda one: Curves.of(one["curve"]).gained_at(0.85)),
            "gained at 95 %": _mean(found, lambda one: Curves.of(one["curve"]).gained_at(0.95)),
            "third hand at 85 %": _mean(found, lambda one: Curves.of(one["curve"]).third_at(0.85)),
            "cpu_seconds": _mean(found, lambda one: float(one["cpu_seconds"])),
            "at alpha 1": {name: _last(found, name) for name in next(iter(found.values()))["curve"]},
        }
        for arm, found in cells.items()
    }


def _last(found: Mapping[Cell, Mapping[str, Any]], name: str) -> dict[str, Any]:
    return _mean(found, lambda one: float(one["curve"][name][-1]))


def _mean(found: Mapping[Cell, Mapping[str, Any]], value: Callable[[Mapping[str, Any]], float]) -> dict[str, Any]:
    by_seed: dict[int, list[float]] = defaultdict(list)
    for (seed, _), one in sorted(found.items()):
        by_seed[seed].append(value(one))
    return asdict(mean_of([fmean(some) for some in by_seed.values()]))


def markdown(results: Mapping[str, Any]) -> str:
    """The results as tables."""
    lines = [f"# {results['name']}", "", results["about"], ""]
    lines += [f"Best control without a teacher in tuning: {results['best_control'] or 'not known yet'}.", ""]
    lines += [
        "| family | control | measure | condition | difference | 95 % interval | seeds | p (Holm) |",
        "|---" * 8 + "|",
    ]
    for one in results["primary"]:
        if "mean" in one:
            bounds = "" if one["low"] is None else f"{one['low']:+.1f} to {one['high']:+.1f}"
            p = f"{one['p_holm']:.3f}" if "p_holm" in one else ""
            lines.append(
                f"| {one['family']} | {one['control']} | {one['measure']} | {one['condition']} | {one['mean']:+.1f} | "
                f"{bounds} | {one['seeds']} | {p} |"
            )
    for name, table in results["conditions"].items():
        lines += [
            "",
            f"## {name}",
            "",
            "| arm | at 85 % | at 95 % | third | gained, retained, third at alpha 1 | CPU s |",
        ]
        lines.append("|---" * 6 + "|")
        for arm, row in table.items():
            ends = ", ".join(f"{row['at alpha 1'][f'{data}/R@10']['mean']:.1f}" for data in ("gain", "retain", "third"))
            shown = " | ".join(
                f"{row[key]['mean']:.1f}" for key in ("gained at 85 %", "gained at 95 %", "third hand at 85 %")
            )
            lines.append(f"| {arm} | {shown} | {ends} | {row['cpu_seconds']['mean']:.0f} |")
    return "\n".join(lines) + "\n"


def rounded(value: Any) -> Any:
    """``value`` with its numbers to three places."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, Mapping):
        return {name: rounded(one) for name, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, (list, tuple)) else value
