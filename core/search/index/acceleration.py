"""Writes acceleration files, derived from the vectors, for searching large indexes.

Flow: build -> ``update_acceleration`` -> files -> ``core.search.index.nearest``. The vectors are split into parts by
row number:

- up to `MAX_VALUES_IN_MEMORY` values no file is needed: vectors are compared directly;
- up to two million rows, **scan** parts of 65,536 rows: 8-bit codes of every vector (faiss's scalar quantiser, a range
  per dimension) are scanned, and the best candidates are re-ranked with the vectors;
- above, **ivf** parts of 2^20 rows: 4-bit codes in lists around centroids; a query visits the nearest lists.

Rows after the last full part are searched in memory. faiss maps the files, but pages that queries visit stay resident.
Ten million vectors of 512 values then occupy 5 GB with 8-bit codes, and 2.5 GB with 4-bit codes. 4-bit codes take about
as long to scan, because the time saved by reading half as many bytes is spent on unpacking them. Their ranking is less
exact: among 262,144 vectors, the true top 10 are in the top 20 of the 8-bit codes, but only in the top 100 of the 4-bit
codes, so more candidates are re-ranked. Codes of residuals to the centroid were no better.

Legend: N rows, D embed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
import numpy.typing as npt

from core.search.errors import IndexFolderError
from core.search.index.files import checksum_of
from core.search.index.manifest import Manifest
from core.search.index.part_files import Kind, empty_ivf, empty_scan, open_part
from core.search.index.storage import IndexReader, Vectors
from core.spec.errors import writing
from core.spec.reading import open_regular
from core.spec.reporter import Progress

MAX_VALUES_IN_MEMORY = 64 << 20  # up to this many values are kept in memory as float32 (256 MiB)
CHUNK_ROWS = 65_536  # number of vectors that are converted to float32 at a time
KMEANS_ITERATIONS = 10


@dataclass(frozen=True)
class Sizes:
    """Thresholds between search methods; only tests change them."""

    small: int = MAX_VALUES_IN_MEMORY  # values
    scan: int = 65_536  # rows per scan part
    ivf_from: int = 2_000_000  # number of rows from which inverted files are used
    ivf: int = 1 << 20  # rows per ivf part
    lists: int = 1024  # centroids per ivf part
    per_list: int = 64  # training vectors per centroid


@dataclass(frozen=True)
class Part:
    """Rows that are searched with one method."""

    kind: Kind | Literal["memory"]
    start: int
    stop: int

    def name(self, generation: int, bank: str) -> str:
        """The name of the part's file; "" if the part needs no file."""
        if self.kind == "memory":
            return ""
        return f"{self.kind}-{generation:04d}-{bank}-{self.start:010d}.faiss"


