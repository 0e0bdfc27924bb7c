"""A map of pictures and captions: their vectors in two dimensions, similar ones close together.

Flow: collection -> `project` -> panel. First the two main axes of all points (PCA, at once), then t-SNE (van der
Maaten and Hinton, "Visualizing Data using t-SNE", 2008) by scikit-learn, which the probes need anyway; UMAP would
need a compiler. Beyond `FITTED` points an even sample is laid out, and the others are placed between their nearest
neighbours in it.

Pictures and captions of a two-stream model lie apart, each around a mean of their own (the modality gap, Liang et al.
2022); the means are subtracted, so that a caption can lie beside its picture.

Legend: N points, F fitted points, D embed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from core.search.collection import Collection
from core.search.index.nearest import Floats, Rows
from core.spec.errors import UserError

Progress = Callable[[str, int, int], None]
Layout = npt.NDArray[np.float64]  # (N, 2)

SHOWN = 20_000  # points of a map
FITTED = 3_000
DIMENSIONS = 50  # kept for t-SNE
NEIGHBOURS = 5  # of the sample that position a further point
SEED = 0
ITERATIONS = 500  # of t-SNE; half of them with early exaggeration


@dataclass(frozen=True)
class Points:
    """The points of a map: pictures, by row, then captions, by number."""

    pictures: Rows
    texts: Rows
    vectors: Floats  # (N, D) pictures first


def choose(collection: Collection, shown: int = SHOWN, captions: bool = True) -> Points:
    """The points of a map, at most ``shown``, evenly sampled. Raises UserError for fewer than three."""
    pictures = np.flatnonzero(collection.alive).astype(np.int64)
    texts = np.flatnonzero(collection.text_alive if captions else np.zeros(0)).astype(np.int64)
    share = min(1.0, shown / max(1, len(pictures) + len(texts)))
    pictures, texts = _even(pictures, share), _even(texts, share)
    if len(pictures) + len(texts) < 3:
        raise UserError(f"{collection.title} has too few pictures for a map; it needs three at least.")
    parts = [_centred(collection.pictures.vectors(pictures))]
    if len(texts) and collection.texts is not None:
        parts.append(_centred(collection.texts.vectors(texts)))
    return Points(pictures, texts, np.concatenate(parts))


def _even(rows: Rows, share: float) -> Rows:
    count = round(len(rows) * share)
    return rows if count >= len(rows) else rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]


def _centred(vectors: Floats) -> Floats:
    """Unit vectors around their mean, of unit length again."""
    moved = vectors - vectors.mean(0)
    centred: Floats = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)
    return centred


def axes(points: Points) -> Layout:
    """Coordinates on the two principal axes (PCA): (N, 2)."""
    if points.vectors.shape[1] < 2:
        return _spread(np.repeat(points.vectors.astype(np.float64), 2, axis=1))
    return _spread(PCA(2, svd_solver="randomized", random_state=SEED).fit_transform(points.vectors))


def neighbourhoods(points: Points, progress: Progress) -> Layout:
    """Coordinates by t-SNE: (N, 2). Takes minutes for the largest maps."""
    vectors = points.vectors
    fitted = _even(np.arange(len(vectors)), min(1.0, FITTED / len(vectors)))
    kept = min(DIMENSIONS, *vectors.shape, len(fitted))
    reduced = PCA(kept, svd_solver="randomized", random_state=SEED).fit(vectors[fitted]).transform(vectors)
    progress("laying out the map", 0, 0)
    perplexity = min(30.0, (len(fitted) - 1) / 3)
    laid = TSNE(2, perplexity=perplexity, init="pca", random_state=SEED, max_iter=ITERATIONS).fit_transform(
        reduced[fitted]
    )
    return _spread(_between(reduced, fitted, laid.astype(np.float64)))


def _between(reduced: npt.NDArray[Any], fitted: Rows, laid: Layout) -> Layout:
    """All points: the fitted ones where they were laid, the others at a weighted mean of their neighbours there."""
    every = np.zeros((len(reduced), 2))
    every[fitted] = laid
    rest = np.setdiff1d(np.arange(len(reduced)), fitted)
    for start in range(0, len(rest), 4096):
        rows = rest[start : start + 4096]
        squares = ((reduced[rows, None] - reduced[None, fitted]) ** 2).sum(-1) if len(fitted) < 64 else None
        if squares is None:
            a, b = reduced[rows], reduced[fitted]
            squares = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)
        nearest = np.argpartition(squares, min(NEIGHBOURS, len(fitted)) - 1, axis=1)[:, :NEIGHBOURS]
        weights = 1 / (np.take_along_axis(squares, nearest, 1).clip(0) + 1e-6)
        every[rows] = (weights[..., None] * laid[nearest]).sum(1) / weights.sum(1, keepdims=True)
    return every


def _spread(layout: npt.NDArray[Any]) -> Layout:
    """Centred, the farthest coordinate at 1."""
    moved = layout.astype(np.float64) - layout.mean(0)
    spread: Layout = moved / max(float(np.abs(moved).max()), 1e-12)
    return spread


def answer(collection: Collection, points: Points, layout: Layout, method: str) -> dict[str, Any]:
    """As JSON: for each picture x, y, row, path, labels; for each caption x, y, text, caption, row."""
    records = collection.records(points.pictures.tolist())
    count = len(points.pictures)
    positions = np.round(layout, 5).tolist()
    texts = points.texts.tolist()
    return {
        "method": method,
        "pictures": [
            {"x": x, "y": y, "row": row, "path": record.path, "labels": dict(record.labels)}
            for (x, y), row, record in zip(positions[:count], points.pictures.tolist(), records, strict=True)
        ],
        "captions": [
            {"x": x, "y": y, "text": text, "caption": caption, "row": int(collection.owner[text])}
            for (x, y), text, caption in zip(positions[count:], texts, collection.captions(texts), strict=True)
        ],
    }
