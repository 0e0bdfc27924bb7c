"""Whether the beliefs of a data set's pairs have two groups, of which the lower is likely mislabelled, or one.

Flow: ``core.evaluation.noise`` ranks the pairs -> **groups** decides whether any of them can be called mislabelled.

Belief is a mean of ranks: half of all pairs are below the median whether one is wrong or none, and a mixture of two
components that is fitted to clean data cuts it in the middle. So one normal component is compared with two, on
``probit(belief)``, where ranks that agree and ranks that do not both give one normal component. There are two groups
where

- the Bayesian information criterion prefers two components by more than `GAIN` ("very strong", Kass and Raftery 1995);
- their separation, |a - b| / sqrt((s^2 + t^2) / 2) (Ashman, Bird and Zepf 1994, find 2 to be the least for two groups),
  is above `APART`; or above `SEPARATION` with a valley between the modes of the density. Clean data whose pairs are
  unequally hard have a long tail: two components fit it better than one, up to 2.9 apart, without a valley;
- at most half of the pairs are in the lower one.

Thresholds were set with features drawn at random (100 to 2,500 pairs, weakly to strongly aligned, the log of a
image's quality spread by 0 to 0.8). Of 144 clean sets eight had two groups, of which the lower had at most 2.5 % of
the pairs, those that hardly match. Of well aligned sets with 2 to 40 % wrong captions two were seen in all 72 of 400
pairs and more, and in 22 of 36 of 100; of the pairs below, 99 % were wrong ones, and of the wrong ones 93 to 96 % were
below. Of weakly aligned ones it was 35 of 36 and none of 18. Where beliefs overlap there is an order, and no claim: of
the demo's runs on 30 % wrong captions those of clip and sd-coca have one group, and four of five of sd-clip and its
lean kind two, of whose 262 to 468 pairs below 84 to 96 % are wrong ones. On clean pairs three of four runs had one
group, and one had 16 of 2,555 pairs below.
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
APART = 3.0
SEPARATION = 2.5
VALLEY = 0.1  # how far the density falls between its modes, as a share of the lower mode
MOST = 0.5  # share of the lower group
_EDGE = 1e-3  # beliefs are at least this far from 0 and 1
_FITTED = 8192  # pairs that the components are fitted to, at most
_STARTS = (0.03, 0.15, 0.5)  # shares of the lower group that the fit starts from
_GRID = 512
_CONVERGED, _ROUNDS = 1e-7, 2000  # the mean log-likelihood rises by less in a round, of which there are so many at most

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

    def probability_right(self, belief: Array) -> Array:
        """Posterior (N,) of the upper group for each of ``belief`` (N,), made monotonic in it."""
        x = _probit(belief)
        low, high = self._parts(x)
        right = high / np.maximum(low + high, 1e-300)
        right = np.where(
            x >= self.means[1], np.maximum(right, 0.5), right
        )  # a wide lower group ends in the upper's middle
        order = np.argsort(x, kind="stable")
        rising = np.empty_like(right)
        rising[order] = np.maximum.accumulate(right[order])
        return rising

    def valley(self) -> float:
        """How far the density falls between its two modes, 0 to 1; 0 where it has one mode."""
        density = np.sum(self._parts(np.linspace(*self.means, _GRID)), axis=0)
        at = int(density.argmin())
        lower, upper = density[: at + 1].max(), density[at:].max()
        return float(1.0 - density[at] / min(lower, upper))

    def _parts(self, x: Array) -> tuple[Array, Array]:
        low, high = (_normal(x, mean, spread) for mean, spread in zip(self.means, self.spreads, strict=True))
        return self.share * low, (1.0 - self.share) * high


def two_groups(belief: Array) -> TwoGroups | None:
    """The two groups of ``belief`` (N,), each 0 to 1; None where it has one, or too few pairs to tell."""
    x = _probit(belief)
    if len(x) > _FITTED:
        x = np.sort(x)[np.linspace(0, len(x) - 1, _FITTED).astype(int)]
    if len(np.unique(x)) < 10:
        return None
    column = x[:, None]
    one, two = _fitted(column)
    lower, upper = np.argsort(two.means_[:, 0])
    means, spreads = two.means_[:, 0], np.sqrt(two.covariances_[:, 0, 0])
    found = TwoGroups(
        (float(means[lower]), float(means[upper])),
        (float(spreads[lower]), float(spreads[upper])),
        float(two.weights_[lower]),
    )
    gain = float(one.bic(column) - two.bic(column))
    apart = found.separation > APART or (found.separation > SEPARATION and found.valley() > VALLEY)
    return found if gain > GAIN and apart and found.share <= MOST else None


def _fitted(column: Array) -> tuple[GaussianMixture, GaussianMixture]:
    """One component, and the best fit of two, to ``column`` (N, 1)."""
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415  (a second, for those who fit)
    from sklearn.mixture import GaussianMixture  # noqa: PLC0415

    def two(share: float) -> GaussianMixture:
        starts = np.quantile(column, [share / 2, (1.0 + share) / 2])[:, None]
        # Not to its own default, where the two groups of a flat likelihood depend on where the fit began.
        end = {"tol": _CONVERGED, "max_iter": _ROUNDS, "random_state": 0}
        return GaussianMixture(2, means_init=starts, weights_init=[share, 1.0 - share], **end).fit(column)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the best fit so far is compared
        one, fits = GaussianMixture(1).fit(column), [two(share) for share in _STARTS]
        return one, max(fits, key=lambda fit: float(fit.lower_bound_))


def _normal(x: Array, mean: float, spread: float) -> Array:
    density: Array = np.exp(-(((x - mean) / spread) ** 2) / 2) / (math.sqrt(2 * math.pi) * spread)
    return density


def _probit(belief: Array) -> Array:
    clipped: Array = ndtri(np.clip(np.asarray(belief, dtype=np.float64), _EDGE, 1.0 - _EDGE))
    return clipped
