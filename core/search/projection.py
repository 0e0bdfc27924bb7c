"""A map of images and captions: their vectors in two dimensions, similar ones close together.

Flow: collection -> `lay_out` -> panel. First the two main axes of all points (PCA, at once), then t-SNE (van der
Maaten and Hinton, "Visualizing Data using t-SNE", 2008). Up to `FITTED` points scikit-learn does it, which the probes
need anyway. More are laid out by openTSNE (Poličar et al., 2024), in time linear in their number (Linderman et al.,
"Fast interpolation-based t-SNE", 2019), once: the layout is kept. Without openTSNE an even sample of them is laid out,
and the others are placed between their nearest neighbours in it.

Images and captions of a two-stream model lie apart, each around a mean of their own (the modality gap, Liang et al.
2022); the means are subtracted, so that a caption can lie beside its image.

Legend: N points, F fitted points, D embed.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from core.search.collection import Collection
from core.search.index.nearest import Floats, Rows
from core.search.index.neighbours import neighbours
from core.search.layouts import keep_layout, kept_layout, layout_digest
from core.spec.errors import UserError
from core.spec.installed import add_command, missing

if TYPE_CHECKING:
    from sklearn.decomposition import PCA

Progress = Callable[[str, int, int], None]
Layout = npt.NDArray[np.float64]  # (N, 2)

SHOWN = 100_000  # points of a map
PLAIN = 6_000  # points whose answer names each image; of more, places come packed and names are asked for
FITTED = 3_000
DIMENSIONS = 50  # kept for t-SNE
NEIGHBOURS = 5  # of the sample that position a further point
MOST_VALUES = 10_000  # of a label that points are coloured by
SEED = 0
PERPLEXITY = 30
ITERATIONS = 500  # of t-SNE; half of them with early exaggeration
MANY_ITERATIONS = (250, 500)  # of openTSNE, with early exaggeration and without
REPORTED = 10  # iterations between two reports of progress, where it can be cancelled


@dataclass(frozen=True)
class Points:
    """The points of a map: images, by row, then captions, by number."""

    images: Rows
    texts: Rows
    vectors: Floats  # (N, D) images first


def choose(collection: Collection, shown: int = SHOWN, captions: bool = True) -> Points:
    """The points of a map, at most ``shown``, evenly sampled. Raises UserError for fewer than three."""
    images = np.flatnonzero(collection.alive).astype(np.int64)
    texts = np.flatnonzero(collection.text_alive if captions else np.zeros(0)).astype(np.int64)
    share = min(1.0, shown / max(1, len(images) + len(texts)))
    images, texts = _even(images, share), _even(texts, share)
    if len(images) + len(texts) < 3:
        raise UserError(f"{collection.title} has too few images for a map; it needs three at least.")
    parts = [_centred(collection.images.vectors(images))]
    if len(texts) and collection.texts is not None:
        parts.append(_centred(collection.texts.vectors(texts)))
    return Points(images, texts, np.concatenate(parts))


def _even(rows: Rows, share: float) -> Rows:
    count = round(len(rows) * share)
    return rows if count >= len(rows) else rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]


def _centred(vectors: Floats) -> Floats:
    """Unit vectors around their mean, of unit length again."""
    moved = vectors - vectors.mean(0)
    centred: Floats = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)
    return centred


def _pca(kept: int) -> PCA:
    from sklearn.decomposition import PCA  # noqa: PLC0415  (a second, for those who ask for a map)

    return PCA(kept, svd_solver="randomized", random_state=SEED)


def axes(points: Points) -> Layout:
    """Coordinates on the two principal axes (PCA): (N, 2)."""
    if points.vectors.shape[1] < 2:
        return _spread(np.repeat(points.vectors.astype(np.float64), 2, axis=1))
    return _spread(_pca(2).fit_transform(points.vectors))


def lay_out(points: Points, progress: Progress) -> tuple[Layout, str]:
    """Coordinates by t-SNE (N, 2), and how they were made. Takes minutes for the largest maps, the first time."""
    number = len(points.vectors)
    if number <= FITTED:
        return neighbourhoods(points, progress), "t-SNE"
    if missing("map"):
        lacks = f"openTSNE, which lays out all, is not installed: {add_command('map')}"
        how = f"t-SNE of {FITTED:,} of them, the others between their nearest neighbours ({lacks})"
        return neighbourhoods(points, progress), how
    settings = f"openTSNE {DIMENSIONS} {SEED} {MANY_ITERATIONS}"
    digest = layout_digest(points.vectors, settings)
    layout = kept_layout(digest, number)
    if layout is None:
        layout = _by_opentsne(points.vectors, progress)
        keep_layout(digest, layout)
    return layout, "t-SNE of all points by openTSNE"


def _by_opentsne(vectors: Floats, progress: Progress) -> Layout:
    from openTSNE import TSNEEmbedding, affinity, initialization, nearest_neighbors  # noqa: PLC0415  # an extra

    total = sum(MANY_ITERATIONS)
    kept = min(DIMENSIONS, *vectors.shape)
    reduced = _pca(kept).fit_transform(vectors)
    number = min(len(reduced) - 1, 3 * PERPLEXITY)
    found = nearest_neighbors.PrecomputedNeighbors(*neighbours(reduced, number, progress))
    progress("weighing the neighbours", 0, 0)
    near = affinity.PerplexityBasedNN(perplexity=PERPLEXITY, knn_index=found, n_jobs=-1)
    start = initialization.rescale(reduced[:, :2].astype(np.float64))
    embedding = TSNEEmbedding(start, near, negative_gradient_method="fft", n_jobs=-1, random_state=SEED)
    done = 0

    def report(iteration: int, _error: float, _embedding: object) -> None:
        progress("laying out the map", done + iteration, total)  # raises where it was cancelled

    progress("laying out the map", 0, total)
    for iterations, exaggeration, momentum in zip(MANY_ITERATIONS, (12, None), (0.5, 0.8), strict=True):
        embedding.optimize(
            iterations, exaggeration=exaggeration, momentum=momentum, inplace=True,
            callbacks=report, callbacks_every_iters=REPORTED,
        )  # fmt: skip
        done += iterations
    return _spread(np.asarray(embedding))


def neighbourhoods(points: Points, progress: Progress) -> Layout:
    """Coordinates by scikit-learn's t-SNE of at most `FITTED` points, the others between their neighbours: (N, 2)."""
    from sklearn.manifold import TSNE  # noqa: PLC0415

    vectors = points.vectors
    fitted = _even(np.arange(len(vectors)), min(1.0, FITTED / len(vectors)))
    kept = min(DIMENSIONS, *vectors.shape, len(fitted))
    reduced = _pca(kept).fit(vectors[fitted]).transform(vectors)
    progress("laying out the map", 0, 0)
    perplexity = min(float(PERPLEXITY), (len(fitted) - 1) / 3)
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


