"""Computes confidence intervals and tests for means over a few seeds: Student's t and an exact permutation test.

Sources: Student, "The probable error of a mean" (1908); Fisher, "The Design of Experiments" (1935), section 21, for the
permutation test of pairs.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from core.metrics.statistics import student_interval
from core.spec.study.holm import holm as holm

MAX_EXACT_PAIRS = 16  # with more pairs, sign patterns are sampled instead of enumerated
ROUNDING = 1e-12  # relative tolerance within which differences are equal


@dataclass(frozen=True)
class Mean:
    """A mean over seeds, without an interval for a single seed."""

    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]


@dataclass(frozen=True)
class Paired:
    """Differences of two arms, seed by seed."""

    difference: Mean
    p_t: float | None  # two-sided, paired t; None if there is no spread
    p_exact: float | None  # two-sided permutation test over the signs of the differences

    @property
    def significant(self) -> bool:
        """Whether the 95 % interval excludes zero."""
        low, high = self.difference.low, self.difference.high
        return low is not None and high is not None and (low > 0 or high < 0)


def mean_of(values: Sequence[float]) -> Mean:
    """The mean and Student's 95 % interval."""
    x = np.array(values, dtype=np.float64)
    if len(x) < 2:
        return Mean(float(x.mean()), None, None, tuple(values))
    ends = student_interval(x)
    return Mean(float(x.mean()), ends.low, ends.high, tuple(values))


def paired_mean(a: Sequence[float], b: Sequence[float]) -> Paired:
    """A minus B over the same seeds, in the same order.

    When all differences are equal (few images give few possible values), the spread is unknown: there is no interval
    and no p of the t-test. The exact test needs no spread.
    """
    gains = [x - y for x, y in zip(a, b, strict=True)]
    difference = mean_of(gains)
    if len(gains) < 2:
        return Paired(difference, None, None)
    if max(gains) - min(gains) <= ROUNDING * max(map(abs, [*a, *b])):
        return Paired(replace(difference, low=None, high=None), None, permutation_p(gains))
    return Paired(difference, float(stats.ttest_rel(a, b).pvalue), permutation_p(gains))


def permutation_p(gains: Sequence[float]) -> float:
    """The share of sign patterns whose mean is at least as far from 0, of all patterns (65,536 random above 16 pairs).

    It cannot be below 2 / 2^n for n pairs: 0.25 for three.
    """
    x = np.abs(np.array(gains, dtype=np.float64))
    threshold = abs(sum(gains)) - 1e-12 * float(x.sum())
    if len(x) <= MAX_EXACT_PAIRS:
        patterns = np.array(list(itertools.product((1.0, -1.0), repeat=len(x))))
        return float((np.abs(patterns @ x) >= threshold).mean())
    signs = np.random.default_rng(0).choice((1.0, -1.0), size=(1 << MAX_EXACT_PAIRS, len(x)))
    return float(((np.abs(signs @ x) >= threshold).sum() + 1) / (len(signs) + 1))


def with_mean_recall(metrics: Mapping[str, float]) -> dict[str, float]:
    """Retrieval ``metrics`` with ``R@k`` added: the mean of image-to-text and text-to-image recall, from 0 to 1."""
    means = {}
    for name, value in metrics.items():
        direction, _, k = name.partition("_R@")
        if direction == "image_to_text" and (other := f"text_to_image_R@{k}") in metrics:
            means[f"R@{k}"] = (value + metrics[other]) / 2
    return {**metrics, **means}
