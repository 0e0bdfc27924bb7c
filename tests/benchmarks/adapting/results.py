"""The results of a study of adaptation: the tuned arm of each family, and the planned comparisons.

Flow: ``cells/*.json`` -> `select_arms` -> `summary` -> ``results.json`` and ``results.md``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from statistics import fmean
from typing import Any

from core.studies.study.statistics import holm, mean_of
from tests.benchmarks.adapting.config import AdaptStudy, Arm, Comparison, Condition
from tests.benchmarks.adapting.paths import AT_85, Curves, difference, nested_test

Cell = tuple[int, int]  # seed, draw
Cells = Mapping[str, Mapping[Cell, Mapping[str, Any]]]  # arm -> (seed, draw) -> result of the cell


def criterion(curve: Mapping[str, list[float]]) -> float:
    """The tuning criterion: the mean of the R@10 gained at 85 % and at 95 % retention."""
    path = Curves.of(curve)
    return fmean([path.gained_at(0.85), path.gained_at(0.95)])


def is_tuned(study: AdaptStudy, arm: Arm) -> bool:
    """Whether ``arm`` is trained on the tuning data: it has alternatives, or it may be the best control."""
    return arm.family in study.without_teacher or sum(other.family == arm.family for other in study.arms) > 1


def select_arms(study: AdaptStudy, tuning: Cells) -> dict[str, str]:
    """The arm of each family with the best `criterion` in tuning, or its only arm; families with untuned arms are
    omitted.
    """
    families: dict[str, list[Arm]] = defaultdict(list)
    for arm in study.arms:
        families[arm.family].append(arm)
    selected = {}
    for family, arms in families.items():
        if not is_tuned(study, arms[0]):
            selected[family] = arms[0].name
        elif all(tuning.get(arm.name) for arm in arms):
            scores = {arm.name: _score(tuning[arm.name]) for arm in arms}
            selected[family] = max(scores, key=scores.__getitem__)
    return selected


def best_control(study: AdaptStudy, selected: Mapping[str, str], tuning: Cells) -> str:
    """The family without a teacher that was best in tuning; "" if none has been tuned."""
    scores = {family: _score(tuning[selected[family]]) for family in study.without_teacher if family in selected}
    return max(scores, key=scores.__getitem__, default="")


def _score(cells: Mapping[Cell, Mapping[str, Any]]) -> float:
    """The mean `criterion` of the cells of an arm."""
    return fmean(criterion(cell["curve"]) for cell in cells.values())


def summary(study: AdaptStudy, tuning: Cells, report: Mapping[str, Cells]) -> dict[str, Any]:
    """The results as JSON data; ``report`` has the cells of each condition, by its name."""
    selected = select_arms(study, tuning)
    control = best_control(study, selected, tuning)
    report = {
        condition.name: cells
        for condition in study.conditions
        if (cells := _complete_cells(study, condition, selected, report.get(condition.name, {})))
    }
    primary = [_compare(planned, planned.control or control, selected, report) for planned in study.primary]
    exploratory = [_compare(other, other.control or control, selected, report) for other in study.exploratory]
    tested = [comparison for comparison in primary if comparison.get("p") is not None]
    for comparison, p in zip(tested, holm([comparison["p"] for comparison in tested]), strict=True):
        comparison["p_holm"] = p
    return {
        "name": study.name,
        "about": study.about,
        "chosen": selected,
        "best_control": control,
        "tuning": {name: _score(cells) for name, cells in tuning.items()},
        "primary": primary,
        "exploratory": [{name: row[name] for name in row if name != "p"} for row in exploratory],
        "conditions": {name: _arm_means(cells) for name, cells in report.items()},
    }


def _complete_cells(study: AdaptStudy, condition: Condition, selected: Mapping[str, str], cells: Cells) -> Cells:
    """The cells of the seeds and draws that every selected arm of ``condition`` has finished; empty if there is none.

    So all arms are means over the same cells when the computation was stopped early.
    """
    arms = sorted(selected[family] for family in condition.families or selected if family in selected)
    complete = set.intersection(*({*cells.get(arm, {})} for arm in arms)) if arms else set()
    return {arm: {key: cells[arm][key] for key in sorted(complete)} for arm in arms} if complete else {}


def _compare(
    comparison: Comparison, control: str, selected: Mapping[str, str], report: Mapping[str, Cells]
) -> dict[str, Any]:
    """The results of ``comparison``, paired by seed and draw."""
    row: dict[str, Any] = {**comparison.model_dump(), "control": control}
    cells = report.get(comparison.condition, {})
    ours, theirs = cells.get(selected.get(comparison.family, ""), {}), cells.get(selected.get(control, ""), {})
    metric = "top1" if comparison.measure.startswith("top-1") else "R@10"
    by_seed: dict[int, list[float]] = defaultdict(list)
    for seed, draw in sorted(ours.keys() & theirs.keys()):
        ours_curves, control_curves = (Curves.of(arm[seed, draw]["curve"], metric) for arm in (ours, theirs))
        by_seed[seed].append(difference(ours_curves, control_curves, comparison.measure))
    if by_seed:
        result = nested_test(by_seed)
        row |= {"seeds": len(by_seed), **asdict(result.difference), "p": result.p_t}
    return row


def _arm_means(cells: Cells) -> dict[str, Any]:
    """Gain and retention of each arm: means over seeds of the means over draws."""
    return {
        arm: {
            "gained at 85 %": _mean_over_seeds(arm_cells, lambda cell: Curves.of(cell["curve"]).gained_at(0.85)),
            "gained at 95 %": _mean_over_seeds(arm_cells, lambda cell: Curves.of(cell["curve"]).gained_at(0.95)),
            **{
                name: _mean_over_seeds(arm_cells, partial(_value_at, coordinate))
                for name, coordinate in AT_85.items()
                if coordinate < len(Curves.of(next(iter(arm_cells.values()))["curve"]).points[0])
            },
            "top-1 gained at 85 %": _mean_over_seeds(
                arm_cells, lambda cell: Curves.of(cell["curve"], "top1").gained_at(0.85)
            ),
            "cpu_seconds": _mean_over_seeds(arm_cells, lambda cell: float(cell["cpu_seconds"])),
            "path": _mean_path(arm_cells),
        }
        for arm, arm_cells in cells.items()
    }


def _value_at(coordinate: int, cell: Mapping[str, Any]) -> float:
    return Curves.of(cell["curve"]).value_at(0.85, coordinate)


def _mean_path(arm_cells: Mapping[Cell, Mapping[str, Any]]) -> dict[str, list[float]]:
    """Each measure at each alpha: means over cells."""
    curves = [cell["curve"] for cell in arm_cells.values()]
    return {
        name: [fmean(values) for values in zip(*(curve[name] for curve in curves), strict=True)] for name in curves[0]
    }


def _mean_over_seeds(
    arm_cells: Mapping[Cell, Mapping[str, Any]], value: Callable[[Mapping[str, Any]], float]
) -> dict[str, Any]:
    by_seed: dict[int, list[float]] = defaultdict(list)
    for (seed, _), cell in sorted(arm_cells.items()):
        by_seed[seed].append(value(cell))
    return asdict(mean_of([fmean(values) for values in by_seed.values()]))


def markdown(results: Mapping[str, Any]) -> str:
    """The results as Markdown tables."""
    lines = [f"# {results['name']}", "", results["about"], ""]
    lines += [f"Best control without a teacher in tuning: {results['best_control'] or 'unknown'}.", ""]
    lines += [
        "| family | control | measure | condition | difference | 95 % interval | seeds | p (Holm) |",
        "|---" * 8 + "|",
    ]
    for comparison in results["primary"]:
        if "mean" in comparison:
            bounds = "" if comparison["low"] is None else f"{comparison['low']:+.1f} to {comparison['high']:+.1f}"
            p = f"{comparison['p_holm']:.3f}" if "p_holm" in comparison else ""
            lines.append(
                f"| {comparison['family']} | {comparison['control']} | {comparison['measure']} | "
                f"{comparison['condition']} | {comparison['mean']:+.1f} | {bounds} | {comparison['seeds']} | {p} |"
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
            ends = ", ".join(f"{row['path'][f'{data}/R@10'][-1]:.1f}" for data in ("gain", "retain", "third"))
            cells = " | ".join(
                f"{row[key]['mean']:.1f}" for key in ("gained at 85 %", "gained at 95 %", "third artist at 85 %")
            )
            lines.append(f"| {arm} | {cells} | {ends} | {row['cpu_seconds']['mean']:.0f} |")
    return "\n".join(lines) + "\n"


def round_numbers(value: Any) -> Any:
    """``value`` with numbers rounded to three decimals."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, Mapping):
        return {name: round_numbers(element) for name, element in value.items()}
    return [round_numbers(element) for element in value] if isinstance(value, (list, tuple)) else value
