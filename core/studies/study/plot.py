"""``plot.svg``: a study's means with their intervals, one panel per metric.

The SVG is written by hand: a plotting library would be a large dependency for one image of bars and whiskers.

Flow: ``core.studies.study.results`` -> **plot**.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.studies.study.svg import COLOURS, dot, image, line, text
from core.studies.study.table import format_value

PANEL, ROW, LEFT, TOP, GAP = 360, 22, 150, 34, 26  # pixels
MAX_METRICS = 12  # drawn


def draw(results: Mapping[str, Any]) -> str:
    """The whole image as SVG text; dots are seeds, bars are means, whiskers 95 % intervals."""
    arms = [name for name, arm in results["arms"].items() if arm["networks"]]
    metrics = list(results["metrics"])[:MAX_METRICS]
    height_of = TOP + ROW * max(1, len(arms)) + GAP
    columns = min(2, max(1, len(metrics)))
    width = columns * (LEFT + PANEL + 30)
    height = 40 + height_of * -(-len(metrics) // columns) if metrics else 60
    parts: list[str] = []
    for place, metric in enumerate(metrics):
        x = (place % columns) * (LEFT + PANEL + 30)
        y = 40 + (place // columns) * height_of
        parts += _panel(results, arms, metric, x, y)
    return image(width, height, f"{results['name']}: means over seeds with 95 % intervals", parts)


def _panel(results: Mapping[str, Any], arms: Sequence[str], metric: str, x: float, y: float) -> list[str]:
    """One metric: one row per arm, from 0 (or the lowest interval, if below 0) to the largest value."""
    means = {arm: results["arms"][arm]["networks"]["final"].get(metric) for arm in arms}
    reach = [value for mean in means.values() if mean for value in (mean["high"], mean["mean"]) if value is not None]
    top = max([*reach, 1e-9])
    bottom = min([0.0, *(mean["low"] for mean in means.values() if mean and mean["low"] is not None)])
    left = x + LEFT

    def position_of(value: float) -> float:
        return float(left + PANEL * (value - bottom) / (top - bottom))

    parts = [text(left, y + 14, metric, size=13)]
    for row, (arm, mean) in enumerate(means.items()):
        middle = y + TOP + ROW * row
        parts.append(text(left - 8, middle + 4, arm, anchor="end"))
        if mean is None:
            continue
        colour = COLOURS[row % len(COLOURS)]
        first, end = sorted((position_of(0.0), position_of(mean["mean"])))
        parts.append(
            f'<rect x="{first:.1f}" y="{middle - 7:.1f}" width="{max(0.5, end - first):.1f}" height="14" '
            f'fill="{colour}" fill-opacity="0.75"/>'
        )
        parts += [dot(position_of(value), middle, opacity=0.5) for value in mean["values"]]
        if mean["low"] is not None:
            low, high = position_of(mean["low"]), position_of(mean["high"])
            parts += [line(low, middle, high, middle), line(low, middle - 4, low, middle + 4)]
            parts.append(line(high, middle - 4, high, middle + 4))
        parts.append(text(left + PANEL + 4, middle + 4, format_value(metric, mean["mean"]), size=11))
    zero = position_of(0.0)
    parts.append(line(zero, y + TOP - ROW / 2, zero, y + TOP + ROW * (len(arms) - 0.5)))
    return parts