def layout(rows: int, dim: int, sizes: Sizes = Sizes()) -> list[Part]:
    """Divide ``rows`` vectors into parts; [] if all vectors are kept in memory."""
    if rows * dim <= sizes.small:
        return []
    parts, start = [], 0
    if rows >= sizes.ivf_from:
        parts = [Part("ivf", i * sizes.ivf, (i + 1) * sizes.ivf) for i in range(rows // sizes.ivf)]
        start = len(parts) * sizes.ivf
    while start + sizes.scan <= rows:
        parts.append(Part("scan", start, start + sizes.scan))
        start += sizes.scan
    return [*parts, Part("memory", start, rows)] if start < rows else parts


def describe(manifest: Manifest) -> str:
    """The search method of an index, for display."""
    return str(manifest.nearest.get("images", "exact, in memory"))


def update_acceleration(
    folder: Path,
    manifest: Manifest,
    progress: Progress,
    sizes: Sizes = Sizes(),
    trust: bool = False,
) -> dict[str, Any]:
    """Write missing or damaged files, and return the manifest's ``nearest``.

    ``trust`` skips checks of existing files.
    """
    before: Mapping[str, Any] = manifest.nearest.get("files", {})
    summaries: dict[str, Any] = {}
    files: dict[str, Any] = {}
    reader = IndexReader(folder) if manifest.rows else None
    for bank, rows in (("images", manifest.rows), ("texts", manifest.texts)):
        parts = layout(rows, manifest.identity.dim, sizes)
        summaries[bank] = _summary(parts, sizes)
        assert reader is not None or not parts
        trained: Any = None
        for number, part in enumerate(parts):
            name = part.name(manifest.generation, bank)
            if not name:
                continue
            if name not in before or not (trust or list(before[name]) == _fingerprint(folder / name)):
                progress(f"preparing the search of {bank}", number, len(parts))
                vectors: Vectors = getattr(reader, bank)
                if part.kind == "ivf" and trained is None:
                    trained = _reusable_ivf(folder, vectors.shape[1], parts, before, manifest.generation, bank, sizes)
                trained = make_part(folder / name, part, vectors, trained, sizes)
                files[name] = _fingerprint(folder / name)
            else:
                files[name] = list(before[name])
    return {**summaries, "files": files}


def _summary(parts: list[Part], sizes: Sizes) -> str:
    kinds = [part.kind for part in parts]
    if not parts:
        return "exact, in memory"
    reranking = "re-ranked with the fp16 vectors"
    if "ivf" in kinds:
        return f"{kinds.count('ivf')} inverted files of {sizes.lists} lists each with 4-bit codes, {reranking}"
    return f"exact scan of 8-bit codes, {reranking}"


def _fingerprint(path: Path) -> list[int]:
    """Size and CRC-32 of a file; zeros if it is missing."""
    try:
        with open_regular(path, root=path.parent, error=IndexFolderError) as file:
            size = os.fstat(file.fileno()).st_size
            return [size, checksum_of(file, 0, size)]
    except (FileNotFoundError, IndexFolderError):
        return [0, 0]


def make_part(path: Path, part: Part, vectors: Vectors, trained: Any, sizes: Sizes) -> Any:
    """Write the file of ``part`` atomically, and return the trained ivf index, which later parts reuse."""
    dim = vectors.shape[1]
    if part.kind == "scan":
        index = empty_scan(dim)
        index.train(as_float32(vectors[part.start : part.stop]))
    else:
        trained = trained or _train(vectors, sizes)
        index = faiss.clone_index(trained)
    for start in range(part.start, part.stop, CHUNK_ROWS):
        index.add(as_float32(vectors[start : min(start + CHUNK_ROWS, part.stop)]))
    temporary = path.with_suffix(".tmp")
    try:
        with writing(path, IndexFolderError, "committed data are kept"):
            temporary.unlink(missing_ok=True)  # an existing file could be a link or a pipe
            faiss.write_index(index, str(temporary))
            temporary.replace(path)
    except RuntimeError as error:  # faiss raises this for a full disk too
        raise IndexFolderError(
            f"cannot write {path}, which speeds up the search: the disk may be full. The index itself is saved; free "
            "some space and run the command again."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return trained


def _reusable_ivf(
    folder: Path, dim: int, parts: list[Part], before: Mapping[str, Any], generation: int, bank: str, sizes: Sizes
) -> Any:
    """An empty inverted file with the centroids of an existing part, so that all parts share centroids; or None."""
    for part in parts:
        name = part.name(generation, bank)
        if part.kind == "ivf" and name in before and list(before[name]) == _fingerprint(folder / name):
            index = open_part(folder / name, part.kind, part.stop - part.start, dim)
            empty = empty_ivf(faiss.clone_index(index.quantizer), dim, index.nlist)
            empty.sq = index.sq
            empty.is_trained = True
            return empty
    return None


def _train(vectors: Vectors, sizes: Sizes) -> Any:
    """An empty inverted file with centroids trained on an even sample of ``vectors`` (N, D)."""
    count = min(len(vectors), sizes.lists * sizes.per_list)
    rows = np.linspace(0, len(vectors) - 1, count).astype(np.int64)
    index = empty_ivf(faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], sizes.lists)
    index.cp.niter = KMEANS_ITERATIONS
    index.cp.spherical = True
    index.cp.min_points_per_centroid = 1
    index.train(as_float32(vectors[rows]))
    return index


def as_float32(vectors: Vectors) -> npt.NDArray[np.float32]:
    """``vectors`` as contiguous float32, for faiss."""
    return np.ascontiguousarray(vectors, dtype=np.float32)
