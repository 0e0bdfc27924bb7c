"""Measures a path of interpolated weights: retention at a given gain, gain at a given retention, and statistics.

A path is the polyline through the points (gained, retained) of its alphas, in the order of alpha.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from core.studies.study.statistics import Paired, paired_mean

Polyline = Sequence[tuple[float, ...]]  # one point per alpha
AT_85 = {"third artist at 85 %": 2, "probe of new images at 85 %": 3, "probe of old images at 85 %": 4}  # coordinates


def best_with_at_least(path: Polyline, minimum: float, constrained: int, maximise: int) -> float | None:
    """The largest coordinate ``maximise`` on the polyline ``path`` where ``constrained`` is at least ``minimum``.

    None when ``constrained`` never reaches ``minimum``. Interpolation between points is linear.
    """
    values: list[float] = [point[maximise] for point in path if point[constrained] >= minimum]
    for first, second in pairwise(path):
        low, high = sorted((first[constrained], second[constrained]))
        if low < minimum <= high and high > low:
            share = (minimum - first[constrained]) / (second[constrained] - first[constrained])
            values.append(first[maximise] + share * (second[maximise] - first[maximise]))
    return max(values, default=None)


@dataclass(frozen=True)
class Curves:
    """The path of a cell: R@10 (or another metric) on gained, retained and third-artist images at each alpha.

    If the cell has them, the accuracies of linear probes of new and of old images follow.
    """

    points: Polyline

    @classmethod
    def of(cls, curve: Mapping[str, Sequence[float]], metric: str = "R@10") -> Curves:
        """The path in the measures of a cell."""
        names = [f"gain/{metric}", f"retain/{metric}", f"third/{metric}"]
        names += [name for name in ("gain/probe", "retain/probe") if name in curve]
        return cls(list(zip(*(curve[name] for name in names), strict=True)))

    def gained_at(self, share: float) -> float:
        """The largest gain where at least ``share`` of the initial value is retained."""
        best = best_with_at_least(self.points, share * self.points[0][1], constrained=1, maximise=0)
        assert best is not None  # the initial model retains everything
        return best

    def value_at(self, share: float, coordinate: int = 2) -> float:
        """Another coordinate, by default of the third artist's images, at the point of `gained_at`."""
        gained = self.gained_at(share)
        minimum = share * self.points[0][1]
        candidates = [point for point in _subdivide(self.points) if point[1] >= minimum - 1e-9]
        return min(candidates, key=lambda point: abs(point[0] - gained))[coordinate]

    def retained_at(self, gained: float) -> float | None:
        """The largest retained value where at least ``gained`` is gained; None if this is never reached."""
        return best_with_at_least(self.points, gained, constrained=0, maximise=1)


def _subdivide(path: Polyline, steps: int = 20) -> list[tuple[float, ...]]:
    """The points of the polyline in small steps."""
    points = [
        tuple(a + step / steps * (b - a) for a, b in zip(first, second, strict=True))
        for first, second in pairwise(path)
        for step in range(steps)
    ]
    return [*points, path[-1]]


def difference(ours: Curves, control: Curves, measure: str) -> float:
    """Our value minus the control's value of a measure, in points. Top-1 measures need `Curves` of top-1.

    "Retained at equal gain" compares at the control's gain at 85 % retention; "(70 %)" at 70 %. If our path never gains
    as much, its largest-gain point is used, and the missing gain is subtracted.
    """
    measure = measure.removeprefix("top-1 ")
    if measure == "gained at 85 %":
        return ours.gained_at(0.85) - control.gained_at(0.85)
    if measure == "gained at 95 %":
        return ours.gained_at(0.95) - control.gained_at(0.95)
    if measure in AT_85:
        return ours.value_at(0.85, AT_85[measure]) - control.value_at(0.85, AT_85[measure])
    target = control.gained_at(0.7 if measure.endswith("(70 %)") else 0.85)
    theirs = control.retained_at(target)
    retained = ours.retained_at(target)
    assert theirs is not None
    if retained is None:
        furthest = max(ours.points)
        return furthest[1] - (target - furthest[0]) - theirs
    return retained - theirs


def nested_test(by_seed: Mapping[int, Sequence[float]]) -> Paired:
    """Test the differences by seed and draw. All draws of one seed share a base model, so the test uses one mean per
    seed.

    The interval is Student's t over seeds; its spread includes the spread of the draws.
    """
    seed_means = [fmean(values) for _, values in sorted(by_seed.items())]
    return paired_mean(seed_means, [0.0] * len(seed_means))
