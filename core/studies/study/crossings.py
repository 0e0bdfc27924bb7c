"""Finds the budget at which one arm overtakes another, in a study that trains each arm for several budgets.

Flow: ``core.studies.study.results`` passes paired differences by budget -> `crossing` -> ``results.json``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["ahead", "behind", "overtakes", "falls behind", "not significant"]


@dataclass(frozen=True)
class Difference:
    """The mean paired difference of two arms at a budget. ``low`` and ``high``: its interval; None if it has none."""

    seconds: float
    mean: float
    low: float | None
    high: float | None

    @property
    def sign(self) -> int:
        """1 if the interval is above 0, -1 if it is below; 0 (not significant) if it contains 0 or is missing."""
        if self.low is None or self.high is None:
            return 0
        return (self.low > 0) - (self.high < 0)


@dataclass(frozen=True)
class Crossing:
    """The comparison of an arm with its baseline. ``seconds``: the budget at which the result changes last.

    ``last``: the difference at the largest budget.
    """

    kind: Kind
    last: Difference
    seconds: float | None = None


def crossing(points: Sequence[Difference], lower_is_better: bool = False) -> Crossing | None:
    """Compare an arm with its baseline over ``points``, one per budget; None if there are no points.

    A budget favours an arm only when the interval of the difference excludes 0. *Ahead*, *behind* and *not significant*
    (no significant difference) hold at every budget, or from ``seconds`` on. A crossing is interpolated linearly in the
    logarithm of the budget, between the two budgets with significant differences of opposite sign.
    """
    ordered = sorted(points, key=lambda point: point.seconds)
    if not ordered:
        return None
    last = ordered[-1]
    since = next(index for index in range(len(ordered)) if all(point.sign == last.sign for point in ordered[index:]))
    if last.sign == 0:
        return Crossing("not significant", last, ordered[since].seconds if since else None)
    is_better = (last.sign > 0) is not lower_is_better
    before = next((point for point in reversed(ordered[:since]) if point.sign == -last.sign), None)
    if before is None:
        return Crossing("ahead" if is_better else "behind", last, ordered[since].seconds if since else None)
    after = next(point for point in ordered if point.sign == last.sign and point.seconds > before.seconds)
    share = before.mean / (before.mean - after.mean)
    seconds = math.exp(math.log(before.seconds) + share * (math.log(after.seconds) - math.log(before.seconds)))
    return Crossing("overtakes" if is_better else "falls behind", last, seconds)
