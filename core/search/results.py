"""Finds the images or captions nearest to a query, with calibrated scores.

Flow: query -> embedder -> **results** -> terminal, panel. Each result has its cosine, its share of the softmax over the
index with the model's temperature, its rank, whether it is above the calibrated cut-off, and its near-duplicates.

Legend: D embed, k results.
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

SHARE_OF_DUPLICATE = 0.01  # images closer than this share of the distance between random images are duplicates
MAX_RESULTS = 10_000
FEW_VALUES = 16 << 20  # up to this many values in all vectors, one thread is faster


@dataclass(frozen=True)
class Options:
    """Search options. ``find``: "images" or "captions"; ``group``: merge near-duplicates into one result."""

    k: int = 50
    find: str = "images"
    filter: Filter = field(default_factory=Filter)
    group: bool = True


class Searcher:
    """Searches a collection; calibrations are computed once."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self.embedder = Embedder(
            collection.encoder, lambda row: collection.images.vectors(np.array([self._check_row(row)]))[0]
        )

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration of images."""
        return Calibration(self.collection)

    @cached_property
    def caption_calibration(self) -> Calibration:
        """The calibration of captions."""
        return Calibration(self.collection, captions=True)

    def _check_row(self, row: int) -> int:
        if not 0 <= row < len(self.collection.alive):
            raise QueryError(f"there is no image {row}; use a row from 0 to {len(self.collection.alive) - 1}.")
        return row

    def search(self, query: Query, options: Options) -> dict[str, Any]:
        """``rows`` (the results as JSON), ``cutoff``, ``above`` (number of results above it), ``searched`` (number of
        candidates), ``notes``.

        Raises QueryError for an invalid query.
        """
        with few_threads(self.collection):
            embedded = self.embedder.embed(query)
            answer = self.search_vector(embedded.vector, query.kind, options)
        return {**answer, "notes": embedded.notes}

    def search_vector(self, query: Floats, kind: str, options: Options) -> dict[str, Any]:
        """`search` for a unit vector (D,); ``kind`` is "text" or "image"."""
        if not 1 <= options.k <= MAX_RESULTS:
            raise QueryError(f"k must be from 1 to {MAX_RESULTS}, not {options.k}.")
        collection = self.collection
        mask = options.filter.mask(collection)
        bank, calibration = collection.images, self.calibration
        if options.find == "captions":
            if collection.texts is None:
                raise QueryError(f"{collection.title} has no captions; search for images.")
            bank, calibration = collection.texts, self.caption_calibration
            mask = collection.text_alive & mask[np.maximum(collection.owner, 0)]
        elif options.find != "images":
            raise QueryError(f"find must be images or captions, not {options.find!r}.")
        grouped = options.group and options.find == "images"
        searched = int(mask.sum())
        requested = min(2 * options.k, MAX_RESULTS) if grouped else options.k
        while True:
            scores, rows = bank.search(query, requested, mask)
            groups = self._groups(rows, calibration) if grouped else [[i] for i in range(len(rows))]
            if len(groups) >= options.k or requested >= min(searched, MAX_RESULTS):
                break
            requested = min(2 * requested, MAX_RESULTS)  # too few remain after merging duplicates
        groups = groups[: options.k]
        cutoff = calibration.cutoff(query, kind)
        hits = _Hits(scores, rows, self._softmax(bank, query, scores, mask, calibration), cutoff)
        describe = self._captions if options.find == "captions" else self._images
        return {
            "rows": describe(hits, groups),
            "cutoff": {"cosine": cutoff.cosine, "rate": cutoff.rate, "meaning": cutoff.meaning},
            "above": sum(bool(scores[group[0]] >= cutoff.cosine) for group in groups),
            "searched": searched,
        }

    def _softmax(self, bank: Nearest, query: Floats, scores: Floats, mask: Mask, calibration: Calibration) -> Floats:
        """Each result's share of the softmax over all candidates: (k,).

        If the index is too large to compute all scores, the others are estimated from the calibration sample.
        """
        if not len(scores):
            return scores
        scale = self.collection.encoder.model.network.logit_scale.item()
        weights = np.exp(scale * (scores.astype(np.float64) - scores[0]))
        all_scores = bank.all_scores(query)
        if all_scores is not None:
            total = np.exp(scale * (all_scores[mask].astype(np.float64) - scores[0])).sum()
        else:
            allowed = mask[calibration.rows]
            lower_scores = calibration.scores(query)[allowed & (calibration.scores(query) < scores[-1])]
            remaining = int(mask.sum()) - len(scores)
            share = remaining / max(1, int(allowed.sum()))
            total = weights.sum() + share * np.exp(scale * (lower_scores.astype(np.float64) - scores[0])).sum()
        shares: Floats = (weights / total).astype(np.float32)
        return shares

    def _groups(self, rows: Rows, calibration: Calibration) -> list[list[int]]:
        """The positions of results, grouped by near-duplicates, best first."""
        if not len(rows):
            return []
        vectors = self.collection.images.vectors(rows)
        threshold = 1 - SHARE_OF_DUPLICATE * (1 - max(0.0, calibration.median_cosine))
        is_duplicate = product(vectors, vectors.T) >= threshold  # (k, k)
        groups: list[list[int]] = []
        is_grouped = np.zeros(len(rows), np.bool_)
        for i in range(len(rows)):
            if not is_grouped[i]:
                members = np.flatnonzero(is_duplicate[i] & ~is_grouped)
                is_grouped[members] = True
                groups.append([i, *(int(m) for m in members if m != i)])
        return groups

    def _images(self, hits: _Hits, groups: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
        flat = [i for group in groups for i in group]
        records = dict(zip(flat, self.collection.records(hits.rows[flat].tolist()), strict=True))
        sizes, times = self.collection.sizes, self.collection.times
        results = []
        for group in groups:
            first, row = records[group[0]], int(hits.rows[group[0]])
            results.append(
                {
                    "row": row,
                    "path": first.path,
                    "exists": os.path.exists(first.path),  # noqa: PTH110  (Path's raises where a folder does not answer)
                    "caption": first.captions[0] if first.captions else "",
                    "captions": list(first.captions),
                    "labels": dict(first.labels),
                    "size": int(sizes[row]),
                    "time": int(times[row]) / 1e9,
                    **hits.score(group[0]),
                    "duplicates": [
                        {"row": int(hits.rows[i]), "path": records[i].path, **hits.score(i)} for i in group[1:]
                    ],
                }
            )
        return results

    def _captions(self, hits: _Hits, groups: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
        texts = hits.rows[[group[0] for group in groups]].tolist() if groups else []
        images = [int(self.collection.owner[text]) for text in texts]
        records = self.collection.records(images)
        captions = self.collection.captions(texts)
        return [
            {"text": text, "caption": caption, "row": row, "path": record.path, **hits.score(i), "duplicates": []}
            for i, (text, caption, row, record) in enumerate(zip(texts, captions, images, records, strict=True))
        ]


@contextmanager
def few_threads(collection: Collection) -> Iterator[None]:
    """Use one thread for a small collection, in which synchronisation would take longer than the work."""
    before = torch.get_num_threads()
    is_small = len(collection.images) * collection.images.dim <= FEW_VALUES
    torch.set_num_threads(1 if is_small else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _Hits:
    """The scores of the results, best first."""

    scores: Floats  # (k,)
    rows: Rows
    softmax: Floats
    cutoff: Cutoff

    def score(self, i: int) -> dict[str, Any]:
        """The scores of result ``i`` as JSON."""
        cosine = float(self.scores[i])
        return {
            "cosine": cosine,
            "softmax": float(self.softmax[i]),
            "rank": i + 1,
            "above_cutoff": cosine >= self.cutoff.cosine,
        }
