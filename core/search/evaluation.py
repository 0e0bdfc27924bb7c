"""Retrieval within a collection: the rank of every query in both directions, and where two models differ.

Flow: collection with captions -> `evaluate` -> panel; two of them over the same pairs -> `compare`. Ranks are those of
`core.metrics.retrieval`, so that they agree with ``python -m core evaluate --task retrieval``.

Legend: N images, M captions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.metrics.retrieval import Ranks, ranks, summarise
from core.search.collection import Collection
from core.search.index.nearest import Floats, Rows
from core.spec.errors import UserError

Progress = Callable[[str, int, int], None]

CURVE = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000)
MOST_PAIRS = 4_000_000_000  # compared in one evaluation; of more, captions are left out evenly
LISTED = 2000  # queries of each direction in an answer, the hardest first
_PER_MILLE = 1000


@dataclass(frozen=True)
class Ranked:
    """Ranks of a collection's captions and images."""

    texts: Rows  # (m,) numbers of the captions that were asked
    images: Rows  # (n,) rows of the images that can be found
    by_text: Ranks  # of each of ``texts``
    by_image: Ranks  # of the images that have captions; its queries are positions in ``images``
    skipped: int  # captions left out


def rank_all(collection: Collection, progress: Progress) -> Ranked:
    """Rank every caption's image and every image's captions; raises UserError where there are no captions.

    Of more than `MOST_PAIRS` pairs, an even sample of the captions is ranked.
    """
    if collection.texts is None or not collection.text_alive.any():
        raise UserError(f"{collection.title} has no captions; give data with captions to see what is found by them.")
    images = np.flatnonzero(collection.alive).astype(np.int64)
    texts = np.flatnonzero(collection.text_alive).astype(np.int64)
    every = len(texts)
    if len(texts) * len(images) > MOST_PAIRS:
        texts = texts[np.linspace(0, len(texts) - 1, MOST_PAIRS // len(images)).astype(np.int64)]
    position = np.full(len(collection.alive), -1, np.int64)
    position[images] = np.arange(len(images))
    owner = torch.from_numpy(position[collection.owner[texts]])

    def share(done: float, doing: str) -> None:
        progress(doing, round(done * _PER_MILLE), _PER_MILLE)

    by_image, by_text = ranks(
        _tensor(collection.images.vectors(images)), _tensor(collection.texts.vectors(texts)), owner, progress=share
    )
    return Ranked(texts, images, by_text, by_image, every - len(texts))


def _tensor(vectors: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(vectors))


def evaluate(collection: Collection, ranked: Ranked, listed: int = LISTED) -> dict[str, Any]:
    """As JSON: ``recall`` (as the trainer logs it), ``curve`` of both directions, and queries, the hardest first.

    ``text_to_image``: text, caption, row, path, rank. ``image_to_text``: row, path, captions, rank. ``queries`` says
    how many there are of each; no more than ``listed`` are in the answer.
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
        "notes": [f"{ranked.skipped} captions were left out, evenly, to save time."] if ranked.skipped else [],
    }


def true_rank(ranked: Ranked, text: int) -> float | None:
    """The rank of a caption's own image, 1 is best; None for a caption that was not ranked."""
    at = int(np.searchsorted(ranked.texts, text))
    if at == len(ranked.texts) or ranked.texts[at] != text:
        return None
    return float(ranked.by_text.expected()[at])


def listed_captions(collection: Collection, ranked: Ranked, contains: str, count: int) -> list[dict[str, Any]]:
    """The first ``count`` captions that contain the text ``contains``, as in ``text_to_image`` of `evaluate`."""
    words = contains.casefold().split()
    if not words:
        return _texts(collection, ranked, list(range(min(count, len(ranked.texts)))))
    texts = ranked.texts.tolist()
    folded = [caption.casefold() for caption in collection.captions(texts)]
    chosen = [i for i, caption in enumerate(folded) if all(word in caption for word in words)]
    return _texts(collection, ranked, chosen[:count])


def _curve(found: Ranks, candidates: int) -> list[float]:
    """Recall at each k of CURVE, 0 to 1."""
    return [float(found.hits(k).mean()) for k in CURVE if k <= max(10, candidates)]


def _hardest(found: Ranks, listed: int) -> list[int]:
    order = torch.argsort(found.expected(), descending=True, stable=True)
    chosen: list[int] = order[:listed].tolist()
    return chosen


def _texts(collection: Collection, ranked: Ranked, chosen: list[int]) -> list[dict[str, Any]]:
    texts = ranked.texts[chosen].tolist()
    rows = [int(collection.owner[text]) for text in texts]
    expected = ranked.by_text.expected()[chosen].tolist()
    records = collection.records(rows)
    captions = collection.captions(texts)
    return [
        {"text": text, "caption": caption, "row": row, "path": record.path, "rank": rank}
        for text, caption, row, record, rank in zip(texts, captions, rows, records, expected, strict=True)
    ]


def _images(collection: Collection, ranked: Ranked, chosen: list[int]) -> list[dict[str, Any]]:
    rows = ranked.images[ranked.by_image.queries.numpy()[chosen]].tolist()
    expected = ranked.by_image.expected()[chosen].tolist()
    return [
        {"row": row, "path": record.path, "captions": list(record.captions), "rank": rank}
        for row, record, rank in zip(rows, collection.records(rows), expected, strict=True)
    ]


def compare(
    a: Collection, ranked_a: Ranked, b: Collection, ranked_b: Ranked, at: int = 1, listed: int = LISTED
) -> dict[str, Any]:
    """The captions that one model finds among its first ``at`` and the other misses, as JSON.

    ``only_a`` and ``only_b``: caption, path, rank_a, rank_b, the greatest difference first; ``both`` and ``neither``
    count the rest. Pairs are matched by path and caption. UserError when the two have none in common.
    """
    first, second = (_by_pair(one, ranked) for one, ranked in ((a, ranked_a), (b, ranked_b)))
    common = [pair for pair in first if pair in second]
    if not common:
        raise UserError(f"{a.title} and {b.title} have no pair in common; open both over the same data.")
    only: dict[str, list[dict[str, Any]]] = {"only_a": [], "only_b": []}
    both = neither = 0
    for path, caption in common:
        (rank_a, text_a), (rank_b, text_b) = first[path, caption], second[path, caption]
        found = rank_a <= at, rank_b <= at
        both, neither = both + all(found), neither + (not any(found))
        if found[0] != found[1]:
            only["only_a" if found[0] else "only_b"].append(
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
    counts = {name: len(rows) for name, rows in only.items()} | {"both": both, "neither": neither}
    return {
        "at": at,
        "pairs": len(common),
        "counts": counts,
        **{name: rows[:listed] for name, rows in only.items()},
    }


def _by_pair(collection: Collection, ranked: Ranked) -> dict[tuple[str, str], tuple[float, int]]:
    """(path, caption) -> rank and number of the caption."""
    texts = ranked.texts.tolist()
    rows = [int(collection.owner[text]) for text in texts]
    expected = ranked.by_text.expected().tolist()
    keys = zip((record.path for record in collection.records(rows)), collection.captions(texts), strict=True)
    return {key: (rank, text) for key, rank, text in zip(keys, expected, texts, strict=True)}