def answer(collection: Collection, points: Points, layout: Layout, method: str, packed: bool = False) -> dict[str, Any]:
    """As JSON: for each image x, y, row, path, labels; for each caption x, y, text, caption, row.

    ``packed``: of more than `PLAIN` points the places alone (`pack_places`), which are read in no time.
    """
    if packed and len(layout) > PLAIN:
        return {"method": method, "images": [], "captions": [], "packed": pack_places(collection, points, layout)}
    records = collection.records(points.images.tolist())
    count = len(points.images)
    positions = np.round(layout, 5).tolist()
    texts = points.texts.tolist()
    return {
        "method": method,
        "images": [
            {"x": x, "y": y, "row": row, "path": record.path, "labels": dict(record.labels)}
            for (x, y), row, record in zip(positions[:count], points.images.tolist(), records, strict=True)
        ],
        "captions": [
            {"x": x, "y": y, "text": text, "caption": caption, "row": int(collection.owner[text])}
            for (x, y), text, caption in zip(positions[count:], texts, collection.captions(texts), strict=True)
        ],
    }


def pack_places(collection: Collection, points: Points, layout: Layout) -> dict[str, Any]:
    """Images and captions as arrays in base64: x and y (float32), rows of images and of captions' images,
    numbers of captions, and of each label its values with a code for each image, -1 for none (int32).
    """
    known = collection.known.labels
    labels = {
        name: {"values": values, "codes": _packed(codes[points.images])} for name, (values, codes) in known.items()
    }
    return {
        "x": _packed(layout[:, 0].astype("<f4")),
        "y": _packed(layout[:, 1].astype("<f4")),
        "rows": _packed(points.images),
        "texts": _packed(points.texts),
        "owners": _packed(collection.owner[points.texts] if len(points.texts) else points.texts),
        "labels": {name: one for name, one in labels.items() if len(one["values"]) <= MOST_VALUES},
    }


def _packed(values: npt.NDArray[Any]) -> str:
    kept = values if values.dtype == np.dtype("<f4") else values.astype("<i4")
    return base64.b64encode(kept.tobytes()).decode()


def named(collection: Collection, rows: list[int], texts: list[int]) -> dict[str, Any]:
    """What is at some points of a map: images by row with path and first caption, captions by number."""
    there = [row for row in rows if 0 <= row < len(collection.alive)]
    numbers = [text for text in texts if 0 <= text < len(collection.owner)]
    records = collection.records(there)
    return {
        "images": [
            {
                "row": row,
                "path": record.path,
                "caption": record.captions[0] if record.captions else "",
                "labels": dict(record.labels),
            }
            for row, record in zip(there, records, strict=True)
        ],
        "captions": [
            {"text": text, "caption": caption, "row": int(collection.owner[text])}
            for text, caption in zip(numbers, collection.captions(numbers), strict=True)
        ],
    }
