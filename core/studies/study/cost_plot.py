"""Draws ``cost.svg``: each metric against the training budget (log scale), with one line and intervals per arm.

Flow: ``core.studies.study.results`` -> **cost_plot**, for studies with budgets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from core.studies.study.svg import COLOURS, dot, image, line, path, text
from core.studies.study.table import format_value

PANEL_WIDTH, PANEL_HEIGHT, LEFT, TOP, GAP = 360, 220, 60, 60, 60  # pixels
LEGEND_ROW = 18
MAX_METRICS = 12  # further metrics are not drawn
Point = tuple[float, Mapping[str, Any]]  # seconds, MEAN


def draw_costs(results: Mapping[str, Any]) -> str:
    """The whole image as SVG text."""
    metrics = list(results["metrics"])[:MAX_METRICS]
    arms = list(dict.fromkeys(arm["of"] for arm in results["arms"].values()))
    columns = min(2, max(1, len(metrics)))
    width = columns * (LEFT + PANEL_WIDTH + 40)
    legend = LEGEND_ROW * len(arms) + 20
    height = TOP + legend + (PANEL_HEIGHT + GAP) * -(-len(metrics) // columns)
    parts: list[str] = []
    for row, arm in enumerate(arms):
        y = 40 + LEGEND_ROW * row
        parts += [line(LEFT, y, LEFT + 24, y, _colour(row), 2), text(LEFT + 32, y + 4, arm)]
    for index, metric in enumerate(metrics):
        x = LEFT + (index % columns) * (LEFT + PANEL_WIDTH + 40)
        y = TOP + legend + (index // columns) * (PANEL_HEIGHT + GAP)
        parts += _panel(results, arms, metric, x, y)
    return image(width, height, f"{results['name']}: means over seeds with 95 % intervals, by seconds", parts)


def curve(results: Mapping[str, Any], arm: str, metric: str) -> list[Point]:
    """The mean of ``metric`` at each budget of ``arm``, by increasing budget."""
    points = []
    for arm_results in results["arms"].values():
        mean = arm_results["networks"].get("final", {}).get(metric)
        if arm_results["of"] == arm and mean is not None:
            points.append((float(arm_results["cost"]["budget"]), mean))
    return sorted(points, key=lambda point: point[0])


def _colour(row: int) -> str:
    return COLOURS[row % len(COLOURS)]


def _panel(results: Mapping[str, Any], arms: Sequence[str], metric: str, x: float, y: float) -> list[str]:
    curves = {arm: curve(results, arm, metric) for arm in arms}
    means = [mean for points in curves.values() for _, mean in points]
    values = [mean[key] for mean in means for key in ("mean", "low", "high")]
    limits = [value for value in values if value is not None]
    low, high = min(limits, default=0.0), max(limits, default=1.0)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    budgets = sorted(results["budgets"])
    first, last = math.log(budgets[0]), math.log(budgets[-1])

    def position_of(seconds: float, value: float) -> tuple[float, float]:
        share = (math.log(seconds) - first) / (last - first) if last > first else 0.5
        return x + PANEL_WIDTH * share, y + PANEL_HEIGHT * (1 - (value - low) / (high - low))

    bottom = y + PANEL_HEIGHT
    parts = [text(x, y - 8, metric, size=13), line(x, y, x, bottom), line(x, bottom, x + PANEL_WIDTH, bottom)]
    parts += [
        text(x - 6, position_of(budgets[0], value)[1] + 4, format_value(metric, value), size=11, anchor="end")
        for value in (low, high)
    ]
    parts += [text(position_of(s, low)[0], bottom + 16, f"{s:g} s", size=11, anchor="middle") for s in budgets]
    for row, points in enumerate(curves.values()):
        colour = _colour(row)
        parts.append(path([position_of(seconds, mean["mean"]) for seconds, mean in points], colour))
        for seconds, mean in points:
            parts.append(dot(*position_of(seconds, mean["mean"]), colour, radius=3))
            if mean["low"] is not None:
                parts.append(line(*position_of(seconds, mean["low"]), *position_of(seconds, mean["high"]), colour))
    return parts
