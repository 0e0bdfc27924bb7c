"""The nearest vectors to a query, by cosine: in memory, or by scanning the files of `core.search.index.acceleration`.

Flow: collection -> ``Exact`` or ``Scanned`` -> rows and scores. Both answer alike; ``Exact`` knows every score,
``Scanned`` compares the best of each part again by the vectors themselves, so that its scores are as exact.

Legend: N rows, D embed, Q queries, k wanted.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np
import numpy.typing as npt
import torch

from core.search.errors import IndexFolderError
from core.search.index.acceleration import AT_ONCE, Part, single
from core.search.index.part_files import open_part
from core.search.index.storage import Mask, Vectors, give_back

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

FEW = 20_000  # rows that are compared one by one where a filter leaves no more
CANDIDATES = (8, 512)  # so many times k, and no fewer, are compared again
READ = 64  # vectors of a mapped file that are read before its pages are given back: each may map 2 MiB
PROBED = 64  # lists of an inverted file that a query visits
SAMPLE = 4096  # rows that stand for all


class Nearest(Protocol):
    """Vectors that can be searched. Scores are cosines, in float32; a ``mask`` (N,) says which rows may be found."""

    dim: int

    def __len__(self) -> int: ...

    def search(self, query: Floats, k: int, mask: Mask) -> tuple[Floats, Rows]:
        """Scores and rows of the ``k`` nearest to ``query`` (D,), the best first; fewer where there are no more."""

    def vectors(self, rows: Rows) -> Floats:
        """(n, D) the vectors of ``rows``."""

    def all_scores(self, query: Floats) -> Floats | None:
        """(N,) every score; None where there are too many to ask."""


class Exact:
    """Vectors in memory."""

    def __init__(self, vectors: npt.NDArray[Any]) -> None:
        """``vectors`` (N, D) of unit length, of any floating type; IndexFolderError when one has a NaN."""
        self._vectors = finite(single(vectors))
        self.dim = self._vectors.shape[1]

    def __len__(self) -> int:
        return len(self._vectors)

    def vectors(self, rows: Rows) -> Floats:
        found: Floats = self._vectors[rows]
        return found

    def all_scores(self, query: Floats) -> Floats | None:
        return product(self._vectors, query)

    def search(self, query: Floats, k: int, mask: Mask) -> tuple[Floats, Rows]:
        scores = np.where(mask, product(self._vectors, query), np.float32(-np.inf))
        return best(scores, np.arange(len(scores)), min(k, int(mask.sum())))


def finite(vectors: Floats) -> Floats:
    """``vectors`` (N, D); IndexFolderError where a value is not a number, since no score would be one."""
    for start in range(0, len(vectors), AT_ONCE):
        if not np.isfinite(vectors[start : start + AT_ONCE]).all():
            raise IndexFolderError("vectors of the images have values that are not finite numbers; index them again.")
    return vectors


def product(a: Floats, b: Floats) -> Floats:
    """``a @ b`` by torch, whose number of threads a search chooses."""
    scores: Floats = torch.matmul(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    return scores


def best(scores: Floats, rows: Rows, k: int) -> tuple[Floats, Rows]:
    """The ``k`` highest of ``scores`` with their ``rows``, equal ones in the order of rows."""
    if k < len(scores):
        # all that may be among the first k, ties at the border too
        border = np.partition(scores, len(scores) - k)[len(scores) - k] if k else np.inf
        kept = np.flatnonzero(scores >= border)
        scores, rows = scores[kept], rows[kept]
    order = np.lexsort((rows, -scores))[:k]
    return scores[order], rows[order]


class Scanned:
    """Vectors on disk, searched through files that faiss maps; a thread for each core searches parts."""

    def __init__(self, vectors: Vectors, parts: Sequence[Part], files: Sequence[Path | None]) -> None:
        """``vectors`` (N, D) fp16, mapped; ``files`` of each part, None where it is searched in memory.

        Raises IndexFolderError when a file cannot be read.
        """
        self._all = vectors
        self.dim = vectors.shape[1]
        self._parts = list(parts)
        self._indexes = [_open(vectors, part, file) for part, file in zip(parts, files, strict=True)]
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, "search", _one_thread)

    def __len__(self) -> int:
        return len(self._all)

    def vectors(self, rows: Rows) -> Floats:
        """(n, D) the vectors of ``rows``; no page of the file stays with this process."""
        found = np.empty((len(rows), self.dim), np.float32)
        for start in range(0, len(rows), READ):
            found[start : start + READ] = self._all[rows[start : start + READ]]
            give_back(self._all)
        return finite(found)

    def all_scores(self, query: Floats) -> Floats | None:
        return None

    def search(self, query: Floats, k: int, mask: Mask) -> tuple[Floats, Rows]:
        allowed = int(mask.sum())
        k = min(k, allowed)
        if allowed <= FEW:
            rows = np.flatnonzero(mask)
        else:
            rows = self._candidates(query, max(CANDIDATES[0] * k, CANDIDATES[1]), mask, allowed / len(mask))
        return best(product(self.vectors(rows), query), rows, min(k, len(rows)))

    def _candidates(self, query: Floats, count: int, mask: Mask, share: float) -> Rows:
        """Rows that the codes find best, in ascending order, so that the vectors are read in one direction."""
        jobs = [
            self._pool.submit(_search, index, part, query[None], count, mask[part.start : part.stop], share)
            for index, part in zip(self._indexes, self._parts, strict=True)
        ]
        found = [job.result() for job in jobs]
        scores = np.concatenate([one for one, _ in found])
        rows = np.concatenate([one for _, one in found])
        _, kept = best(scores, rows, min(count, len(scores)))
        return np.unique(kept)


def _one_thread() -> None:
    faiss.omp_set_num_threads(1)


def _open(vectors: Vectors, part: Part, file: Path | None) -> Any:
    if part.kind == "memory" or file is None:
        index = faiss.IndexScalarQuantizer(vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        for start in range(part.start, part.stop, AT_ONCE):
            index.add(single(vectors[start : min(start + AT_ONCE, part.stop)]))
        return index
    return open_part(file, part.kind, part.stop - part.start, vectors.shape[1])


def _search(index: Any, part: Part, query: Floats, count: int, mask: Mask, share: float) -> tuple[Floats, Rows]:
    """Scores by the codes, and rows, of the best ``count`` of a part."""
    selector = None if mask.all() else faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
    if part.kind == "ivf":
        probed = min(index.nlist, math.ceil(PROBED / max(share, 1e-3)))
        options = faiss.SearchParametersIVF(nprobe=probed, **({} if selector is None else {"sel": selector}))
    else:
        options = None if selector is None else faiss.SearchParameters(sel=selector)
    scores, rows = index.search(query, min(count, part.stop - part.start), params=options)
    there = (rows[0] >= 0) & (rows[0] < part.stop - part.start)  # a file may hold any number for a row
    return scores[0][there], rows[0][there].astype(np.int64) + part.start
