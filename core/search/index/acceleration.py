"""What makes a large index fast to search: files beside the vectors, made from them, and never needed to rebuild them.

Flow: build -> ``update_acceleration`` -> files -> ``core.search.index.nearest``. The vectors are cut into parts by
number alone:

- up to `SMALL` values nothing is made: the vectors are compared as they are;
- from there to two million rows, **scan** parts of 65,536 rows: every vector as 8-bit codes (faiss's scalar quantiser,
  a range for each dimension), all of which are scanned, and the best compared again by the vectors themselves;
- above, **ivf** parts of 2^20 rows: 4-bit codes in lists around centroids, of which a query visits the nearest.

Rows after the last whole part are searched in memory. Files are mapped by faiss, not loaded; but what queries visit
stays with the process, which for ten million vectors of 512 values would be 5 GB of 8-bit codes, and is half of that
with 4 bits. Those take about as long to scan (unpacking costs what reading half the bytes saves) and order less
exactly: of 262,144 vectors the true first ten are all among the first 20 by 8 bits and among the first 100 by 4, so
that more are compared again. Codes of what is left after the centroid were no better.

Legend: N rows, D embed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
import numpy.typing as npt

from core.search.errors import IndexFolderError
from core.search.index.manifest import Manifest
from core.search.index.part_files import Kind, empty_ivf, empty_scan, open_part
from core.search.index.storage import IndexReader, Vectors
from core.spec.errors import writing
from core.spec.reading import open_regular

Progress = Callable[[str, int, int], None]

SMALL = 64 << 20  # values that are simply kept in memory as float32: 256 MiB
AT_ONCE = 65_536  # vectors turned into float32 at a time
ITERATIONS = 10  # of k-means


@dataclass(frozen=True)
class Sizes:
    """Where one way of searching ends and the next begins; other than these only in tests."""

    small: int = SMALL  # values
    scan: int = 65_536  # rows of a scan part
    ivf_from: int = 2_000_000  # rows
    ivf: int = 1 << 20  # rows of an ivf part
    lists: int = 1024  # centroids of an ivf part
    per_list: int = 64  # vectors that each centroid is trained on


@dataclass(frozen=True)
class Part:
    """Rows that are searched in one way."""

    kind: Kind | Literal["memory"]
    start: int
    stop: int

    def name(self, generation: int, bank: str) -> str:
        """Of the file; "" for what needs none."""
        if self.kind == "memory":
            return ""
        bits = ".4bit" if self.kind == "ivf" else ""  # those without were of 8-bit codes, and are made anew
        return f"{self.kind}-{generation:04d}-{bank}-{self.start:010d}{bits}.faiss"


def layout(rows: int, dim: int, sizes: Sizes = Sizes()) -> list[Part]:
    """The parts of ``rows`` vectors; empty when there are so few that they are kept in memory as they are."""
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
    """How the images of an index are searched, for people."""
    return str(manifest.nearest.get("images", "exact, in memory"))


def update_acceleration(
    folder: Path,
    manifest: Manifest,
    progress: Progress,
    sizes: Sizes = Sizes(),
    trust: bool = False,
) -> dict[str, Any]:
    """Make the files that are missing or damaged; returns the manifest's ``nearest``.

    With ``trust`` existing files are not checked.
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
        for done, part in enumerate(parts):
            name = part.name(manifest.generation, bank)
            if not name:
                continue
            if name not in before or not (trust or list(before[name]) == _fingerprint(folder / name)):
                progress(f"preparing the search of {bank}", done, len(parts))
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
    again = "the best compared again by the fp16 vectors"
    if "ivf" in kinds:
        return f"{kinds.count('ivf')} inverted files of {sizes.lists} lists each with 4-bit codes, {again}"
    return f"exact scan of 8-bit codes, {again}"


def _fingerprint(path: Path) -> list[int]:
    """Size and CRC-32 of a file; zeros where there is none."""
    checksum, size = 0, 0
    try:
        opened = open_regular(path, root=path.parent, error=IndexFolderError)
    except (FileNotFoundError, IndexFolderError):
        return [0, 0]
    with opened as file:
        while block := file.read(1 << 22):
            checksum, size = zlib.crc32(block, checksum), size + len(block)
    return [size, checksum]


def make_part(path: Path, part: Part, vectors: Vectors, trained: Any, sizes: Sizes) -> Any:
    """Write the file of ``part`` whole; returns what was trained for an ivf part, which the next one takes."""
    dim = vectors.shape[1]
    if part.kind == "scan":
        index = empty_scan(dim)
        index.train(single(vectors[part.start : part.stop]))
    else:
        trained = trained or _train(vectors, sizes)
        index = faiss.clone_index(trained)
    for start in range(part.start, part.stop, AT_ONCE):
        index.add(single(vectors[start : min(start + AT_ONCE, part.stop)]))
    temporary = path.with_suffix(".tmp")
    try:
        with writing(path, IndexFolderError, "what was committed is kept"):
            temporary.unlink(missing_ok=True)  # it may be a link or a pipe
            faiss.write_index(index, str(temporary))
            temporary.replace(path)
    except RuntimeError as error:  # faiss raises it for a full disk too
        raise IndexFolderError(
            f"cannot write {path}, which makes the index fast to search: the disk may be full; what was committed is "
            "kept; free some space and run again."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return trained


def _reusable_ivf(
    folder: Path, dim: int, parts: list[Part], before: Mapping[str, Any], generation: int, bank: str, sizes: Sizes
) -> Any:
    """An empty inverted file with the centroids of a part that is there, so that all parts share them; or None."""
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
    """An empty inverted file with centroids of an even sample of ``vectors`` (N, D)."""
    count = min(len(vectors), sizes.lists * sizes.per_list)
    rows = np.linspace(0, len(vectors) - 1, count).astype(np.int64)
    index = empty_ivf(faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], sizes.lists)
    index.cp.niter = ITERATIONS
    index.cp.spherical = True
    index.cp.min_points_per_centroid = 1
    index.train(single(vectors[rows]))
    return index


def single(vectors: Vectors) -> npt.NDArray[np.float32]:
    """As contiguous float32, which faiss takes."""
    return np.ascontiguousarray(vectors, dtype=np.float32)
