"""Computes a map of images and captions: a two-dimensional layout of their vectors.

Flow: collection -> `lay_out` -> panel. First the two principal axes (PCA, immediately), then t-SNE (van der Maaten and
Hinton, "Visualizing Data using t-SNE", 2008). Up to `MAX_FITTED` points use scikit-learn, which the probes need anyway.
More points use openTSNE (Poličar et al., 2024), in time linear in their number (Linderman et al., "Fast
interpolation-based t-SNE", 2019); the layout is cached. Without openTSNE an even sample is laid out, and other points
are placed between their nearest neighbours in it.

Images and captions of a two-stream model have different means (the modality gap, Liang et al. 2022); the means are
subtracted, so that a caption can be close to its image.

Legend: N points, D embed.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from core.search.collection import Collection
from core.search.index.nearest import Floats, Rows
from core.search.index.neighbours import neighbours
from core.search.layouts import layout_digest, load_layout, save_layout
from core.spec.errors import UserError
from core.spec.installed import add_command, missing
from core.spec.reporter import Progress

if TYPE_CHECKING:
    from sklearn.decomposition import PCA

Layout = npt.NDArray[np.float64]  # (N, 2)

MAX_SHOWN = 100_000  # maximum number of points on a map
MAX_PLAIN = 6_000  # maximum number of points in an answer that names each image; larger answers are packed arrays
MAX_FITTED = 3_000  # maximum number of points for scikit-learn's t-SNE; other points are placed between neighbours
DIMENSIONS = 50  # dimensions of the input of t-SNE
NEIGHBOURS = 5  # number of neighbours in the sample that place another point
MAX_LABEL_VALUES = 10_000  # labels with more values cannot colour the map
SEED = 0
PERPLEXITY = 30
ITERATIONS = 500  # iterations of t-SNE, half of them with early exaggeration
MANY_ITERATIONS = (250, 500)  # iterations of openTSNE with and without early exaggeration
REPORT_INTERVAL = 10  # iterations between two progress reports, at which the layout can be cancelled


@dataclass(frozen=True)
class Points:
    """The points of a map: images, by row, then captions, by number."""

    images: Rows
    texts: Rows
    vectors: Floats  # (N, D) images first


def choose_points(collection: Collection, shown: int = MAX_SHOWN, captions: bool = True) -> Points:
    """The points of a map: at most ``shown``, evenly sampled. Raises UserError if there are fewer than three."""
    images = np.flatnonzero(collection.alive).astype(np.int64)
    texts = np.flatnonzero(collection.text_alive if captions else np.zeros(0)).astype(np.int64)
    share = min(1.0, shown / max(1, len(images) + len(texts)))
    images, texts = _sample_evenly(images, share), _sample_evenly(texts, share)
    if len(images) + len(texts) < 3:
        raise UserError(f"{collection.title} has too few images; a map needs at least three.")
    parts = [_centre(collection.images.vectors(images))]
    if len(texts) and collection.texts is not None:
        parts.append(_centre(collection.texts.vectors(texts)))
    return Points(images, texts, np.concatenate(parts))


def _sample_evenly(rows: Rows, share: float) -> Rows:
    count = round(len(rows) * share)
    return rows if count >= len(rows) else rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]


def _centre(vectors: Floats) -> Floats:
    """Subtract the mean from unit vectors and normalise them again."""
    shifted = vectors - vectors.mean(0)
    centred: Floats = shifted / np.maximum(np.linalg.norm(shifted, axis=1, keepdims=True), 1e-12)
    return centred


def _pca(dimensions: int) -> PCA:
    from sklearn.decomposition import PCA  # noqa: PLC0415  (slow import)

    return PCA(dimensions, svd_solver="randomized", random_state=SEED)


def principal_axes(points: Points) -> Layout:
    """Coordinates on the two principal axes (PCA): (N, 2)."""
    if points.vectors.shape[1] < 2:
        return _scale(np.repeat(points.vectors.astype(np.float64), 2, axis=1))
    return _scale(_pca(2).fit_transform(points.vectors))


def lay_out(points: Points, progress: Progress) -> tuple[Layout, str]:
    """Coordinates by t-SNE (N, 2), and the method. The first time, the largest maps take minutes."""
    number = len(points.vectors)
    if number <= MAX_FITTED:
        return fit_tsne(points, progress), "t-SNE"
    if missing("map"):
        remedy = f"install openTSNE for all points: {add_command('map')}"
        method = f"t-SNE of {MAX_FITTED:,} points, others between their nearest neighbours ({remedy})"
        return fit_tsne(points, progress), method
    settings = f"openTSNE {DIMENSIONS} {SEED} {MANY_ITERATIONS}"
    digest = layout_digest(points.vectors, settings)
    layout = load_layout(digest, number)
    if layout is None:
        layout = _fit_opentsne(points.vectors, progress)
        save_layout(digest, layout)
    return layout, "t-SNE of all points by openTSNE"


def _fit_opentsne(vectors: Floats, progress: Progress) -> Layout:
    from openTSNE import TSNEEmbedding, affinity, initialization, nearest_neighbors  # noqa: PLC0415  # an extra

    total = sum(MANY_ITERATIONS)
    dimensions = min(DIMENSIONS, *vectors.shape)
    reduced = _pca(dimensions).fit_transform(vectors)
    neighbour_count = min(len(reduced) - 1, 3 * PERPLEXITY)
    precomputed = nearest_neighbors.PrecomputedNeighbors(*neighbours(reduced, neighbour_count, progress))
    progress("computing affinities", 0, 0)
    affinities = affinity.PerplexityBasedNN(perplexity=PERPLEXITY, knn_index=precomputed, n_jobs=-1)
    start = initialization.rescale(reduced[:, :2].astype(np.float64))
    embedding = TSNEEmbedding(start, affinities, negative_gradient_method="fft", n_jobs=-1, random_state=SEED)
    finished = 0

    def report(iteration: int, _error: float, _embedding: object) -> None:
        progress("laying out the map", finished + iteration, total)  # raises if cancelled

    progress("laying out the map", 0, total)
    for iterations, exaggeration, momentum in zip(MANY_ITERATIONS, (12, None), (0.5, 0.8), strict=True):
        embedding.optimize(
            iterations, exaggeration=exaggeration, momentum=momentum, inplace=True,
            callbacks=report, callbacks_every_iters=REPORT_INTERVAL,
        )  # fmt: skip
        finished += iterations
    return _scale(np.asarray(embedding))


def fit_tsne(points: Points, progress: Progress) -> Layout:
    """Coordinates by scikit-learn's t-SNE of at most `MAX_FITTED` points, others between their neighbours: (N, 2)."""
    from sklearn.manifold import TSNE  # noqa: PLC0415

    vectors = points.vectors
    fitted = _sample_evenly(np.arange(len(vectors)), min(1.0, MAX_FITTED / len(vectors)))
    dimensions = min(DIMENSIONS, *vectors.shape, len(fitted))
    reduced = _pca(dimensions).fit(vectors[fitted]).transform(vectors)
    progress("laying out the map", 0, 0)
    perplexity = min(float(PERPLEXITY), (len(fitted) - 1) / 3)
    layout = TSNE(2, perplexity=perplexity, init="pca", random_state=SEED, max_iter=ITERATIONS).fit_transform(
        reduced[fitted]
    )
    return _scale(_interpolate(reduced, fitted, layout.astype(np.float64)))


