"""The 95 % interval of a mean over few runs, by Student's t. Without scipy, which the window does not install."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

# The 97.5 % quantiles of Student's t for 1 to 10 degrees of freedom; beyond, the series in 1/df.
_T = (12.706204736, 4.302652730, 3.182446305, 2.776445105, 2.570581836, 2.446911851, 2.364624252, 2.306004135,
      2.262157163, 2.228138852)  # fmt: skip


@dataclass(frozen=True)
class Mean:
    """A mean with its 95 % interval, mean ± ``half``; ``half`` is nan for a single value."""

    count: int
    mean: float
    half: float


def mean_of(count: int, mean: float, mean_of_squares: float) -> Mean:
    """The mean and interval from E[x] and E[x²] over ``count`` values, which SQL computes."""
    if count < 2:
        return Mean(count, mean, math.nan)
    variance = max(0.0, mean_of_squares - mean * mean) * count / (count - 1)
    return Mean(count, mean, student_t(count - 1) * math.sqrt(variance / count))


def student_t(df: int) -> float:
    """The 97.5 % quantile of Student's t; to 1e-5 (Abramowitz and Stegun 26.7.5)."""
    if df <= len(_T):
        return _T[df - 1]
    z = NormalDist().inv_cdf(0.975)
    return (
        z
        + (z**3 + z) / (4 * df)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * df**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * df**4)
    )
