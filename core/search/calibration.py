"""A cut-off for scores, from the index's own scores, with its rate of false positives.

Flow: collection -> ``Calibration`` (once) -> results, for each query. The scores of a query over a fixed random sample
of the index are almost all of images that have nothing to do with it. Their median, and how far their upper tenth
begins above it, make scores of different queries comparable: z = (score - median) / spread. (The lower half would be
surer against many images that do have to do with it, but says less of the upper tail, which is what counts; where
more than a tenth of an index answers a query, the cut-off is too high rather than too low.) How large z gets by chance
is read off reference queries over the same sample, each without its own image: captions of the index for words, its
images for images. The cut-off of a query is median + z * spread, with the z that a share ``rate`` of the unrelated
pairs exceeds: so many that about `EXPECTED` unrelated images of the index pass, 1 in 100 at most.

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

EXPECTED = 10  # unrelated images of an index that pass the cut-off
RATES = (1e-4, 1e-2)  # of unrelated pairs that pass, at least (fewer cannot be measured) and at most
SAMPLE = 4096
REFERENCES = 256
SEED = 0
TENTH = 0.9
NORMAL = -float(ndtri(1 - TENTH))  # where the upper tenth of normal scores begins, in standard deviations


@dataclass(frozen=True)
class Cutoff:
    """The cosine above which a score is more than chance; ``rate`` (0 to 1) of unrelated pairs exceed it."""

    cosine: float
    rate: float
    pairs: int  # unrelated pairs that it was calibrated on; 0: normal scores are assumed
    median: float  # of the query's scores over the index
    spread: float

    @property
    def meaning(self) -> str:
        """The cut-off in a sentence."""
        source = (
            f"measured on {self.pairs:,} unrelated pairs of this index"
            if self.pairs
            else "assuming normally distributed scores, since the index has no captions to measure on"
        )
        return f"{100 * self.rate:.2g} % of unrelated images score above {self.cosine:.3f} ({source})"


class Calibration:
    """The distribution of scores of unrelated pairs, for the images or the captions of a collection."""

    def __init__(self, collection: Collection, captions: bool = False) -> None:
        """Of the images, or with ``captions`` of the captions; the collection must have some."""
        random = np.random.default_rng(SEED)
        images = _draw(collection.alive, SAMPLE, random)
        texts = _draw(collection.text_alive, SAMPLE, random)
        owner_of_texts = collection.owner[texts]
        self._sampled: Rows = texts if captions else images
        many = int((collection.text_alive if captions else collection.alive).sum())
        self.rate = min(RATES[1], max(RATES[0], EXPECTED / max(1, many)))
        self._sample = _vectors(collection.texts if captions else collection.images, self._sampled)  # (n, D)
        owners = owner_of_texts if captions else images
        self._z = {
            "text": _reference(_vectors(collection.texts, texts[:REFERENCES]), owner_of_texts, self._sample, owners),
            "image": _reference(_vectors(collection.images, images[:REFERENCES]), images, self._sample, owners),
        }
        self._thresholds: dict[tuple[str, float], tuple[float, int]] = {}
        self.spread_of_pairs = _median_pair(self._sample)

    @property
    def rows(self) -> Rows:
        """The sampled rows: (n,) int64."""
        return self._sampled

    def scores(self, query: Floats) -> Floats:
        """Cosines (n,) of ``query`` (D,), a unit vector, with the sampled rows."""
        return product(self._sample, query)

    def cutoff(self, query: Floats, kind: str, rate: float | None = None) -> Cutoff:
        """The cut-off for ``query`` (D,), a unit vector, of ``kind`` "text" or "image".

        ``rate``: of false positives, from 0 to 1; by default that of the index.
        """
        rate = self.rate if rate is None else rate
        scores = self.scores(query)
        median, spread = (float(value) for value in _robust(scores[None])[:, 0])
        z, pairs = self._threshold(kind, rate)
        # Images that answer the query can only raise this share of its own scores: no cut-off need be higher.
        highest = float(np.quantile(scores, 1 - rate))
        return Cutoff(min(highest, median + z * spread), rate, pairs, median, spread)

    def _threshold(self, kind: str, rate: float) -> tuple[float, int]:
        """The z that a share of ``rate`` of unrelated pairs exceeds, and on how many pairs it was measured."""
        if (kind, rate) not in self._thresholds:
            null = self._z[kind]
            z = -float(ndtri(rate)) / NORMAL
            if len(null) * rate >= 1:
                z = float(np.quantile(null, 1 - rate))
            elif len(null):  # too few to see so small a share: the highest of them, if that is more
                z = max(z, float(null.max()))
            self._thresholds[kind, rate] = z, len(null)
        return self._thresholds[kind, rate]


def _draw(mask: Mask, count: int, random: np.random.Generator) -> Rows:
    """Up to ``count`` of the rows where ``mask`` is true, in random order."""
    rows = np.flatnonzero(mask).astype(np.int64)
    return random.permutation(rows) if len(rows) <= count else random.choice(rows, count, replace=False)


def _vectors(bank: Nearest | None, rows: Rows) -> Floats:
    if bank is None or not len(rows):
        return np.zeros((0, bank.dim if bank is not None else 1), np.float32)
    order = np.argsort(rows)  # reads the file in one direction
    vectors = np.empty((len(rows), bank.dim), np.float32)
    vectors[order] = bank.vectors(rows[order])
    return vectors


def _robust(scores: Floats) -> npt.NDArray[np.float64]:
    """Median and upper spread of each row of ``scores`` (r, n): (2, r)."""
    median, upper = np.quantile(scores.astype(np.float64), [0.5, TENTH], axis=1)
    return np.stack([median, np.maximum(upper - median, 1e-6)])


def _reference(queries: Floats, query_owner: Rows, sample: Floats, owner: Rows) -> npt.NDArray[np.float64]:
    """z of all pairs of ``queries`` (r, D) and ``sample`` (n, D) that do not belong to one image: (pairs,)."""
    if not len(queries) or not len(sample):
        return np.zeros(0)
    scores = product(queries, sample.T)  # (r, n)
    median, spread = _robust(scores)
    z = (scores - median[:, None]) / spread[:, None]
    unrelated: npt.NDArray[np.float64] = z[query_owner[: len(queries), None] != owner[None, :]]
    return unrelated


def _median_pair(sample: Floats) -> float:
    """The median cosine of two random rows; 0 where there are no two."""
    some = sample[:512]
    if len(some) < 2:
        return 0.0
    scores = product(some, some.T)
    return float(np.median(scores[np.triu_indices(len(some), 1)]))
