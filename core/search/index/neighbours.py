"""Finds the nearest neighbours of every point, for the layout of a map.

Legend: N points, D width, K neighbours.
"""

from __future__ import annotations

import math

import faiss
import numpy as np
import numpy.typing as npt

from core.search.index.nearest import Floats
from core.spec.reporter import Progress

_MAX_EXACT_POINTS = 20_000  # up to this many points, all pairs are compared
_PROBED_LISTS = 32  # lists that are visited with more points, which finds nearly every true neighbour
_CHUNK_POINTS = 2048  # points between two progress reports, at which the search can be cancelled


def neighbours(vectors: Floats, number: int, progress: Progress) -> tuple[npt.NDArray[np.int64], Floats]:
    """The ``number`` nearest neighbours of each of the ``vectors`` (N, D), and Euclidean distances: (N, K) each.

    With more than 20,000 points some neighbours may be replaced by slightly farther ones.
    """
    points = np.ascontiguousarray(vectors, np.float32)
    total, width = points.shape
    index = faiss.IndexFlatL2(width)
    if total > _MAX_EXACT_POINTS:
        index = faiss.IndexIVFFlat(index, width, round(4 * math.sqrt(total)))
        index.cp.min_points_per_centroid = 5
        progress("grouping the points", 0, 0)
        index.train(points[:: max(1, total // 50_000)])
        index.nprobe = _PROBED_LISTS
    index.add(points)
    neighbour_rows = np.empty((total, number), np.int64)
    distances = np.empty((total, number), np.float32)
    for start in range(0, total, _CHUNK_POINTS):
        progress("looking for neighbours", start, total)
        chunk = points[start : start + _CHUNK_POINTS]
        squares, rows = index.search(chunk, number + 1)
        if (incomplete := (rows < 0).any(axis=1)).any():  # points in small lists, which are compared with all others
            squares[incomplete], rows[incomplete] = faiss.knn(chunk[incomplete], points, number + 1)
        self_rows = np.arange(start, start + len(rows))[:, None]
        # moves the point itself last, and drops it
        order = np.argsort(rows == self_rows, axis=1, kind="stable")[:, :number]
        neighbour_rows[start : start + len(rows)] = np.take_along_axis(rows, order, 1)
        distances[start : start + len(rows)] = np.sqrt(np.take_along_axis(squares, order, 1).clip(0))
    return neighbour_rows, distances
