"""Confidence intervals of shares and means, and of the difference between two models on the same queries.

Flow: `core.evaluation.report` calls `interval` for each metric of an outcome; ``evaluate --compare A B`` and the panels
call `paired_difference`.

Sources: Wilson, "Probable inference" (1927); Efron and Tibshirani, "An Introduction to the Bootstrap" (1993),
percentile intervals; Koehn, "Statistical Significance Tests for Machine Translation Evaluation" (2004), for pairs;
Rao and Wu, "Resampling Inference with Complex Survey Data" (1988), for strata; Wolter, "Introduction to Variance
Estimation" (2007), chapter 2, for collapsed strata.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

from core.metrics.inputs import EvaluationError
from core.metrics.outcome import Floats, Integers, Outcome, Queries

LEVEL = 0.95
DRAWS = 2000
SEED = 0  # fixed, so that a report is reproducible
_MAX_COUNTED_VALUES = 512  # up to this many distinct values are drawn as counts, which is exact and fast
_BLOCK_DRAWS = 1 << 22


@dataclass(frozen=True)
class Interval:
    """A confidence interval; its ends are NaN where a single unit was measured, which has no spread."""

    low: float
    high: float
    level: float = LEVEL


@dataclass(frozen=True)
class Difference:
    """The mean of A minus the mean of B over the same queries.

    ``p``: the two-sided bootstrap p-value of no difference; NaN without an interval.
    ``better``, ``worse`` and ``equal``: numbers of queries.
    """

    value: float
    interval: Interval
    p: float
    better: int
    worse: int
    equal: int

    @property
    def significant(self) -> bool:
        """Whether the interval excludes zero."""
        return self.interval.low > 0 or self.interval.high < 0


def wilson(successes: float, trials: int) -> Interval:
    """Wilson's score interval for ``successes`` in ``trials``; unlike the normal interval, valid for small counts.

    ``successes`` may be fractional, since ties count with their expectation.
    With p the share, n the trials and z the normal quantile: (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).
    """
    if trials <= 0 or not 0 <= successes <= trials:
        raise EvaluationError(f"cannot compute an interval for {successes} successes in {trials} trials.")
    z = float(ndtri((1 + LEVEL) / 2))
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2))
    # In these cases the ends are exactly 0 and 1, but rounding would leave 1e-17.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return Interval(low, high)


def student_interval(values: Floats) -> Interval:
    """Student's t interval for the mean of ``values`` (R,): R >= 2 independent draws, such as few-shot runs."""
    if len(values) < 2:
        raise EvaluationError("an interval over draws needs at least two draws; raise their number.")
    half = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2) * values.std(ddof=1) / math.sqrt(len(values)))
    return Interval(float(values.mean()) - half, float(values.mean()) + half)


def interval(queries: Queries, draws: int = DRAWS, seed: int = SEED) -> Interval:
    """The interval of the mean of ``queries``: Wilson's for independent hits and misses, otherwise by the bootstrap.

    ``draws``: number of resamples, drawn with ``seed``; whole groups, or each stratum, are resampled if ``queries`` has
    groups or strata.
    """
    values = _check_values(queries.values)
    if queries.groups is None and queries.strata is None and bool(np.isin(values, (0.0, 1.0)).all()):
        return wilson(int(values.sum()), len(values))
    return _percentiles(_bootstrap_means(queries, draws, seed))


def paired_difference(a: Queries, b: Queries, draws: int = DRAWS, seed: int = SEED) -> Difference:
    """The mean of A minus the mean of B on the same queries in the same order, by the paired bootstrap (Koehn 2004).

    Raises EvaluationError if the numbers of queries differ.
    """
    if len(a.values) != len(b.values):
        raise EvaluationError(
            f"A has {len(a.values)} queries, but B has {len(b.values)}; a paired comparison needs the same data."
        )
    gain = _check_values(a.values) - _check_values(b.values)
    means = _bootstrap_means(Queries(gain, a.groups, a.strata), draws, seed)
    has_interval = bool(np.isfinite(means).all())
    # One is added to both counts, so that a bootstrap p-value is never zero.
    tail = min(int((means <= 0).sum()), int((means >= 0).sum()))
    return Difference(
        value=float(gain.mean()),
        interval=_percentiles(means),
        p=min(1.0, 2 * (tail + 1) / (draws + 1)) if has_interval else math.nan,
        better=int((gain > 0).sum()),
        worse=int((gain < 0).sum()),
        equal=int((gain == 0).sum()),
    )


