"""The budget at which one arm overtakes another, of a study that trains each arm for several budgets.

Flow: ``core.studies.study.results`` passes paired differences by budget -> `crossing` -> ``results.json``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["ahead", "behind", "overtakes", "falls behind", "not told apart"]


@dataclass(frozen=True)
class Difference:
    """The mean paired difference of two arms at a budget, and the ends of its interval; None where it has none."""

    seconds: float
    mean: float
    low: float | None
    high: float | None

    @property
    def sign(self) -> int:
        """1 where the interval lies above 0, -1 below; 0 where it holds 0 or there is none: not told apart."""
        if self.low is None or self.high is None:
            return 0
        return (self.low > 0) - (self.high < 0)


@dataclass(frozen=True)
class Crossing:
    """How an arm stands to its baseline over the budgets; ``seconds`` is where that last changes.

    ``last``: the difference at the greatest budget.
    """

    kind: Kind
    last: Difference
    seconds: float | None = None


def crossing(points: Sequence[Difference]) -> Crossing | None:
    """How an arm compares over ``points``, a budget each; None without points.

    A budget counts for one of the arms only where the interval of their difference leaves out 0. *Ahead*, *behind* and
    *not told apart* are at every budget, or from ``seconds`` on. Where the arms change places, the difference is taken
    to change linearly with the logarithm of the budget, between the two budgets that tell so.
    """
    known = sorted(points, key=lambda point: point.seconds)
    if not known:
        return None
    last = known[-1]
    since = next(index for index in range(len(known)) if all(point.sign == last.sign for point in known[index:]))
    if last.sign == 0:
        return Crossing("not told apart", last, known[since].seconds if since else None)
    before = next((point for point in reversed(known[:since]) if point.sign == -last.sign), None)
    if before is None:
        return Crossing("ahead" if last.sign > 0 else "behind", last, known[since].seconds if since else None)
    after = next(point for point in known if point.sign == last.sign and point.seconds > before.seconds)
    share = before.mean / (before.mean - after.mean)
    seconds = math.exp(math.log(before.seconds) + share * (math.log(after.seconds) - math.log(before.seconds)))
    return Crossing("overtakes" if last.sign > 0 else "falls behind", last, seconds)
