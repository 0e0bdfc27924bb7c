"""Evaluates retrieval in a collection: ranks in both directions, and differences between two models.

Flow: collection with captions -> `evaluate` -> panel; two collections of the same pairs -> `compare`. Ranks come from
`core.metrics.retrieval`, so that they agree with ``python -m core evaluate --task retrieval``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.metrics.retrieval import Ranks, ranks, summarise
from core.search.collection import Collection
from core.search.index.nearest import Floats, Rows
from core.spec.errors import UserError
from core.spec.reporter import Progress

CURVE = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000)
MAX_PAIRS = 4_000_000_000  # with more pairs, captions are subsampled evenly
MAX_VALUES = 1 << 30  # with more values in all vectors, images or captions are sampled evenly (4 GiB as float32)
MAX_LISTED = 2000  # listed queries per direction
_PER_MILLE = 1000


@dataclass(frozen=True)
class RankedPairs:
    """Ranks of a collection's captions and images."""

    texts: Rows  # (m,) numbers of the ranked captions
    images: Rows  # (n,) rows of the ranked images
    by_text: Ranks  # ranks for each of ``texts``
    by_image: Ranks  # ranks for the images with captions; the queries are positions in ``images``
    skipped: int  # number of captions that were not ranked
    skipped_images: int = 0