def compare(a: Outcome, b: Outcome) -> dict[str, Difference]:
    """`paired_difference` of each metric that has values per query in both outcomes."""
    shared = [name for name in a.per_query if name in b.per_query]
    if a.task != b.task or not shared:
        raise EvaluationError(
            f"cannot compare {a.task} with {b.task}: they have no common metric that is computed per query."
        )
    return {name: paired_difference(a.per_query[name], b.per_query[name]) for name in shared}


def intervals(per_query: Mapping[str, Queries]) -> dict[str, Interval]:
    """The interval of each metric; see `interval`."""
    return {name: interval(queries) for name, queries in per_query.items()}


def _check_values(values: Floats) -> Floats:
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise EvaluationError("an interval needs at least one query, and a finite value for each.")
    return values


def _percentiles(means: Floats) -> Interval:
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def _bootstrap_means(queries: Queries, draws: int, seed: int) -> Floats:
    """The means (draws,) of ``draws`` samples with replacement, of queries or of whole groups of queries.

    All are NaN for a single query or group, whose resamples would all be equal.
    """
    random = np.random.default_rng(seed)
    values = _check_values(queries.values)
    if len(values if queries.groups is None else np.unique(queries.groups)) < 2:
        return np.full(draws, math.nan)
    if queries.groups is not None:
        _, position = np.unique(queries.groups, return_inverse=True)
        sums, counts = np.bincount(position, values), np.bincount(position)
        return _ratio_means(sums.astype(np.float64), counts.astype(np.float64), draws, random)
    if queries.strata is not None:
        total = np.zeros(draws)
        for stratum in _strata(values, queries.strata):
            # n draws of n values have only (n - 1) / n of the variance (half for two rows); n - 1 draws have all of it.
            total += len(stratum) * _plain_means(stratum, draws, random, max(1, len(stratum) - 1))
        return total / len(values)
    return _plain_means(values, draws, random)


def _strata(values: Floats, strata: Integers) -> list[Floats]:
    """The values of each stratum. Strata with one row, which have no variance, are collapsed into one stratum.

    If there is only one such stratum, it is collapsed with the smallest other stratum. The collapsed stratum contains
    the sum of the values of each stratum in it.
    """
    _, position, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    is_collapsed = sizes == 1
    if is_collapsed.sum() == 1 and len(sizes) > 1:
        is_collapsed[np.where(is_collapsed, len(values), sizes).argmin()] = True
    separate = [values[position == stratum] for stratum in np.flatnonzero(~is_collapsed)]
    return [*separate, np.bincount(position, values)[is_collapsed]] if is_collapsed.any() else separate


def _plain_means(values: Floats, draws: int, random: np.random.Generator, size: int | None = None) -> Floats:
    """The means of ``draws`` samples of ``values`` with replacement, each with ``size`` values (default: all)."""
    size = size or len(values)
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= _MAX_COUNTED_VALUES:  # the number of draws of each value is multinomial
        resampled_means: Floats = random.multinomial(size, counts / len(values), size=draws) @ distinct / size
        return resampled_means
    return _ratio_means(values, np.ones(len(values)), draws, random, size)


def _ratio_means(
    sums: Floats, counts: Floats, draws: int, random: np.random.Generator, size: int | None = None
) -> Floats:
    """The ratio of sum to count for ``draws`` resamples of ``size`` units, each with a sum and a count."""
    means = np.empty(draws)
    size = size or len(sums)
    step = max(1, _BLOCK_DRAWS // size)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        indices = random.integers(len(sums), size=(rows, size))
        means[start : start + rows] = sums[indices].sum(axis=1) / counts[indices].sum(axis=1)
    return means
