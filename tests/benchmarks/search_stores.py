"""Stores of vectors that do the same work for ``search_peers``: ours, LanceDB, turbovec and usearch, one thread each.

turbovec and usearch keep codes and no metadata. So that they give exact scores too, their best candidates are re-ranked
with a file of fp16 vectors beside the codes, as ours are; paths and filter columns would still have to be stored.

Legend: N rows, D embed, Q queries, k results.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from core.search.collection import _bank
from core.search.index import build
from core.search.index.acceleration import Part, Sizes, make_part
from core.search.index.manifest import SEGMENT_ROWS, Identity, Manifest, read_manifest
from core.search.index.nearest import Floats, Nearest, Rows, Scanned, product, top_k
from core.search.index.source_changes import Changes, Scan, SourceImage
from core.search.index.storage import Entry, IndexReader, IndexWriter, Mask, Record, Vectors

DIM = 512
CHUNK = 65_536
TENTH = 3  # a filter selects the rows with this last digit
FORKING = get_context("forkserver")  # workers start from a process that has loaded this module
FORKING.set_forkserver_preload([__name__])
VARIABLES = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "LANCE_CPU_THREADS")
Committed = Callable[[int], None]  # called with the number of rows that must survive a kill
Search = Callable[[Floats, int, bool, bool], Rows]  # queries (Q, D), k, exact, filtered -> rows (Q, k), -1 for none


class Store(Protocol):
    """A folder with vectors. Rows are numbered from 0 in the order in which they were added."""

    @property
    def packages(self) -> Sequence[str]:
        """Distributions to install."""

    def append(self, folder: Path, vectors: Vectors, stop: int, step: int, committed: Committed) -> None:
        """Add the rows up to ``stop`` of ``vectors``, ``step`` at a time, and make what searching them needs."""

    def open(self, folder: Path) -> Search: ...

    def verified_rows(self, folder: Path, vectors: Vectors) -> int:
        """The number of rows in a folder; raises if these are not the first ones of ``vectors``."""


def is_tenth(rows: Any) -> Any:
    return rows % 10 == TENTH


def _image(row: int) -> str:
    return f"/images/{row // 1000:05d}/{row:09d}.jpg"


def _require(condition: object, problem: str) -> None:
    if not condition:
        raise ValueError(problem)


class Ours:
    """`core.search.index` as ``sdgui-core index`` uses it, with ready vectors instead of a source and an encoder."""

    packages = ("faiss-cpu", "filelock")

    def append(self, folder: Path, vectors: Vectors, stop: int, step: int, committed: Committed) -> None:
        with closing(IndexWriter(folder)) as writer:
            work = build._Build(writer, lambda *_: None, lambda text: None)
            manifest = read_manifest(writer.folder)
            manifest = Manifest(_IDENTITY, "/images") if manifest is None else work.repair(manifest)
            start = manifest.rows

            def progress(doing: str, done: int, total: int) -> None:
                if doing == "encoding images" and done and (done % step == 0 or done == total):
                    committed(start + done)

            work.progress = progress
            images = [SourceImage(_image(row), row, row, (), {"digit": str(row % 10)}) for row in range(start, stop)]
            encoder: Any = _Ready(vectors[start:stop])
            work.update(manifest, Changes(manifest.removed_rows(), images), encoder, Scan("/images", images))

    def open(self, folder: Path) -> Search:
        reader = IndexReader(folder)
        if reader.images.nbytes <= 256 << 20:
            reader.check()  # as core.search.collection does
        return self._search(self._nearest(reader), reader)

    def _nearest(self, reader: IndexReader) -> Nearest:
        return _bank(reader, "images")

    @staticmethod
    def _search(nearest: Nearest, reader: IndexReader) -> Search:
        alive = reader.alive()
        tenth: list[Mask] = []  # read from the records when a filter is first used

        def search(queries: Floats, k: int, exact: bool, filtered: bool) -> Rows:
            if filtered and not tenth:
                records = reader.records(range(len(alive)))
                tenth.append(alive & np.array([record.labels["digit"] == str(TENTH) for record in records]))
            return np.stack([nearest.search(query, k, tenth[0] if filtered else alive)[1] for query in queries])

        return search

    def verified_rows(self, folder: Path, vectors: Vectors) -> int:
        if read_manifest(folder) is None:
            return 0
        reader = IndexReader(folder)
        rows = len(reader)
        _require(not reader.check(), "checksums differ")
        _require(np.array_equal(reader.images, vectors[:rows]), "vectors differ")
        _require([r.path for r in reader.records(range(rows))] == [_image(row) for row in range(rows)], "paths differ")
        if rows:
            _bank(reader, "images").search(np.asarray(vectors[0], np.float32), 10, reader.alive())
        return rows


_IDENTITY = Identity("benchmark", "", "0", {}, DIM)


class _Ready:
    """In the place of an encoder."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    def entries(self, images: Sequence[SourceImage]) -> Iterator[list[Entry]]:
        for start in range(0, len(images), SEGMENT_ROWS):
            some = images[start : start + SEGMENT_ROWS]
            vectors = self._vectors[start : start + SEGMENT_ROWS]
            yield [
                Entry(Record(image.path, (), image.labels), image.size, image.time, vector)
                for image, vector in zip(some, vectors, strict=True)
            ]


