"""A path of interpolated weights as numbers, retained at a gain and gained at a retention, and their statistics.

Each path is a polyline through the points (gained, retained) of its alphas, in the order of alpha.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from core.studies.study.statistics import Paired, paired

Path = Sequence[tuple[float, ...]]  # a point for each alpha


def best_where(path: Path, least: float, of: int, wanted: int) -> float | None:
    """The greatest coordinate ``wanted`` on the polyline ``path`` where the coordinate ``of`` is at least ``least``.

    None where it is nowhere. Between two points everything is linear.
    """
    found: list[float] = [point[wanted] for point in path if point[of] >= least]
    for first, second in pairwise(path):
        low, high = sorted((first[of], second[of]))
        if low < least <= high and high > low:
            share = (least - first[of]) / (second[of] - first[of])
            found.append(first[wanted] + share * (second[wanted] - first[wanted]))
    return max(found, default=None)


@dataclass(frozen=True)
class Curves:
    """The path of a cell: gained, retained and third-hand R@10 at each alpha, the first of which is 0."""

    points: Path

    @classmethod
    def of(cls, curve: Mapping[str, Sequence[float]]) -> Curves:
        """From the measures of a cell."""
        wanted = ("gain/R@10", "retain/R@10", "third/R@10")
        return cls(list(zip(*(curve[name] for name in wanted), strict=True)))

    def gained_at(self, share: float) -> float:
        """The greatest gained R@10 where ``share`` of the initial retained R@10 is retained."""
        found = best_where(self.points, share * self.points[0][1], of=1, wanted=0)
        assert found is not None  # the initial model retains all of it
        return found

    def third_at(self, share: float) -> float:
        """The third hand's R@10 at the point of `gained_at`."""
        gained = self.gained_at(share)
        least = share * self.points[0][1]
        candidates = [point for point in _dense(self.points) if point[1] >= least - 1e-9]
        return min(candidates, key=lambda point: abs(point[0] - gained))[2]

    def retained_at(self, gained: float) -> float | None:
        """The greatest retained R@10 where ``gained`` is gained; None where it never is."""
        return best_where(self.points, gained, of=0, wanted=1)


def _dense(path: Path, steps: int = 20) -> list[tuple[float, ...]]:
    """The polyline in small steps."""
    found = [
        tuple(a + step / steps * (b - a) for a, b in zip(first, second, strict=True))
        for first, second in pairwise(path)
        for step in range(steps)
    ]
    return [*found, path[-1]]


def difference(ours: Curves, control: Curves, measure: str) -> float:
    """Ours minus the control's in one of the primary measures, in points.

    Gain is equal at what the control gains where it retains 85 %. Where ours never gains that, its point of the
    greatest gain counts, less what it falls short.
    """
    if measure == "gained at 85 %":
        return ours.gained_at(0.85) - control.gained_at(0.85)
    if measure == "gained at 95 %":
        return ours.gained_at(0.95) - control.gained_at(0.95)
    if measure == "third hand at 85 %":
        return ours.third_at(0.85) - control.third_at(0.85)
    target = control.gained_at(0.85)
    theirs = control.retained_at(target)
    found = ours.retained_at(target)
    assert theirs is not None
    if found is None:
        most = max(ours.points)
        return most[1] - (target - most[0]) - theirs
    return found - theirs


def nested(by_seed: Mapping[int, Sequence[float]]) -> Paired:
    """Differences of draws within seeds: a seed's draws share its base model, so that their mean is the unit.

    The interval is Student's over seeds, whose spread holds that of the draws.
    """
    means = [fmean(values) for _, values in sorted(by_seed.items())]
    return paired(means, [0.0] * len(means))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p values adjusted for their number, step by step (Holm 1979)."""
    adjusted: dict[str, float] = {}
    least = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        least = max(least, min(1.0, (len(p_values) - rank) * p))
        adjusted[name] = least
    return adjusted