def _interpolate(reduced: npt.NDArray[Any], fitted: Rows, layout: Layout) -> Layout:
    """The coordinates of all points: fitted points keep theirs, others get a weighted mean of their neighbours."""
    from sklearn.neighbors import KNeighborsRegressor  # noqa: PLC0415

    regression = KNeighborsRegressor(min(NEIGHBOURS, len(fitted)), weights=lambda distance: 1 / (distance**2 + 1e-6))
    coordinates: Layout = regression.fit(reduced[fitted], layout).predict(reduced)
    coordinates[fitted] = layout
    return coordinates


def _scale(layout: npt.NDArray[Any]) -> Layout:
    """``layout`` centred and scaled to a maximum coordinate of 1."""
    shifted = layout.astype(np.float64) - layout.mean(0)
    scaled: Layout = shifted / max(float(np.abs(shifted).max()), 1e-12)
    return scaled


def as_json(
    collection: Collection, points: Points, layout: Layout, method: str, packed: bool = False
) -> dict[str, Any]:
    """The map as JSON: for each image x, y, row, path, labels; for each caption x, y, text (its number), caption, row.

    ``packed``: write arrays (`pack_points`) if there are more than `MAX_PLAIN` points.
    """
    if packed and len(layout) > MAX_PLAIN:
        return {"method": method, "images": [], "captions": [], "packed": pack_points(collection, points, layout)}
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


def pack_points(collection: Collection, points: Points, layout: Layout) -> dict[str, Any]:
    """The map as base64 arrays: x and y (float32), rows of images and of captions' images, numbers of captions.

    For each label, it also contains the values, with a code per image, -1 for no value (int32).
    """
    columns = collection.columns.labels
    labels = {
        name: {"values": values, "codes": _encode(codes[points.images])} for name, (values, codes) in columns.items()
    }
    return {
        "x": _encode(layout[:, 0].astype("<f4")),
        "y": _encode(layout[:, 1].astype("<f4")),
        "rows": _encode(points.images),
        "texts": _encode(points.texts),
        "owners": _encode(collection.owner[points.texts] if len(points.texts) else points.texts),
        "labels": {name: label for name, label in labels.items() if len(label["values"]) <= MAX_LABEL_VALUES},
    }


def _encode(values: npt.NDArray[Any]) -> str:
    converted = values if values.dtype == np.dtype("<f4") else values.astype("<i4")
    return base64.b64encode(converted.tobytes()).decode()


def describe_points(collection: Collection, rows: list[int], texts: list[int]) -> dict[str, Any]:
    """Details of points of a map: images by row with path and first caption, captions by number."""
    valid_rows = [row for row in rows if 0 <= row < len(collection.alive)]
    numbers = [text for text in texts if 0 <= text < len(collection.owner)]
    records = collection.records(valid_rows)
    return {
        "images": [
            {
                "row": row,
                "path": record.path,
                "caption": record.captions[0] if record.captions else "",
                "labels": dict(record.labels),
            }
            for row, record in zip(valid_rows, records, strict=True)
        ],
        "captions": [
            {"text": text, "caption": caption, "row": int(collection.owner[text])}
            for text, caption in zip(numbers, collection.captions(numbers), strict=True)
        ],
    }