def rank_all(collection: Collection, progress: Progress) -> RankedPairs:
    """Rank every caption's image and every image's captions. Raises UserError if there are no captions.

    With more than `MAX_PAIRS` pairs or `MAX_VALUES` values, an even sample of captions and images is ranked.
    """
    if collection.texts is None or not collection.text_alive.any():
        raise UserError(f"{collection.title} has no captions; use data with captions to evaluate retrieval.")
    max_vectors = max(1, MAX_VALUES // collection.images.dim)
    all_images, all_texts = np.flatnonzero(collection.alive), np.flatnonzero(collection.text_alive)
    images = _sample_evenly(all_images, max_vectors)
    position = np.full(len(collection.alive), -1, np.int64)
    position[images] = np.arange(len(images))
    texts = all_texts[position[collection.owner[all_texts]] >= 0]
    texts = _sample_evenly(texts, min(max_vectors, MAX_PAIRS // len(images)))
    owner = torch.from_numpy(position[collection.owner[texts]])

    def report(share: float, activity: str) -> None:
        progress(activity, round(share * _PER_MILLE), _PER_MILLE)

    by_image, by_text = ranks(
        _tensor(collection.images.vectors(images)), _tensor(collection.texts.vectors(texts)), owner, progress=report
    )
    skipped = len(all_texts) - len(texts), len(all_images) - len(images)
    return RankedPairs(texts, images, by_text, by_image, *skipped)


def _sample_evenly(rows: Rows, count: int) -> Rows:
    return rows if count >= len(rows) else rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]


def _tensor(vectors: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(vectors))


def evaluate(collection: Collection, ranked: RankedPairs, listed: int = MAX_LISTED) -> dict[str, Any]:
    """The metrics as JSON: ``recall`` (as the trainer logs it), ``curve`` of both directions, queries (hardest first).

    ``text_to_image``: text, caption, row, path, rank. ``image_to_text``: row, path, captions, rank. ``queries`` has the
    total numbers; at most ``listed`` of each direction are included.
    """
    return {
        "recall": summarise(ranked.by_image, ranked.by_text),
        "curve": {
            "k": [k for k in CURVE if k <= max(10, len(ranked.images))],
            "text_to_image": _curve(ranked.by_text, len(ranked.images)),
            "image_to_text": _curve(ranked.by_image, len(ranked.images)),
        },
        "text_to_image": _texts(collection, ranked, _hardest(ranked.by_text, listed)),
        "image_to_text": _images(collection, ranked, _hardest(ranked.by_image, listed)),
        "queries": {"text_to_image": len(ranked.by_text.queries), "image_to_text": len(ranked.by_image.queries)},
        "notes": _notes(ranked),
    }


def _notes(ranked: RankedPairs) -> list[str]:
    notes = []
    if ranked.skipped:
        notes.append(f"{ranked.skipped} captions, evenly distributed, were skipped to save time.")
    if ranked.skipped_images:
        notes.append(
            f"ranked among {len(ranked.images)} of {len(ranked.images) + ranked.skipped_images} images, evenly "
            "distributed, to save memory; recall among all images is lower."
        )
    return notes


def true_rank(ranked: RankedPairs, text: int) -> float | None:
    """The rank of a caption's own image (1 is best); None if the caption was not ranked."""
    position = int(np.searchsorted(ranked.texts, text))
    if position == len(ranked.texts) or ranked.texts[position] != text:
        return None
    return float(ranked.by_text.expected_ranks()[position])


def listed_captions(collection: Collection, ranked: RankedPairs, contains: str, count: int) -> list[dict[str, Any]]:
    """The first ``count`` captions with every word of ``contains``, formatted as ``text_to_image`` in `evaluate`."""
    words = contains.casefold().split()
    if not words:
        return _texts(collection, ranked, list(range(min(count, len(ranked.texts)))))
    texts = ranked.texts.tolist()
    folded = [caption.casefold() for caption in collection.captions(texts)]
    matches = [i for i, caption in enumerate(folded) if all(word in caption for word in words)]
    return _texts(collection, ranked, matches[:count])


def _curve(ranks: Ranks, candidates: int) -> list[float]:
    """Recall at each k in `CURVE`, from 0 to 1."""
    return [float(ranks.hits(k).mean()) for k in CURVE if k <= max(10, candidates)]


def _hardest(ranks: Ranks, limit: int) -> list[int]:
    order = torch.argsort(ranks.expected_ranks(), descending=True, stable=True)
    hardest: list[int] = order[:limit].tolist()
    return hardest


def _texts(collection: Collection, ranked: RankedPairs, positions: list[int]) -> list[dict[str, Any]]:
    texts = ranked.texts[positions].tolist()
    rows = [int(collection.owner[text]) for text in texts]
    expected = ranked.by_text.expected_ranks()[positions].tolist()
    records = collection.records(rows)
    captions = collection.captions(texts)
    return [
        {"text": text, "caption": caption, "row": row, "path": record.path, "rank": rank}
        for text, caption, row, record, rank in zip(texts, captions, rows, records, expected, strict=True)
    ]


def _images(collection: Collection, ranked: RankedPairs, positions: list[int]) -> list[dict[str, Any]]:
    rows = ranked.images[ranked.by_image.queries.numpy()[positions]].tolist()
    expected = ranked.by_image.expected_ranks()[positions].tolist()
    return [
        {"row": row, "path": record.path, "captions": list(record.captions), "rank": rank}
        for row, record, rank in zip(rows, collection.records(rows), expected, strict=True)
    ]


def compare(
    a: Collection, ranked_a: RankedPairs, b: Collection, ranked_b: RankedPairs, k: int = 1, listed: int = MAX_LISTED
) -> dict[str, Any]:
    """The captions whose image only one of two models ranks within the top ``k``, as JSON.

    ``only_a`` and ``only_b``: caption, path, rank_a, rank_b, greatest difference first; ``both`` and ``neither`` count
    the rest. Pairs are matched by path and caption. Raises UserError if the collections share no pair.
    """
    first, second = (_by_pair(collection, ranked) for collection, ranked in ((a, ranked_a), (b, ranked_b)))
    common = [pair for pair in first if pair in second]
    if not common:
        raise UserError(f"{a.title} and {b.title} have no pair in common; open both with the same data.")
    only: dict[str, list[dict[str, Any]]] = {"only_a": [], "only_b": []}
    both_correct = neither = 0
    for path, caption in common:
        (rank_a, text_a), (rank_b, text_b) = first[path, caption], second[path, caption]
        is_hit = rank_a <= k, rank_b <= k
        both_correct, neither = both_correct + all(is_hit), neither + (not any(is_hit))
        if is_hit[0] != is_hit[1]:
            only["only_a" if is_hit[0] else "only_b"].append(
                {
                    "caption": caption,
                    "path": path,
                    "rank_a": rank_a,
                    "rank_b": rank_b,
                    "text_a": text_a,
                    "text_b": text_b,
                }
            )
    for rows in only.values():
        rows.sort(key=lambda row: -abs(row["rank_a"] - row["rank_b"]))
    counts = {name: len(rows) for name, rows in only.items()} | {"both": both_correct, "neither": neither}
    return {
        "at": k,
        "pairs": len(common),
        "counts": counts,
        **{name: rows[:listed] for name, rows in only.items()},
    }


def _by_pair(collection: Collection, ranked: RankedPairs) -> dict[tuple[str, str], tuple[float, int]]:
    """(path, caption) -> rank and number of the caption."""
    texts = ranked.texts.tolist()
    rows = [int(collection.owner[text]) for text in texts]
    expected = ranked.by_text.expected_ranks().tolist()
    keys = zip((record.path for record in collection.records(rows)), collection.captions(texts), strict=True)
    return {key: (rank, text) for key, rank, text in zip(keys, expected, texts, strict=True)}
