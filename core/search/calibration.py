"""A cut-off for scores, calibrated on the index, with its false positive rate.

Flow: collection -> ``Calibration`` (once) -> results, for each query. Almost all scores of a query over a fixed random
sample of the index belong to unrelated images. Their median and the distance from it to their 90th percentile make
scores of different queries comparable: z = (score - median) / spread. (The lower half would be more robust against
many related images, but predicts the upper tail less well; if more than a tenth of the index is related to a query, the
cut-off is too high rather than too low.) The distribution of z for unrelated pairs is measured with reference queries
over the same sample, each without its own image: captions of the index for text, images for images. The cut-off of a
query is median + z * spread, with the z that a share ``rate`` of unrelated pairs exceeds. The rate lets about
`EXPECTED_FALSE_POSITIVES` unrelated images of the index pass, at most 1 in 100.

Legend: n sampled rows, r reference queries, D embed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from core.search.collection import Collection
from core.search.index.nearest import Floats, Nearest, Rows, product
from core.search.index.storage import Mask

EXPECTED_FALSE_POSITIVES = 10  # targeted number of unrelated images in an index that pass the cut-off
RATE_RANGE = (1e-4, 1e-2)  # minimum (lower rates cannot be measured) and maximum share of unrelated pairs that pass
SAMPLE_ROWS = 4096  # at most this many rows are compared with a query
MAX_QUERIES = 256  # at most this many queries measure unrelated pairs
SEED = 0
UPPER_QUANTILE = 0.9
NORMAL_SPREAD = float(ndtri(UPPER_QUANTILE))  # spread of a normal distribution, in standard deviations


@dataclass(frozen=True)
class Cutoff:
    """The cosine above which a score is more than chance; ``rate`` (0 to 1) of unrelated pairs exceed it."""

    cosine: float
    rate: float
    pairs: int  # number of unrelated pairs in the calibration; 0 if normal scores are assumed

    @property
    def meaning(self) -> str:
        """A sentence that explains the cut-off."""
        source = (
            f"measured on {self.pairs:,} unrelated pairs of this index"
            if self.pairs
            else "assuming normally distributed scores, since the index has no captions to calibrate on"
        )
        return f"{100 * self.rate:.2g} % of unrelated images score above {self.cosine:.3f} ({source})"


class Calibration:
    """The score distribution of unrelated pairs, for images or captions of a collection."""

    def __init__(self, collection: Collection, captions: bool = False) -> None:
        """Calibrate images, or captions with ``captions``; the collection must contain at least one."""
        random = np.random.default_rng(SEED)
        images = _sample_rows(collection.alive, SAMPLE_ROWS, random)
        texts = _sample_rows(collection.text_alive, SAMPLE_ROWS, random)
        owner_of_texts = collection.owner[texts]
        self.rows: Rows = texts if captions else images  # (n,) the sampled rows
        count = int((collection.text_alive if captions else collection.alive).sum())
        self.rate = min(RATE_RANGE[1], max(RATE_RANGE[0], EXPECTED_FALSE_POSITIVES / max(1, count)))
        self._sample = _vectors(collection.texts if captions else collection.images, self.rows)  # (n, D)
        owners = owner_of_texts if captions else images
        self._z = {
            "text": _reference(_vectors(collection.texts, texts[:MAX_QUERIES]), owner_of_texts, self._sample, owners),
            "image": _reference(_vectors(collection.images, images[:MAX_QUERIES]), images, self._sample, owners),
        }
        self._thresholds: dict[tuple[str, float], tuple[float, int]] = {}
        self.median_cosine = _median_cosine(self._sample)  # of two random images or captions

    def scores(self, query: Floats) -> Floats:
        """The cosines (n,) of the unit vector ``query`` (D,) with the sampled rows."""
        return product(self._sample, query)

    def cutoff(self, query: Floats, kind: str, rate: float | None = None) -> Cutoff:
        """The cut-off for ``query`` (D,), a unit vector, of ``kind`` "text" or "image".

        ``rate``: false positive rate from 0 to 1; the default depends on the size of the index.
        """
        rate = self.rate if rate is None else rate
        scores = self.scores(query)
        median, spread = (float(value) for value in _median_and_spread(scores[None])[:, 0])
        z, pairs = self._threshold(kind, rate)
        # Related images can only raise this quantile of the query's scores, so the cut-off need not be higher.
        highest = float(np.quantile(scores, 1 - rate))
        return Cutoff(min(highest, median + z * spread), rate, pairs)

    def _threshold(self, kind: str, rate: float) -> tuple[float, int]:
        """The z that a share ``rate`` of unrelated pairs exceeds, and the number of pairs measured."""
        if (kind, rate) not in self._thresholds:
            null = self._z[kind]
            z = -float(ndtri(rate)) / NORMAL_SPREAD
            if len(null) * rate >= 1:
                z = float(np.quantile(null, 1 - rate))
            elif len(null):  # there are too few pairs for this rate, so use the maximum if it is higher
                z = max(z, float(null.max()))
            self._thresholds[kind, rate] = z, len(null)
        return self._thresholds[kind, rate]


def _sample_rows(mask: Mask, count: int, random: np.random.Generator) -> Rows:
    """Up to ``count`` of the rows where ``mask`` is true, in random order."""
    rows = np.flatnonzero(mask).astype(np.int64)
    return random.permutation(rows) if len(rows) <= count else random.choice(rows, count, replace=False)


def _vectors(bank: Nearest | None, rows: Rows) -> Floats:
    if bank is None or not len(rows):
        return np.zeros((0, bank.dim if bank is not None else 1), np.float32)
    order = np.argsort(rows)  # so that the file is read in one direction
    vectors = np.empty((len(rows), bank.dim), np.float32)
    vectors[order] = bank.vectors(rows[order])
    return vectors


def _median_and_spread(scores: Floats) -> npt.NDArray[np.float64]:
    """Median and upper spread of each row of ``scores`` (r, n): (2, r)."""
    median, upper = np.quantile(scores.astype(np.float64), [0.5, UPPER_QUANTILE], axis=1)
    return np.stack([median, np.maximum(upper - median, 1e-6)])


def _reference(queries: Floats, query_owner: Rows, sample: Floats, owner: Rows) -> npt.NDArray[np.float64]:
    """z of all unrelated pairs of ``queries`` (r, D) and ``sample`` (n, D), of different images: (pairs,)."""
    if not len(queries) or not len(sample):
        return np.zeros(0)
    scores = product(queries, sample.T)  # (r, n)
    median, spread = _median_and_spread(scores)
    z = (scores - median[:, None]) / spread[:, None]
    unrelated: npt.NDArray[np.float64] = z[query_owner[: len(queries), None] != owner[None, :]]
    return unrelated


def _median_cosine(sample: Floats) -> float:
    """The median cosine of two random rows; 0 with fewer than two rows."""
    subset = sample[:512]
    if len(subset) < 2:
        return 0.0
    scores = product(subset, subset.T)
    return float(np.median(scores[np.triu_indices(len(subset), 1)]))