class OursInverted(Ours):
    """The same index with one inverted file for all rows, which is made from two million rows on otherwise."""

    def append(self, folder: Path, vectors: Vectors, stop: int, step: int, committed: Committed) -> None:
        super().append(folder, vectors, stop, step, committed)
        part = Part("ivf", 0, stop)
        make_part(folder / "inverted", part, IndexReader(folder).images, None, Sizes())

    def _nearest(self, reader: IndexReader) -> Nearest:
        return Scanned(reader.images, [Part("ivf", 0, len(reader))], [reader.folder / "inverted"])


class Lance:
    """A table with an index of the vectors and one of the filter column."""

    packages = ("lancedb",)

    def __init__(self) -> None:
        self._lancedb, self._arrow = (importlib.import_module(name) for name in ("lancedb", "pyarrow"))
        self._indexes = importlib.import_module("lancedb.index")

    def append(self, folder: Path, vectors: Vectors, stop: int, step: int, committed: Committed) -> None:
        database = self._lancedb.connect(folder)
        table = self._table(folder)
        start = 0 if table is None else table.count_rows()
        for first in range(start, stop, step):
            rows = self._rows(vectors, first, min(first + step, stop))
            if table is None:
                table = database.create_table("images", rows)
            else:
                table.add(rows)
            committed(min(first + step, stop))
        if len(table.list_indices()) < 2:
            kind = self._indexes.IvfSq(distance_type="dot", num_partitions=max(1, stop // 2000))
            table.create_index("vector", config=kind)
            table.create_index("digit", config=self._indexes.Bitmap())

    def _table(self, folder: Path) -> Any:
        try:
            return self._lancedb.connect(folder).open_table("images")
        except ValueError:  # LanceDB's for a missing table
            return None

    def _rows(self, vectors: Vectors, start: int, stop: int) -> Any:
        array, rows = self._arrow.array, np.arange(start, stop)
        vector = self._arrow.FixedSizeListArray.from_arrays(array(np.asarray(vectors[start:stop]).reshape(-1)), DIM)
        paths = array([_image(int(row)) for row in rows])
        return self._arrow.table({"row": array(rows), "path": paths, "digit": array(rows % 10), "vector": vector})

    def open(self, folder: Path) -> Search:
        table = self._table(folder)

        def search(queries: Floats, k: int, exact: bool, filtered: bool) -> Rows:
            query = table.search(queries[0] if len(queries) == 1 else list(queries)).distance_type("dot").limit(k)
            query = query.bypass_vector_index() if exact else query.nprobes(PROBES).refine_factor(REFINE)
            if filtered:
                query = query.where(f"digit = {TENTH}", prefilter=True)
            answer = query.select(["row", "_distance"]).to_arrow()
            rows, distances = (answer[name].to_numpy() for name in ("row", "_distance"))
            number = answer["query_index"].to_numpy() if len(queries) > 1 else np.zeros(len(rows), np.int64)
            return _per_query(rows, distances, number, len(queries), k)

        return search

    def verified_rows(self, folder: Path, vectors: Vectors) -> int:
        table = self._table(folder)
        if table is None:
            return 0
        answer = table.to_arrow().sort_by("row")
        rows = len(answer)
        stored = np.concatenate([chunk.flatten().to_numpy() for chunk in answer["vector"].chunks]).reshape(-1, DIM)
        _require(answer["row"].to_pylist() == list(range(rows)), "rows are missing or repeated")
        _require(np.array_equal(stored, vectors[:rows]), "vectors differ")
        self.open(folder)(np.asarray(vectors[:1], np.float32), 10, False, True)
        return rows


PROBES, REFINE = 32, 5  # lists that LanceDB visits, and the multiple of k that it re-ranks


def _per_query(rows: Any, distances: Any, number: Any, queries: int, k: int) -> Rows:
    answers = np.full((queries, k), -1, np.int64)
    for query in range(queries):
        own = number == query
        own_rows = rows[own][np.argsort(distances[own], kind="stable")][:k]
        answers[query, : len(own_rows)] = own_rows
    return answers


class _Coded:
    """Codes in a file of another package, and the vectors beside them."""

    candidates = 200

    def append(self, folder: Path, vectors: Vectors, stop: int, step: int, committed: Committed) -> None:
        folder.mkdir(exist_ok=True)
        index = self._load(folder)
        with (folder / "vectors.bin").open("ab") as file:
            os.truncate(folder / "vectors.bin", 2 * DIM * len(index))  # what was not committed
            for first in range(len(index), stop, step):
                for start in range(first, min(first + step, stop), CHUNK):
                    some = np.asarray(vectors[start : min(start + CHUNK, first + step, stop)])
                    file.write(some.tobytes())
                    self._add(index, start, np.ascontiguousarray(some, np.float32))
                file.flush()
                os.fsync(file.fileno())
                self._save(index, folder)
                committed(min(first + step, stop))

    def _reranked(self, folder: Path, queries: Floats, candidates: Sequence[Rows], k: int) -> Rows:
        vectors = np.memmap(folder / "vectors.bin", "<f2", "r").reshape(-1, DIM)
        answers = np.full((len(queries), k), -1, np.int64)
        for answer, query, rows in zip(answers, queries, candidates, strict=True):
            rows = np.sort(rows)
            _, best = top_k(product(np.asarray(vectors[rows], np.float32), query), rows, k)
            answer[: len(best)] = best
        return answers

    def _load(self, folder: Path) -> Any:
        raise NotImplementedError

    def _add(self, index: Any, start: int, vectors: Floats) -> None:
        raise NotImplementedError

    def _save(self, index: Any, folder: Path) -> None:
        raise NotImplementedError


class Turbovec(_Coded):
    """A scan of 4-bit codes."""

    packages = ("turbovec",)

    def __init__(self) -> None:
        self._class = importlib.import_module("turbovec").TurboQuantIndex

    def _load(self, folder: Path) -> Any:
        path = folder / "codes.tv"
        return self._class.load(str(path)) if path.exists() else self._class(DIM, 4)

    def _add(self, index: Any, start: int, vectors: Floats) -> None:
        if not len(index) and index.calibration_state != "calibrated":
            index.calibrate(vectors[:SEGMENT_ROWS])
        index.add(vectors)

    def _save(self, index: Any, folder: Path) -> None:
        index.sync(str(folder / "codes.tv"))

    def open(self, folder: Path) -> Search:
        index = self._load(folder)
        tenth = is_tenth(np.arange(len(index)))

        def search(queries: Floats, k: int, exact: bool, filtered: bool) -> Rows:
            _, rows = index.search(queries, self.candidates, mask=tenth if filtered else None)
            return self._reranked(folder, queries, rows, k)

        return search

    def verified_rows(self, folder: Path, vectors: Vectors) -> int:
        index, fresh = self._load(folder), self._class(DIM, 4)
        rows = len(index)
        if not rows:
            return 0
        stored = np.fromfile(folder / "vectors.bin", "<f2", rows * DIM).reshape(-1, DIM)
        _require(np.array_equal(stored, vectors[:rows]), "vectors differ")
        self._add(fresh, 0, np.asarray(vectors[:rows], np.float32))
        queries = np.asarray(vectors[:4], np.float32)
        mine, theirs = fresh.search(queries, rows), index.search(queries, rows)
        _require(np.allclose(mine[0], theirs[0], atol=1e-5), "codes differ")
        return rows


class Usearch(_Coded):
    """A graph (HNSW) of 8-bit codes, saved beside the old file and then renamed."""

    packages = ("usearch",)

    def __init__(self) -> None:
        self._class = importlib.import_module("usearch.index").Index

    def _load(self, folder: Path) -> Any:
        index, path = self._class(ndim=DIM, metric="ip", dtype="i8"), folder / "codes.usearch"
        if path.exists():
            index.load(path)
        return index

    def _add(self, index: Any, start: int, vectors: Floats) -> None:
        index.add(np.arange(start, start + len(vectors)), vectors, threads=1)

    def _save(self, index: Any, folder: Path) -> None:
        index.save(folder / "codes.tmp")
        with (folder / "codes.tmp").open("rb") as file:
            os.fsync(file.fileno())
        (folder / "codes.tmp").replace(folder / "codes.usearch")

    def open(self, folder: Path) -> Search:
        index = self._class.restore(folder / "codes.usearch", view=True)

        def search(queries: Floats, k: int, exact: bool, filtered: bool) -> Rows:
            count = self.candidates * (5 if filtered else 1)  # a filter is not offered in Python
            keys = np.asarray(index.search(queries, count, exact=exact, threads=1).keys).reshape(len(queries), -1)
            rows = [row.astype(np.int64) for row in keys]
            return self._reranked(folder, queries, [row[is_tenth(row)] for row in rows] if filtered else rows, k)

        return search

    def verified_rows(self, folder: Path, vectors: Vectors) -> int:
        index = self._load(folder)
        rows = len(index)
        if not rows:
            return 0
        stored = np.fromfile(folder / "vectors.bin", "<f2", rows * DIM).reshape(-1, DIM)
        _require(np.array_equal(stored, vectors[:rows]), "vectors differ")
        codes = np.asarray(index.get(np.arange(rows)), np.float32)
        cosines = (codes * stored).sum(1) / np.linalg.norm(codes, axis=1)
        _require(cosines.min() > 0.98, "codes differ")
        index.search(np.asarray(vectors[0], np.float32), 10, threads=1)
        return rows


class UsearchInPlace(Usearch):
    """The same with ``save`` over the old file, as its documentation shows."""

    def _save(self, index: Any, folder: Path) -> None:
        index.save(folder / "codes.usearch")


STORES: dict[str, Callable[[], Store]] = {
    "ours": Ours,
    "ours, inverted": OursInverted,
    "LanceDB": Lance,
    "turbovec": Turbovec,
    "usearch": Usearch,
    "usearch, saved in place": UsearchInPlace,
}


def bytes_of(folder: Path) -> int:
    """Of all files under ``folder``."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total
