"""The nearest neighbours of every point among all: what a map is laid out from.

Legend: N points, D width, K neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import faiss
import numpy as np
import numpy.typing as npt

from core.search.index.nearest import Floats

Progress = Callable[[str, int, int], None]
_EXACT = 20_000  # points up to which all are compared
_PROBED = 32  # of the lists into which more are put; finds nearly every true neighbour
_AT_ONCE = 2048  # points between two reports of progress, where it can be cancelled


def neighbours(vectors: Floats, number: int, progress: Progress) -> tuple[npt.NDArray[np.int64], Floats]:
    """The ``number`` nearest others of each of the ``vectors`` (N, D), and their Euclidean distances: (N, K) each.

    Of more than 20,000 points some neighbours may be missed for ones a little farther away.
    """
    points = np.ascontiguousarray(vectors, np.float32)
    total, width = points.shape
    index = faiss.IndexFlatL2(width)
    if total > _EXACT:
        index = faiss.IndexIVFFlat(index, width, round(4 * math.sqrt(total)))
        index.cp.min_points_per_centroid = 5
        progress("grouping the points", 0, 0)
        index.train(points[:: max(1, total // 50_000)])
        index.nprobe = _PROBED
    index.add(points)
    near = np.empty((total, number), np.int64)
    away = np.empty((total, number), np.float32)
    for start in range(0, total, _AT_ONCE):
        progress("looking for neighbours", start, total)
        some = points[start : start + _AT_ONCE]
        squares, found = index.search(some, number + 1)
        if (few := (found < 0).any(axis=1)).any():  # of small groups; they are compared with all
            squares[few], found[few] = faiss.knn(some[few], points, number + 1)
        own = np.arange(start, start + len(found))[:, None]
        order = np.argsort(found == own, axis=1, kind="stable")[:, :number]  # itself goes last, and out
        near[start : start + len(found)] = np.take_along_axis(found, order, 1)
        away[start : start + len(found)] = np.sqrt(np.take_along_axis(squares, order, 1).clip(0))
    return near, away
