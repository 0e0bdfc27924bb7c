"""The images or captions nearest to a query, with what their scores mean.

Flow: query -> embedder -> **results** -> terminal, panel. Each result has its cosine; its share of the softmax over the
index, with the model's own temperature; its rank; whether it is above the calibrated cut-off; and the results that are
near-identical to it, which are folded into it.

Legend: N images, M captions, D embed, k results.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from core.search.calibration import Calibration, Cutoff
from core.search.collection import Collection
from core.search.errors import QueryError
from core.search.filters import Filter
from core.search.index.nearest import Floats, Nearest, Rows, product
from core.search.index.storage import Mask
from core.search.queries import Embedder, Query

SHARE_OF_DUPLICATE = 0.01  # of the distance between two random images; closer ones are duplicates
MOST = 10_000  # results of one query
FEW_VALUES = 16 << 20  # of all vectors, up to which one thread is quicker


@dataclass(frozen=True)
class Options:
    """How to search. ``find``: "images" or "captions"; ``group``: fold near-identical images into one result."""

    k: int = 50
    find: str = "images"
    filter: Filter = field(default_factory=Filter)
    group: bool = True  # fold near-identical images into the best of them


class Searching:
    """A collection that is searched; calibrations are computed once and kept."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self.embedder = Embedder(
            collection.encoder, lambda row: collection.images.vectors(np.array([self._checked(row)]))[0]
        )

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration of images."""
        return Calibration(self.collection)

    @cached_property
    def caption_calibration(self) -> Calibration:
        """The calibration of captions."""
        return Calibration(self.collection, captions=True)

    def _checked(self, row: int) -> int:
        if not 0 <= row < len(self.collection.alive):
            raise QueryError(f"there is no image {row}; there are {len(self.collection.alive)}.")
        return row

    def search(self, query: Query, options: Options) -> dict[str, Any]:
        """``rows`` (the results, as JSON), ``cutoff``, ``above`` (how many of the results are), ``searched`` (how
        many might have been found), ``notes``.

        Raises QueryError for a query that cannot be searched for.
        """
        with few_threads(self.collection):
            embedded = self.embedder.embed(query)
            answer = self.search_vector(embedded.vector, query.kind, options)
        return {**answer, "notes": embedded.notes}

    def search_vector(self, query: Floats, kind: str, options: Options) -> dict[str, Any]:
        """The same for a vector (D,) of unit length; ``kind`` is "text" or "image"."""
        if not 1 <= options.k <= MOST:
            raise QueryError(f"k is {options.k}; it must be 1 to {MOST}.")
        collection = self.collection
        mask = options.filter.mask(collection)
        bank, calibration = collection.images, self.calibration
        if options.find == "captions":
            if collection.texts is None:
                raise QueryError(f"{collection.title} has no captions; search for images.")
            bank, calibration = collection.texts, self.caption_calibration
            mask = collection.text_alive & mask[np.maximum(collection.owner, 0)]
        elif options.find != "images":
            raise QueryError(f"one can find images or captions, not {options.find!r}.")
        grouped = options.group and options.find == "images"
        searched = int(mask.sum())
        wanted = 2 * options.k if grouped else options.k
        while True:
            scores, rows = bank.search(query, wanted, mask)
            groups = self._groups(rows, calibration) if grouped else [[i] for i in range(len(rows))]
            if len(groups) >= options.k or wanted >= min(searched, MOST):
                break
            wanted = min(2 * wanted, MOST)  # so many were near-identical that too few are left
        groups = groups[: options.k]
        cutoff = calibration.cutoff(query, kind)
        found = _Found(scores, rows, self._softmax(bank, query, scores, mask, calibration), cutoff)
        describe = self._captions if options.find == "captions" else self._images
        return {
            "rows": describe(found, groups),
            "cutoff": {"cosine": cutoff.cosine, "rate": cutoff.rate, "meaning": cutoff.meaning},
            "above": sum(bool(scores[group[0]] >= cutoff.cosine) for group in groups),
            "searched": searched,
        }

    def _softmax(self, bank: Nearest, query: Floats, scores: Floats, mask: Mask, calibration: Calibration) -> Floats:
        """(k,) each result's share of the softmax over what may be found.

        Where the index is too large to know all scores, those that were not found are estimated from the sample.
        """
        if not len(scores):
            return scores
        scale = self.collection.encoder.model.network.logit_scale.item()
        weights = np.exp(scale * (scores.astype(np.float64) - scores[0]))
        every = bank.all_scores(query)
        if every is not None:
            total = np.exp(scale * (every[mask].astype(np.float64) - scores[0])).sum()
        else:
            allowed = mask[calibration.rows]
            rest = calibration.scores(query)[allowed & (calibration.scores(query) < scores[-1])]
            left = int(mask.sum()) - len(scores)
            share = left / max(1, int(allowed.sum()))
            total = weights.sum() + share * np.exp(scale * (rest.astype(np.float64) - scores[0])).sum()
        shares: Floats = (weights / total).astype(np.float32)
        return shares

    def _groups(self, rows: Rows, calibration: Calibration) -> list[list[int]]:
        """Positions of near-identical results together, the best first, in the order of the results."""
        if not len(rows):
            return []
        vectors = self.collection.images.vectors(rows)
        least = 1 - SHARE_OF_DUPLICATE * (1 - max(0.0, calibration.spread_of_pairs))
        alike = product(vectors, vectors.T) >= least  # (k, k)
        groups: list[list[int]] = []
        taken = np.zeros(len(rows), np.bool_)
        for i in range(len(rows)):
            if not taken[i]:
                members = np.flatnonzero(alike[i] & ~taken)
                taken[members] = True
                groups.append([i, *(int(m) for m in members if m != i)])
        return groups

    def _images(self, found: _Found, groups: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
        flat = [i for group in groups for i in group]
        records = dict(zip(flat, self.collection.records(found.rows[flat].tolist()), strict=True))
        sizes, times = self.collection.sizes, self.collection.times
        results = []
        for group in groups:
            first, row = records[group[0]], int(found.rows[group[0]])
            results.append(
                {
                    "row": row,
                    "path": first.path,
                    "there": os.path.exists(first.path),  # noqa: PTH110  (Path's raises where a folder does not answer)
                    "caption": first.captions[0] if first.captions else "",
                    "captions": list(first.captions),
                    "labels": dict(first.labels),
                    "size": int(sizes[row]),
                    "time": int(times[row]) / 1e9,
                    **found.score(group[0]),
                    "duplicates": [
                        {"row": int(found.rows[i]), "path": records[i].path, **found.score(i)} for i in group[1:]
                    ],
                }
            )
        return results

    def _captions(self, found: _Found, groups: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
        texts = found.rows[[group[0] for group in groups]].tolist() if groups else []
        images = [int(self.collection.owner[text]) for text in texts]
        records = self.collection.records(images)
        captions = self.collection.captions(texts)
        return [
            {"text": text, "caption": caption, "row": row, "path": record.path, **found.score(i), "duplicates": []}
            for i, (text, caption, row, record) in enumerate(zip(texts, captions, images, records, strict=True))
        ]


@contextmanager
def few_threads(collection: Collection) -> Iterator[None]:
    """One thread for a small collection: on a busy machine the wait for a second one is longer than the work."""
    before = torch.get_num_threads()
    small = len(collection.images) * collection.images.dim <= FEW_VALUES
    torch.set_num_threads(1 if small else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _Found:
    """Scores of what was found, the best first."""

    scores: Floats  # (k,)
    rows: Rows
    softmax: Floats
    cutoff: Cutoff

    def score(self, i: int) -> dict[str, Any]:
        """What the score of result ``i`` means, as JSON."""
        cosine = float(self.scores[i])
        return {
            "cosine": cosine,
            "softmax": float(self.softmax[i]),
            "rank": i + 1,
            "above_cutoff": cosine >= self.cutoff.cosine,
        }
