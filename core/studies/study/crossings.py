"""The budget at which one arm overtakes another, of a study that trains each arm for several budgets.

Flow: ``core.studies.study.results`` passes mean paired differences by budget -> `crossing` -> ``results.json``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["ahead", "behind", "overtakes", "falls behind", "even"]


@dataclass(frozen=True)
class Crossing:
    """How an arm stands to its baseline over the budgets; ``seconds`` is where that last changes."""

    kind: Kind
    seconds: float | None = None


def crossing(points: Sequence[tuple[float, float]]) -> Crossing | None:
    """How an arm compares over ``points`` of (budget in seconds, mean difference); None without points.

    *Ahead* and *behind* are at every budget. Between the two budgets where the difference last changes its sign, it is
    taken to change linearly with the logarithm of the budget.
    """
    known = sorted(points)
    if not known:
        return None
    signs = [(value > 0) - (value < 0) for _, value in known]
    last = signs[-1]
    other = max((index for index, sign in enumerate(signs) if sign != last), default=None)
    if other is None:
        return Crossing("ahead" if last > 0 else "behind" if last < 0 else "even")
    if last == 0:
        return Crossing("even", known[other + 1][0])
    (left, before), (right, after) = known[other], known[other + 1]
    share = before / (before - after)
    seconds = math.exp(math.log(left) + share * (math.log(right) - math.log(left)))
    return Crossing("overtakes" if last > 0 else "falls behind", seconds)
