"""Whether the clean probabilities ("beliefs") of pairs form one group, or two with the lower one likely mismatched.

Flow: ``core.evaluation.noise`` ranks the pairs -> **groups** decides whether any are called likely mismatched.

Belief is a mean of ranks, so it has the same distribution for any number of mismatched pairs if they are not separated,
and a mixture of two components cuts clean data in the middle. One normal component is therefore compared with two, on
``probit(belief)``. There are two groups if

- the Bayesian information criterion prefers two components by more than `GAIN` ("very strong", Kass and Raftery 1995);
- their separation |a - b| / sqrt((s^2 + t^2) / 2) (Ashman, Bird and Zepf 1994: at least 2 for two groups) exceeds
  `CLEAR_SEPARATION`, or exceeds `SEPARATION` with a valley between the modes of the density. (Clean data with unequally
  hard pairs have a long tail: two components fit better, with separations up to 2.9, but without a valley.)
- at most half of the pairs are in the lower group.

The thresholds were set on random features: 100 to 2,500 pairs, weakly to strongly aligned, image quality log-spread 0
to 0.8. Eight of 144 clean sets had two groups, with at most 2.5 % of the pairs in the lower one. Well-aligned sets with
2 to 40 % mismatched captions had two groups in all 72 cases of 400 pairs or more and in 22 of 36 cases of 100 pairs;
precision of the lower group was 99 %, recall 93 to 96 %. Weakly aligned sets: 35 of 36, and none of 18. Overlapping
groups give a ranking only. On the demo data with 30 % mismatched captions, runs of clip and sd-coca have one group, and
four of five of sd-clip and sd-clip-lean two, with 262 to 468 pairs and a precision of 84 to 96 %. On clean demo data,
three of four runs had one group, and one had 16 of 2,555 pairs in the lower one.
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

GAIN = 10.0  # difference of BIC
CLEAR_SEPARATION = 3.0
SEPARATION = 2.5
VALLEY = 0.1  # depth of the density between its modes, as a share of the lower mode
MAX_SHARE = 0.5  # share of the lower group
_CLIP = 1e-3  # beliefs are clipped to this distance from 0 and 1
_MAX_FITTED = 8192  # pairs that the components are fitted to
_STARTS = (0.03, 0.15, 0.5)  # initial shares of the lower group
_GRID = 512
_TOLERANCE, _MAX_ROUNDS = 1e-7, 2000  # of the mean log-likelihood per round; rounds of EM

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TwoGroups:
    """Two normal components of probit(belief), the lower first."""

    means: tuple[float, float]
    spreads: tuple[float, float]
    share: float  # of the lower group, 0 to 1

    @property
    def separation(self) -> float:
        """Distance of the means in units of the root mean square of the spreads."""
        return float((self.means[1] - self.means[0]) / np.sqrt((self.spreads[0] ** 2 + self.spreads[1] ** 2) / 2))

    def clean_probability(self, belief: Array) -> Array:
        """Posterior (N,) of the upper group for each of ``belief`` (N,), made monotonic in it."""
        x = _probit(belief)
        low, high = self._parts(x)
        probability = high / np.maximum(low + high, 1e-300)
        probability = np.where(
            x >= self.means[1], np.maximum(probability, 0.5), probability
        )  # a wide lower group ends in the upper's middle
        order = np.argsort(x, kind="stable")
        monotonic = np.empty_like(probability)
        monotonic[order] = np.maximum.accumulate(probability[order])
        return monotonic

    def valley(self) -> float:
        """Depth of the density between its two modes, 0 to 1; 0 for one mode."""
        density = np.sum(self._parts(np.linspace(*self.means, _GRID)), axis=0)
        lowest = int(density.argmin())
        lower, upper = density[: lowest + 1].max(), density[lowest:].max()
        return float(1.0 - density[lowest] / min(lower, upper))

    def _parts(self, x: Array) -> tuple[Array, Array]:
        low, high = (_normal(x, mean, spread) for mean, spread in zip(self.means, self.spreads, strict=True))
        return self.share * low, (1.0 - self.share) * high


def two_groups(belief: Array) -> TwoGroups | None:
    """The two groups of ``belief`` (N,), values 0 to 1; None if there is one group, or too few pairs."""
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
    is_separated = groups.separation > CLEAR_SEPARATION or (groups.separation > SEPARATION and groups.valley() > VALLEY)
    return groups if gain > GAIN and is_separated and groups.share <= MAX_SHARE else None


def _fit(column: Array) -> tuple[GaussianMixture, GaussianMixture]:
    """One component, and the best fit of two, to ``column`` (N, 1)."""
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415  (takes a second)
    from sklearn.mixture import GaussianMixture  # noqa: PLC0415

    def fit_two(share: float) -> GaussianMixture:
        starts = np.quantile(column, [share / 2, (1.0 + share) / 2])[:, None]
        # With the default tolerance, the groups of a flat likelihood depend on the start.
        settings = {"tol": _TOLERANCE, "max_iter": _MAX_ROUNDS, "random_state": 0}
        return GaussianMixture(2, means_init=starts, weights_init=[share, 1.0 - share], **settings).fit(column)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the best fit so far is compared
        single, mixtures = GaussianMixture(1).fit(column), [fit_two(share) for share in _STARTS]
        return single, max(mixtures, key=lambda fit: float(fit.lower_bound_))


def _normal(x: Array, mean: float, spread: float) -> Array:
    density: Array = np.exp(-(((x - mean) / spread) ** 2) / 2) / (math.sqrt(2 * math.pi) * spread)
    return density


def _probit(belief: Array) -> Array:
    clipped: Array = ndtri(np.clip(np.asarray(belief, dtype=np.float64), _CLIP, 1.0 - _CLIP))
    return clipped
