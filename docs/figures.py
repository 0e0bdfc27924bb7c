"""Figures of README and the results pages, computed from the committed results of the studies.

A figure stands between two HTML comments, the first of which says what it is:

    <!-- results: table noisy-time 230 clip-tuned clip-weighted-tuned -->
    | training | ... |
    <!-- /results -->

    <!-- results: difference noisy-time 230 clip-tuned clip test/R@1 -->+19.6 R@1<!-- /results -->

``python docs/figures.py`` computes them and the plots again. The docs build calls `check`, which fails when a figure
differs from the committed results.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.studies.study.published import published_results as read_results  # noqa: E402
from core.studies.study.statistics import Mean, mean_of, paired_mean  # noqa: E402
from core.studies.study.svg import COLOURS, dot, image, line, path, text  # noqa: E402
from tests.benchmarks.filtering import read_rows  # noqa: E402
from tests.benchmarks.filtering import table as filter_table  # noqa: E402

PAGES = (ROOT / "README.md", ROOT / "docs" / "results.md", *sorted((ROOT / "docs" / "results").glob("*.md")))
FIGURE = re.compile(r"(<!-- results: (.+?) -->)(.*?)(<!-- /results -->)", re.DOTALL)
METRICS = {
    "test/R@1": "R@1",
    "test/R@10": "R@10",
    "zero-shot/acc1": "zero-shot",
    "zero-shot-name/acc1": "zero-shot by name",
    "unseen/R@10": "held-out R@10",
    "captions/CIDEr": "CIDEr",
}
IN_PLOTS = ("test/R@1", "zero-shot/acc1", "unseen/R@10", "captions/CIDEr")
ARMS = {
    "clip": "`clip`, default settings",
    "clip-tuned": "`clip`, tuned",
    "clip-weighted": "`clip`, self-confidence weighting",
    "clip-weighted-tuned": "`clip`, self-confidence weighting, tuned",
    "clip-tuned-filter": "`clip` with the caption filter, other settings as above",
    "clip-filter": "`clip`, caption filter, tuned",
    "clip-filter-weighted": "`clip` with the caption filter and self-confidence weighting, tuned",
    "sd-clip": "`sd-clip` (teacher)",
    "sd-clip-filter": "`sd-clip` (teacher) with the caption filter, learning rate and smoothing of the previous row",
    "sd-clip-tuned": "`sd-clip` (teacher), tuned",
    "sd-clip-lean": "`clip`, stored-feature teacher",
    "sd-clip-lean-soft": "`clip`, stored-feature teacher (temperature 4)",
    "sd-clip-lean-filter": "`clip`, stored-feature teacher, caption filter, tuned",
    "coca": "`coca`, default settings",
    "coca-smooth": "`coca`, label smoothing 0.3",
    "coca-weighted": "`coca`, self-confidence weighting",
    "coca-filter": "`coca`, caption filter",
    "coca-filter-weighted": "`coca`, caption filter and self-confidence weighting",
    "sd-coca-lean": "`coca`, stored-feature teacher",
    "sd-coca-lean-soft": "`coca`, stored-feature teacher (temperature 4)",
    "sd-coca-lean-filter": "`coca`, stored-feature teacher, caption filter",
}

FAMILIES = {
    "adapt": "`sd-clip-adapt`",
    "adapt-images": "`sd-clip-adapt`, image anchors",
    "adapt-pass": "`sd-clip-adapt`, student's crops",
    "anchors": "LDIFS, text anchors",
    "anchors-words": "LDIFS, general words as anchors",
    "anchors-stored": "stored image features, text anchors",
    "adapt-filter": "`sd-clip-adapt`, caption filter",
    "adapt-image": "`sd-clip-adapt`, image features only",
    "plain": "plain fine-tuning",
    "ldifs": "LDIFS",
    "trajectory": "average of the trajectory",
    "trajectory-decay": "average of the trajectory, layer-wise decay",
    "trajectory-decay-filter": "average of the trajectory, layer-wise decay, caption filter",
    "adapt-pass-filter": "`sd-clip-adapt`, caption filter",
    "adapt-images-filter": "`sd-clip-adapt` with image anchors, caption filter",
    "adapt-images-200": "`sd-clip-adapt` with image anchors",
    "layer-decay": "plain fine-tuning, layer-wise decay",
    "lp-ft": "LP-FT",
    "lit": "LiT",
    "trajectory-filter": "average of the trajectory, caption filter",
    "filter": "plain fine-tuning, caption filter",
    "images-names": "`sd-clip-adapt`, images and names as anchors",
    "adapt-images-texts": "`sd-clip-adapt`, image and text anchors",
    "replay-10": "average of the trajectory, 100 old pairs replayed",
    "weighted": "plain fine-tuning, self-confidence weighting",
}

published_results = cache(read_results)


@cache
def adapting_results(condition: str) -> dict[str, Any]:
    """The results of the fine-tuning study that has ``condition``, such as 1000-0; STUDY/1000-0 if several have it."""
    study, _, name = condition.rpartition("/")
    files = (ROOT / "resources" / "studies" / "adapting").glob(f"results-{study or '*'}.json")
    studies: list[dict[str, Any]] = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(files)]
    matching = [results for results in studies if name in results["conditions"]]
    if len(matching) != 1:
        raise ValueError(f"{len(matching)} fine-tuning studies have the condition {condition}; write STUDY/{name}")
    return matching[0]


def _arms(condition: str) -> dict[str, Any]:
    """The results of each arm in a condition."""
    arms: dict[str, Any] = adapting_results(condition)["conditions"][condition.rpartition("/")[2]]
    return arms


# Values
def values(study: str, budget: str, arm: str, metric: str) -> dict[int, float]:
    """The value of each seed, in per cent (CIDEr as it is); empty where the arm was not measured."""
    record = published_results(study)["arms"][f"{arm}-{budget}s"]
    measured = record["networks"].get("final", {}).get(metric)
    if measured is None:
        return {}
    scale = 1 if metric.endswith("CIDEr") else 100
    return dict(zip(record["seeds"], (scale * value for value in measured["values"]), strict=True))


def difference_of(study: str, budget: str, arm: str, baseline: str, metric: str) -> Mean | None:
    """``arm`` minus ``baseline`` over the seeds that both have; None if they share none."""
    a, b = values(study, budget, arm, metric), values(study, budget, baseline, metric)
    seeds = sorted(set(a) & set(b))
    return paired_mean([a[seed] for seed in seeds], [b[seed] for seed in seeds]).difference if seeds else None


def _number(value: float, metric: str, sign: bool = False) -> str:
    places = 2 if metric.endswith("CIDEr") else 1
    rounded = round(value + math.copysign(1e-9, value), places) + 0.0  # ties away from zero; no "-0.0"
    return f"{rounded:{'+' if sign else ''}.{places}f}"


def _interval(mean: Mean, metric: str, prefix: str = "") -> str:
    if mean.low is None or mean.high is None:
        return ""
    return f" ({prefix}{_number(mean.low, metric)} to {_number(mean.high, metric)})"


# Kinds of figures
def table(study: str, budget: str, *arms: str) -> str:
    """Means of ``arms``; those after the first also with their difference from the first and its 95 % interval."""
    metrics = [name for name in METRICS if any(values(study, budget, arm, name) for arm in arms)]
    columns = ["training", "steps", "seeds", *(METRICS[name] for name in metrics)]
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for arm in arms:
        record = published_results(study)["arms"][f"{arm}-{budget}s"]
        cells = [ARMS[arm], f"{record['cost']['steps']:,}", str(len(record["seeds"]))]
        cells += [_cell(study, budget, arm, arms[0], metric) for metric in metrics]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n\n" + "\n".join(lines) + "\n\n"


def _cell(study: str, budget: str, arm: str, baseline: str, metric: str) -> str:
    measured = values(study, budget, arm, metric)
    if not measured:
        return ""
    mean = _number(mean_of(list(measured.values())).mean, metric)
    gain = difference_of(study, budget, arm, baseline, metric) if arm != baseline else None
    return mean if gain is None else f"{mean}, {_number(gain.mean, metric, sign=True)}{_interval(gain, metric)}"


def means(study: str, budget: str, *arms: str) -> str:
    """Means of ``arms`` alone."""
    metrics = [name for name in METRICS if all(values(study, budget, arm, name) for arm in arms)]
    columns = ["training", *(METRICS[name] for name in metrics)]
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for arm in arms:
        numbers = [_number(mean_of(list(values(study, budget, arm, name).values())).mean, name) for name in metrics]
        lines.append("| " + " | ".join([ARMS[arm], *numbers]) + " |")
    return "\n\n" + "\n".join(lines) + "\n\n"


def difference(study: str, budget: str, arm: str, baseline: str, metric: str) -> str:
    """``+19.6 R@1 (95 % CI 18.1 to 21.2)``."""
    gain = difference_of(study, budget, arm, baseline, metric)
    assert gain is not None, f"{arm} and {baseline} have no seed in common"
    return f"{_number(gain.mean, metric, sign=True)} {METRICS[metric]}{_interval(gain, metric, '95 % CI ')}"


def mean(study: str, budget: str, arm: str, metric: str) -> str:
    """``59.0 % R@1``."""
    number = _number(mean_of(list(values(study, budget, arm, metric).values())).mean, metric)
    return f"{number} CIDEr" if metric.endswith("CIDEr") else f"{number} % {METRICS[metric]}"


def filtered(data: str, kind: str, percent: str, column: str) -> str:
    """``65.6 % (59.6 to 71.6)``: precision or share found of the caption filter, over draws."""
    rows = [row for row in read_rows() if row["data"].split()[0] == data and row["kind"] == kind]
    numbers = [row[column] for row in rows if round(100 * row["rate"]) == int(percent)]
    over_draws = mean_of(numbers)
    return f"{over_draws.mean:.1f} %{_interval(over_draws, column)}"


def filter_results() -> str:
    """What the caption filter drops, over draws, rates and data sets."""
    return "\n\n" + filter_table(read_rows()) + "\n"


def cleanlab_results() -> str:
    """The caption filter's ranking against cleanlab's, over draws: tests/benchmarks/cleanlab_peer.py."""
    columns = ["data", "captions", "dropped by cleanlab", "found by cleanlab", "found by the filter", "difference"]
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    rows = json.loads((ROOT / "resources" / "studies" / "caption-filter" / "cleanlab.json").read_text(encoding="utf-8"))
    for data, kind, rate in dict.fromkeys((row["data"], row["kind"], row["rate"]) for row in rows):
        draws = [row for row in rows if (row["data"], row["kind"], row["rate"]) == (data, kind, rate)]
        cells = [data, f"{100 * rate:g} % {kind}" if rate else "all clean"]
        cells.append(f"{mean_of([100 * row['cleanlab_dropped'] / row['pairs'] for row in draws]).mean:.1f}")
        if rate:
            theirs, ours = ([row[f"{name}_found"] for row in draws] for name in ("cleanlab", "filter"))
            gain = paired_mean(ours, theirs).difference
            cells += [f"{mean_of(found).mean:.1f}" for found in (theirs, ours)]
            cells.append(f"{gain.mean:+.1f} ({gain.low:.1f} to {gain.high:.1f})")
        lines.append("| " + " | ".join([*cells, *[""] * (len(columns) - len(cells))]) + " |")
    return "\n\n" + "\n".join(lines) + "\n\n"


def dense_phase() -> str:
    """Localisation with and without a phase of masked patches: means over seeds, and the difference of the two."""
    runs = json.loads((ROOT / "resources" / "studies" / "dense-phase.json").read_text(encoding="utf-8"))["runs"]
    lines = ["| training | pointing accuracy | mean IoU | pointing accuracy of *Why this match?* |", "|" + " --- |" * 4]
    metrics = ("pointing_accuracy", "mean_iou", "relevance_pointing_accuracy")
    numbers = {name: [[100 * row[metric] for row in rows] for metric in metrics] for name, rows in runs.items()}
    for name, columns in numbers.items():
        lines.append("| " + " | ".join([name, *(f"{mean_of(column).mean:.1f}" for column in columns)]) + " |")
    plain, dense = list(numbers.values())[-2:]
    gains = [paired_mean(ours, theirs).difference for ours, theirs in zip(dense, plain, strict=True)]
    lines.append(
        "| last minus second | " + " | ".join(f"{g.mean:+.1f} ({g.low:.1f} to {g.high:.1f})" for g in gains) + " |"
    )
    return "\n\n" + "\n".join(lines) + "\n\n"


def adapt_differences(condition: str, family: str = "") -> str:
    """The planned comparisons of a fine-tuning recipe in a ``condition``, such as 1000-0."""
    lines = [f"| measure | {FAMILIES[family or 'adapt']} minus | points | 95 % CI | p (Holm) |", "|" + " --- |" * 5]
    for row in _comparisons(condition, family):
        interval = f"{row['low']:+.1f} to {row['high']:+.1f}"
        p = "< 0.001" if row["p_holm"] < 0.001 else f"{row['p_holm']:.3f}"
        cells = [row["measure"], FAMILIES[row["control"]], f"{row['mean']:+.1f}", interval, p]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n\n" + "\n".join(lines) + "\n\n"


def adapt_means(condition: str) -> str:
    """Gain and retention of each fine-tuning recipe, along its path and at its end."""
    columns = ["recipe, with WiSE-FT", "gained at 85 % retained", "gained at 95 %", "gained, retained without WiSE-FT"]
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for arm, row in _arms(condition).items():
        ends = ", ".join(f"{row['path'][name][-1]:.1f}" for name in ("gain/R@10", "retain/R@10"))
        numbers = [f"{row[key]['mean']:.1f}" for key in ("gained at 85 %", "gained at 95 %")]
        family = _family(condition, arm)
        lines.append("| " + " | ".join([FAMILIES.get(family, family), *numbers, ends]) + " |")
    return "\n\n" + "\n".join(lines) + "\n\n"


def adapt_halves(condition: str) -> str:
    """What each recipe with text anchors retained of the anchored half of the concepts, and of the other half."""
    keys = "retained, half of concepts", "retained, the other half"
    lines = ["| recipe, without WiSE-FT | anchored half | other half |", "|" + " --- |" * 3]
    for arm, row in _arms(condition).items():
        lines.append("| " + " | ".join([arm, *(f"{row[key]['mean']:.1f}" for key in keys)]) + " |")
    return "\n\n" + "\n".join(lines) + "\n\n"


def adapt_exploratory(condition: str, family: str, prefix: str = "") -> str:
    """The comparisons of ``family`` that were not planned, in measures that begin with ``prefix``."""
    name = condition.rpartition("/")[2]
    lines = [f"| measure | {FAMILIES[family]} minus | points | 95 % CI |", "|" + " --- |" * 4]
    for row in adapting_results(condition)["exploratory"]:
        if (row["family"], row["condition"]) == (family, name) and row["measure"].startswith(prefix):
            interval = f"{row['low']:+.1f} to {row['high']:+.1f}"
            lines.append(f"| {row['measure']} | {FAMILIES[row['control']]} | {row['mean']:+.1f} | {interval} |")
    return "\n\n" + "\n".join(lines) + "\n\n"


def adapt_top1(condition: str) -> str:
    """Zero-shot top-1 of each fine-tuning recipe, with the differences that were not planned."""
    lines = ["| recipe | top-1 gained at 85 % retained | gained, retained without WiSE-FT |", "|" + " --- |" * 3]
    arms = _arms(condition)

    def ends(row: dict[str, Any], point: int) -> str:
        return ", ".join(f"{row['path'][name][point]:.1f}" for name in ("gain/top1", "retain/top1"))

    for arm, row in arms.items():
        gained = f"{row['top-1 gained at 85 %']['mean']:.1f}"
        lines.append(f"| {FAMILIES[_family(condition, arm)]} | {gained} | {ends(row, -1)} |")
    lines.append(f"| initial model |  | {ends(next(iter(arms.values())), 0)} |")
    return "\n\n" + "\n".join(lines) + adapt_exploratory(condition, "adapt", "top-1")


def adapt_probes(condition: str) -> str:
    """The balanced accuracy of linear probes where each recipe retains 85 % of the initial R@10."""
    lines = ["| recipe, at 85 % retained | probe of new images | probe of old images |", "|" + " --- |" * 3]
    arms = _arms(condition)
    for arm, row in arms.items():
        numbers = [f"{row[f'probe of {kind} images at 85 %']['mean']:.1f}" for kind in ("new", "old")]
        lines.append("| " + " | ".join([FAMILIES[_family(condition, arm)], *numbers]) + " |")
    initial = [f"{next(iter(arms.values()))['path'][name][0]:.1f}" for name in ("gain/probe", "retain/probe")]
    lines.append("| " + " | ".join(["initial model", *initial]) + " |")
    return "\n\n" + "\n".join(lines) + "\n\n"


def adapt_difference(condition: str, control: str, *measure: str, family: str = "") -> str:
    """``+6.2 points (95 % CI 4.1 to 8.3)``: ``family`` minus ``control``, in a ``measure`` that was compared."""
    for row in [*_comparisons(condition, family), *_comparisons(condition, family, "exploratory")]:
        if (row["control"], row["measure"]) == (control, " ".join(measure)):
            return f"{row['mean']:+.1f} points (95 % CI {row['low']:.1f} to {row['high']:.1f})"
    raise ValueError(f"no comparison with {control} in {' '.join(measure)!r} was made")


def adapt_cell(condition: str, control: str, *measure: str) -> str:
    """``+6.2 (4.1 to 8.3)``: as `adapt_difference`; after ``/``, the family."""
    words, _, family = " ".join(measure).partition(" / ")
    return adapt_difference(condition, control, words, family=family).replace(" points (95 % CI ", " (")


def _comparisons(condition: str, family: str, kind: str = "primary") -> list[dict[str, Any]]:
    name = condition.rpartition("/")[2]
    rows = adapting_results(condition)[kind]
    return [row for row in rows if row["condition"] == name and family in ("", row["family"])]


def _family(condition: str, arm: str) -> str:
    return next(family for family, chosen in adapting_results(condition)["chosen"].items() if chosen == arm)


KINDS: dict[str, Callable[..., str]] = {
    "table": table,
    "means": means,
    "mean": mean,
    "difference": difference,
    "filtered": filtered,
    "filter-table": filter_results,
    "cleanlab-table": cleanlab_results,
    "dense-phase": dense_phase,
    "adapt-differences": adapt_differences,
    "adapt-means": adapt_means,
    "adapt-halves": adapt_halves,
    "adapt-exploratory": adapt_exploratory,
    "adapt-top1": adapt_top1,
    "adapt-probes": adapt_probes,
    "adapt-difference": adapt_difference,
    "adapt-cell": adapt_cell,
    "anchors-difference": partial(adapt_difference, family="anchors"),
    "images-difference": partial(adapt_difference, family="adapt-images"),
}


# Plots
def plot(study: str, budget: str, baseline: str, *arms: str) -> str:
    """SVG: differences of ``arms`` from ``baseline``, a panel per metric; dots are seeds, lines 95 % intervals."""
    metrics = [name for name in IN_PLOTS if any(difference_of(study, budget, arm, baseline, name) for arm in arms)]
    left, width, row_height, top = 420, 190, 26, 62
    height = top + row_height * len(arms) + 30
    parts = [text(left - 12, top + row_height * row + 4, _plain(arm), anchor="end") for row, arm in enumerate(arms)]
    for column, metric in enumerate(metrics):
        gains = {arm: difference_of(study, budget, arm, baseline, metric) for arm in arms}
        parts += _panel(left + column * (width + 30), width, top, row_height, metric, list(gains.values()))
    title = f"Difference from {_plain(baseline)}, {budget} CPU seconds of training, with 95 % intervals"
    return image(left + len(metrics) * (width + 30), height, title, parts)


def _plain(arm: str) -> str:
    return ARMS[arm].replace("`", "")


def _panel(x: float, width: float, top: float, step: float, metric: str, gains: Sequence[Mean | None]) -> list[str]:
    reach = [0.0]
    for gain in gains:
        if gain is not None:
            reach += [*gain.values, *(end for end in (gain.low, gain.high) if end is not None)]
    low, high = min(reach), max(reach)
    margin = 0.05 * (high - low)

    def across(value: float) -> float:
        return x + width * (value - low + margin) / (high - low + 2 * margin)

    bottom = top + step * (len(gains) - 0.4)
    parts = [text(x + width / 2, top - 20, METRICS[metric], size=13, anchor="middle")]
    parts.append(line(across(0.0), top - step / 2, across(0.0), bottom, "#999999"))
    for value in (low, 0.0, high):
        if value and abs(across(value) - across(0.0)) < 30:  # its number would cover the zero
            continue
        parts.append(text(across(value), bottom + 16, _number(value, metric, sign=value != 0), 11, "middle"))
    for row, gain in enumerate(gains):
        if gain is None:
            continue
        y = top + step * row
        colour = "#4c78a8"
        parts += [dot(across(value), y, colour, opacity=0.35) for value in gain.values]
        if gain.low is not None and gain.high is not None:
            parts.append(line(across(gain.low), y, across(gain.high), y, colour, 2))
        parts.append(dot(across(gain.mean), y, colour, radius=4.5))
    return parts


def adapt_plot() -> str:
    """SVG: gained against retained R@10 of each recipe along its path from the initial weights, means over seeds."""
    arms = _arms("five-bases/1000-0")
    paths = {
        arm: list(zip(*(row["path"][f"{name}/R@10"] for name in ("retain", "gain")), strict=True))
        for arm, row in arms.items()
    }
    left, top, width, height = 60, 50, 420, 320
    highest = 10 * (max(gained for points in paths.values() for _, gained in points) // 10 + 1)

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return left + width * point[0] / 100, top + height * (1 - point[1] / highest)

    parts = [line(left, top + height, left + width, top + height), line(left, top, left, top + height)]
    parts += [text(at((share, 0))[0], top + height + 18, f"{share}", anchor="middle") for share in range(0, 101, 20)]
    parts += [
        text(left - 8, at((0, gained))[1] + 4, f"{gained:g}", anchor="end") for gained in range(0, int(highest) + 1, 10)
    ]
    parts.append(text(left + width / 2, top + height + 38, "retained R@10, %", anchor="middle"))
    parts.append(text(left, top - 10, "gained R@10, %"))
    for row, (arm, points) in enumerate(paths.items()):
        colour = COLOURS[row]
        parts.append(path([at(point) for point in points], colour))
        parts += [dot(*at(point), colour, radius=3.5) for point in points]
        parts += [dot(left + width + 30, top + 20 * row, colour, radius=4.5)]
        parts += [
            text(left + width + 42, top + 20 * row + 4, FAMILIES[_family("five-bases/1000-0", arm)].replace("`", ""))
        ]
    title = "Fine-tuning on 1,000 images by another artist: from the initial weights (right) to the tuned ones"
    return image(left + width + 230, top + height + 60, title, parts)


PLOTS: dict[str, Callable[[], str]] = {
    name: partial(plot, *arguments.split())
    for name, arguments in {
        "mismatched-230.svg": "noisy-time 230 clip-tuned clip-weighted-tuned sd-clip-lean sd-clip clip-filter "
        "clip-filter-weighted sd-clip-lean-filter",
        "mismatched-coca-230.svg": "noisy-time 230 coca coca-weighted sd-coca-lean coca-filter-weighted "
        "sd-coca-lean-filter",
        "clean-230.svg": "clean-time 230 clip clip-tuned sd-clip-lean-soft",
        "clean-600.svg": "clean-time 600 clip clip-tuned sd-clip sd-clip-tuned",
        "clean-coca-230.svg": "clean-time 230 coca coca-smooth sd-coca-lean-soft",
    }.items()
}

PLOTS["adapting.svg"] = adapt_plot


# Pages
def rendered(page: str) -> str:
    """The text of a page with each figure as the committed results have it."""

    def compute(match: re.Match[str]) -> str:
        kind, *arguments = match[2].split()
        return f"{match[1]}{KINDS[kind](*arguments)}{match[4]}"

    return FIGURE.sub(compute, page)


def stale() -> list[str]:
    """One line for each figure or plot that is not what the committed results say."""
    problems = []
    for page in PAGES:
        content = page.read_text(encoding="utf-8")
        for match in FIGURE.finditer(content):
            if rendered(match[0]) != match[0]:
                problems.append(f"{page.relative_to(ROOT)}: {match[2]}")
    folder = ROOT / "docs" / "results"
    for name, drawn in PLOTS.items():
        file = folder / name
        if not file.is_file() or file.read_text(encoding="utf-8") != drawn():
            problems.append(f"docs/results/{name}")
    return problems


def check() -> None:
    """Raise ValueError when a figure is not what the committed results say."""
    if problems := stale():
        raise ValueError("not as in the committed results; run python docs/figures.py:\n" + "\n".join(problems))


def write() -> None:
    """Rewrite all figures and plots."""
    for page in PAGES:
        page.write_text(rendered(page.read_text(encoding="utf-8")), encoding="utf-8")
    for name, drawn in PLOTS.items():
        (ROOT / "docs" / "results" / name).write_text(drawn(), encoding="utf-8")


if __name__ == "__main__":
    write()
