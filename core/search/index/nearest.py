"""Searches nearest neighbours by cosine: in memory, or with the files of `core.search.index.acceleration`.

Flow: collection -> ``Exact`` or ``Scanned`` -> rows and scores. ``Exact`` computes every score; ``Scanned`` re-ranks
the best of each part with the vectors, so that its scores are exact too.

Legend: N rows, D embed, k results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np
import numpy.typing as npt
import torch

from core.data.loader import usable_cores
from core.search.errors import IndexFolderError
from core.search.index.acceleration import CHUNK_ROWS, Part, as_float32
from core.search.index.part_files import open_part
from core.search.index.storage import Mask, Vectors, release_pages

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

DIRECT_ROWS = 20_000  # if a filter leaves at most this many rows, these are compared directly
CANDIDATES_PER_RESULT = 8  # rows that are re-ranked for each of the k results ...
MIN_CANDIDATES = 512  # ... but at least this many in all
READ_ROWS = 64  # vectors that are read from a mapped file before its pages are released; each may map 2 MiB
PROBED_LISTS = 64  # lists of an inverted file that a query visits


class Nearest(Protocol):
    """Searchable vectors. Scores are float32 cosines; a ``mask`` (N,) selects the rows that may be returned."""

    dim: int

    def __len__(self) -> int: ...

    def search(self, query: Floats, k: int, mask: Mask) -> tuple[Floats, Rows]:
        """The scores and rows of the ``k`` vectors nearest to ``query`` (D,), best first (fewer if N is smaller)."""

    def vectors(self, rows: Rows) -> Floats:
        """The vectors of ``rows``: (n, D)."""

    def all_scores(self, query: Floats) -> Floats | None:
        """All scores (N,); None if there are too many rows."""


class Exact:
    """Vectors in memory."""

    def __init__(self, vectors: npt.NDArray[Any]) -> None:
        """``vectors`` (N, D) of unit length, of any floating type. Raises IndexFolderError for non-finite values."""
        self._vectors = check_finite(as_float32(vectors))
        self.dim = self._vectors.shape[1]

    def __len__(self) -> int:
        return len(self._vectors)

    def vectors(self, rows: Rows) -> Floats:
        vectors: Floats = self._vectors[rows]
        return vectors

    def all_scores(self, query: Floats) -> Floats | None:
        return product(self._vectors, query)

    def search(self, query: Floats, k: int, mask: Mask) -> tuple[Floats, Rows]:
        scores = np.where(mask, product(self._vectors, query), np.float32(-np.inf))
        return top_k(scores, np.arange(len(scores)), min(k, int(mask.sum())))


def check_finite(vectors: Floats) -> Floats:
    """Return ``vectors`` (N, D). Raises IndexFolderError if a value is not finite."""
    for start in range(0, len(vectors), CHUNK_ROWS):
        if not np.isfinite(vectors[start : start + CHUNK_ROWS]).all():
            raise IndexFolderError("the index contains values that are not finite; index the images again.")
    return vectors


def product(a: Floats, b: Floats) -> Floats:
    """``a @ b``, computed by torch, whose number of threads the search sets."""
    scores: Floats = torch.matmul(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    return scores


def top_k(scores: Floats, rows: Rows, k: int) -> tuple[Floats, Rows]:
    """The ``k`` highest of ``scores`` with their ``rows``, ties in row order."""
    if k < len(scores):
        # all candidates for the top k, including ties at the border
        border = np.partition(scores, len(scores) - k)[len(scores) - k] if k else np.inf
        candidates = np.flatnonzero(scores >= border)
        scores, rows = scores[candidates], rows[candidates]
    order = np.lexsort((rows, -scores))[:k]
    return scores[order], rows[order]


class Scanned:
    """Vectors on disk, searched with files mapped by faiss, with one thread per core."""

    def __init__(self, vectors: Vectors, parts: Sequence[Part], files: Sequence[Path | None]) -> None:
        """``vectors`` (N, D) fp16, mapped; ``files`` per part, None for parts in memory.

        Raises IndexFolderError if a file cannot be read.
        """
        self._all = vectors
        self.dim = vectors.shape[1]
        self._parts = list(parts)
        self._indexes = [_open(vectors, part, file) for part, file in zip(parts, files, strict=True)]
        self._pool = ThreadPoolExecutor(usable_cores(), "search", _use_one_thread)

    def __len__(self) -> int:
        return len(self._all)

    def vectors(self, rows: Rows) -> Floats:
        """The vectors of ``rows``: (n, D); releases the pages of the file."""
        vectors = np.empty((len(rows), self.dim), np.float32)
        for start in range(0, len(rows), READ_ROWS):
            vectors[start : start + READ_ROWS] = self._all[rows[start : start + READ_ROWS]]
            release_pages(self._all)
        return check_finite(vectors)

    def all_scores(self, query: Floats) -> Floats | None:
        return None

    def search(self, query: Floats, k: int, mask: Mask) -> tuple[Floats, Rows]:
        allowed = int(mask.sum())
        k = min(k, allowed)
        if allowed <= DIRECT_ROWS:
            rows = np.flatnonzero(mask)
        else:
            rows = self._candidates(query, max(CANDIDATES_PER_RESULT * k, MIN_CANDIDATES), mask, allowed / len(mask))
        return top_k(product(self.vectors(rows), query), rows, min(k, len(rows)))

    def _candidates(self, query: Floats, count: int, mask: Mask, share: float) -> Rows:
        """The rows with the best codes, in ascending order, so that vectors are read sequentially.

        ``mask`` selects the ``share`` of all rows.
        """
        jobs = [
            self._pool.submit(_search, index, part, query[None], count, mask[part.start : part.stop], share)
            for index, part in zip(self._indexes, self._parts, strict=True)
        ]
        results = [job.result() for job in jobs]
        scores = np.concatenate([part_scores for part_scores, _ in results])
        rows = np.concatenate([part_rows for _, part_rows in results])
        _, candidates = top_k(scores, rows, min(count, len(scores)))
        return np.unique(candidates)


def _use_one_thread() -> None:
    faiss.omp_set_num_threads(1)


def _open(vectors: Vectors, part: Part, file: Path | None) -> Any:
    if part.kind == "memory" or file is None:
        index = faiss.IndexScalarQuantizer(vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        for start in range(part.start, part.stop, CHUNK_ROWS):
            index.add(as_float32(vectors[start : min(start + CHUNK_ROWS, part.stop)]))
        return index
    return open_part(file, part.kind, part.stop - part.start, vectors.shape[1])


def _search(index: Any, part: Part, query: Floats, count: int, mask: Mask, share: float) -> tuple[Floats, Rows]:
    """The scores (from codes) and the rows of the best ``count`` rows in a part.

    The filter allows the ``share`` of all rows; the smaller it is, the more lists are visited.
    """
    selector = None if mask.all() else faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
    if part.kind == "ivf":
        probed = min(index.nlist, math.ceil(PROBED_LISTS / max(share, 1e-3)))
        options = faiss.SearchParametersIVF(nprobe=probed, **({} if selector is None else {"sel": selector}))
    else:
        options = None if selector is None else faiss.SearchParameters(sel=selector)
    scores, rows = index.search(query, min(count, part.stop - part.start), params=options)
    is_valid = (rows[0] >= 0) & (rows[0] < part.stop - part.start)  # row numbers in a file are not trusted
    return scores[0][is_valid], rows[0][is_valid].astype(np.int64) + part.start
