"""Decides whether the match scores ("beliefs") of pairs form two groups, of which the lower is likely mismatched.

Flow: ``core.evaluation.noise`` ranks the pairs -> **groups** decides whether any pairs are called likely mismatched.

Belief is a mean of ranks, so unless the mismatched pairs form a separate group, its distribution says nothing about how
many there are, and a mixture of two components would split clean data down the middle. Therefore, one normal component
is compared with two, on ``probit(belief)``. There are two groups if

- the Bayesian information criterion prefers two components by more than `MIN_BIC_GAIN` ("very strong", Kass and Raftery
  1995);
- their separation |a - b| / sqrt((s^2 + t^2) / 2) (Ashman, Bird and Zepf 1994: at least 2 for two groups) exceeds
  `CLEAR_SEPARATION`, or exceeds `SEPARATION` with a valley between the modes of the density. (Clean data with unequally
  hard pairs have a long tail: two components fit better, with separations up to 2.9, but without a valley.)
- at most half of the pairs are in the lower group.

The thresholds were set on random features with 100 to 2,500 pairs, weak to strong alignment, and image quality with a
log-normal spread of 0 to 0.8. In how many of these sets two groups were found, and what the lower group contained:

=========================  ==============  =================  ==========================================
data                       400 or more     100 pairs          lower group
=========================  ==============  =================  ==========================================
clean                      8 of 144 (all sizes together)      at most 2.5 % of the pairs
2 to 40 % mismatched:
- strong alignment         72 of 72        22 of 36           precision 99 %, recall 93 to 96 %
- weak alignment           35 of 36        0 of 18            (if the groups overlap, there is only a ranking)
=========================  ==============  =================  ==========================================

On the demo data with 30 % mismatched captions, runs of clip and sd-coca have one group. Four of five runs of sd-clip
and sd-clip-lean have two; 262 to 468 pairs are in the lower group, with a precision of 84 to 96 %. On clean demo data,
three of four runs had one group; the fourth had 16 of 2,555 pairs in the lower group.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

MIN_BIC_GAIN = 10.0
CLEAR_SEPARATION = 3.0
SEPARATION = 2.5
MIN_VALLEY = 0.1  # depth of the density between its modes, as a share of the lower mode
MAX_LOWER_SHARE = 0.5  # largest share of pairs in the lower group
_MIN_DISTANCE = 1e-3  # beliefs are clipped to this distance from 0 and 1
_MAX_FITTED = 8192  # components are fitted to at most this many pairs
_INITIAL_SHARES = (0.03, 0.15, 0.5)  # initial shares of the lower group
_GRID_POINTS = 512
_TOLERANCE, _MAX_ROUNDS = 1e-7, 2000  # EM stops at this gain in mean log-likelihood, or after this many rounds

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TwoGroups:
    """Two normal components of probit(belief), the lower component first."""

    means: tuple[float, float]
    spreads: tuple[float, float]
    share: float  # share of pairs in the lower group, 0 to 1

    @property
    def separation(self) -> float:
        """The distance between the means, in units of the root mean square of the spreads."""
        return float((self.means[1] - self.means[0]) / np.sqrt((self.spreads[0] ** 2 + self.spreads[1] ** 2) / 2))

    def clean_probability(self, belief: Array) -> Array:
        """The posterior probability (N,) of the upper group for each of ``belief`` (N,), made monotonic."""
        x = _probit(belief)
        low, high = self._parts(x)
        probability = high / np.maximum(low + high, 1e-300)
        # Above the upper mean a pair is never called mismatched, even if the lower component is wide.
        probability = np.where(x >= self.means[1], np.maximum(probability, 0.5), probability)
        order = np.argsort(x, kind="stable")
        monotonic = np.empty_like(probability)
        monotonic[order] = np.maximum.accumulate(probability[order])
        return monotonic

    def valley(self) -> float:
        """The depth of the density between its two modes, 0 to 1; 0 if it has one mode."""
        density = np.sum(self._parts(np.linspace(*self.means, _GRID_POINTS)), axis=0)
        lowest = int(density.argmin())
        lower, upper = density[: lowest + 1].max(), density[lowest:].max()
        return float(1.0 - density[lowest] / min(lower, upper))

    def _parts(self, x: Array) -> tuple[Array, Array]:
        low, high = (_normal(x, mean, spread) for mean, spread in zip(self.means, self.spreads, strict=True))
        return self.share * low, (1.0 - self.share) * high


def two_groups(belief: Array) -> TwoGroups | None:
    """The two groups of ``belief`` (N,), values 0 to 1; None if there is only one group, or too few pairs."""
    x = _probit(belief)
    if len(x) > _MAX_FITTED:
        x = np.sort(x)[np.linspace(0, len(x) - 1, _MAX_FITTED).astype(int)]
    if len(np.unique(x)) < 10:
        return None
    column = x[:, None]
    single, mixture = _fit(column)
    lower, upper = np.argsort(mixture.means_[:, 0])
    means, spreads = mixture.means_[:, 0], np.sqrt(mixture.covariances_[:, 0, 0])
    groups = TwoGroups(
        (float(means[lower]), float(means[upper])),
        (float(spreads[lower]), float(spreads[upper])),
        float(mixture.weights_[lower]),
    )
    gain = float(single.bic(column) - mixture.bic(column))
    is_separated = groups.separation > CLEAR_SEPARATION or (
        groups.separation > SEPARATION and groups.valley() > MIN_VALLEY
    )
    return groups if gain > MIN_BIC_GAIN and is_separated and groups.share <= MAX_LOWER_SHARE else None


def _fit(column: Array) -> tuple[GaussianMixture, GaussianMixture]:
    """The fit of one component, and the best fit of two components, to ``column`` (N, 1)."""
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415  (the import takes a second)
    from sklearn.mixture import GaussianMixture  # noqa: PLC0415

    def fit_two(share: float) -> GaussianMixture:
        starts = np.quantile(column, [share / 2, (1.0 + share) / 2])[:, None]
        # With the default tolerance, the groups would depend on the start if the likelihood is flat.
        settings = {"tol": _TOLERANCE, "max_iter": _MAX_ROUNDS, "random_state": 0}
        return GaussianMixture(2, means_init=starts, weights_init=[share, 1.0 - share], **settings).fit(column)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fits that have not converged are compared too
        single, mixtures = GaussianMixture(1).fit(column), [fit_two(share) for share in _INITIAL_SHARES]
        return single, max(mixtures, key=lambda fit: float(fit.lower_bound_))


def _normal(x: Array, mean: float, spread: float) -> Array:
    density: Array = np.exp(-(((x - mean) / spread) ** 2) / 2) / (math.sqrt(2 * math.pi) * spread)
    return density


def _probit(belief: Array) -> Array:
    clipped: Array = ndtri(np.clip(np.asarray(belief, dtype=np.float64), _MIN_DISTANCE, 1.0 - _MIN_DISTANCE))
    return clipped
