"""Draws ``plot.svg``: a study's means with intervals, one panel per metric.

The SVG is written by hand: a plotting library would be a large dependency for one image of points and lines.

Flow: ``core.studies.study.results`` -> **plot**.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.studies.study.svg import COLOURS, dot, image, line, text
from core.studies.study.table import format_value

PANEL_WIDTH, ROW_HEIGHT, LEFT, TOP, GAP = 360, 22, 150, 34, 26  # pixels
MAX_METRICS = 12  # further metrics are not drawn


def draw(results: Mapping[str, Any]) -> str:
    """The whole image as SVG text; pale dots are seeds, large dots means, lines 95 % intervals."""
    arms = [name for name, arm in results["arms"].items() if arm["networks"]]
    metrics = list(results["metrics"])[:MAX_METRICS]
    panel_height = TOP + ROW_HEIGHT * max(1, len(arms)) + GAP
    columns = min(2, max(1, len(metrics)))
    width = columns * (LEFT + PANEL_WIDTH + 30)
    height = 40 + panel_height * -(-len(metrics) // columns) if metrics else 60
    parts: list[str] = []
    for index, metric in enumerate(metrics):
        x = (index % columns) * (LEFT + PANEL_WIDTH + 30)
        y = 40 + (index // columns) * panel_height
        parts += _panel(results, arms, metric, x, y)
    return image(width, height, f"{results['name']}: means over seeds with 95 % intervals", parts)


def _panel(results: Mapping[str, Any], arms: Sequence[str], metric: str, x: float, y: float) -> list[str]:
    """One metric: one row per arm; the axis spans all seeds and intervals."""
    means = {arm: results["arms"][arm]["networks"]["final"].get(metric) for arm in arms}
    available_means = [mean for mean in means.values() if mean]
    drawn_values = [
        value for mean in available_means for value in (*mean["values"], mean["low"], mean["high"]) if value is not None
    ]
    lowest, highest = min(drawn_values, default=0.0), max(drawn_values, default=0.0)
    left = x + LEFT

    def position_of(value: float) -> float:
        if highest == lowest:
            return left + PANEL_WIDTH / 2
        return float(left + PANEL_WIDTH * (value - lowest) / (highest - lowest))

    parts = [text(left, y + 14, metric, size=13)]
    for row, (arm, mean) in enumerate(means.items()):
        middle = y + TOP + ROW_HEIGHT * row
        parts.append(text(left - 8, middle + 4, arm, anchor="end"))
        if mean is None:
            continue
        colour = COLOURS[row % len(COLOURS)]
        parts += [dot(position_of(value), middle, colour, opacity=0.35) for value in mean["values"]]
        if mean["low"] is not None:
            parts.append(line(position_of(mean["low"]), middle, position_of(mean["high"]), middle, colour, 2))
        parts.append(dot(position_of(mean["mean"]), middle, colour, radius=4.5))
        parts.append(text(left + PANEL_WIDTH + 8, middle + 4, format_value(metric, mean["mean"]), size=11))
    axis_y = y + TOP + ROW_HEIGHT * (len(arms) - 0.5)
    parts.append(line(left, axis_y, left + PANEL_WIDTH, axis_y, "#999999"))
    if available_means:
        parts.append(text(left, axis_y + 14, format_value(metric, lowest), size=11))
        parts.append(text(left + PANEL_WIDTH, axis_y + 14, format_value(metric, highest), size=11, anchor="end"))
    return parts
