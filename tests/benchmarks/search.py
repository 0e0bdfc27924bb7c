"""``python -m tests.benchmarks search [--size small|full]``: speed of making, updating and searching an index.

The vectors are synthetic, clustered like real ones: a mean that all share, clusters of very unequal size in a space of
few dimensions, and noise in all; queries come from the same clusters, moved aside as captions are from images. Full
size needs 40 GB of disk and an hour; small does the same on a tenth to a hundredth, and with parts as small.

In the table ``peer`` is what must be reached, but for the build, whose peer is the encoder itself on ready tensors.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil

from core.bench.results import BenchResult, result
from core.search.index.acceleration import Part, Sizes, layout, make_part
from core.search.index.nearest import Floats, Rows, Scanned
from core.search.index.storage import Vectors
from tests.benchmarks.index_build import build_rows

DIM = 512
QUERIES = 20
K = 100
INNER = 64  # dimensions in which the clusters differ
CHUNK = 65_536
SIGNS = np.array([-1, 1], np.float32)
SMALL = Sizes(small=0, scan=8_192, ivf_from=200_000, ivf=65_536, lists=64)
FULL = Sizes()
NOISE, WITHIN, ASIDE = 0.35, 0.6, 0.5  # lengths: of the noise, within clusters, of the move aside


def run(peer: Path | None = None, size: str = "small") -> list[BenchResult]:
    """All rows; a minute or two at small size."""
    full = size == "full"
    with temporary_folder() as folder:
        rows = _scan_rows(folder, 1_000_000 if full else 100_000, FULL if full else SMALL)
    with temporary_folder() as folder:
        rows += _ivf_rows(folder, 10_000_000 if full else 400_000, FULL if full else SMALL)
    with temporary_folder() as folder:
        rows += build_rows(folder, full)
    return rows


@contextmanager
def temporary_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="bench-search-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def at_most(name: str, value: float, limit: float, unit: str) -> BenchResult:
    """A row that holds when ``value`` is not above ``limit``."""
    return result(name, value, limit, unit, limit / max(value, 1e-12), 1.0)


def at_least(name: str, value: float, limit: float, unit: str) -> BenchResult:
    """A row that holds when ``value`` is not below ``limit``."""
    return result(name, value, limit, unit, value / limit, 1.0)


def _scan_rows(folder: Path, count: int, sizes: Sizes) -> list[BenchResult]:
    """The exact scan against brute force in float32 over the same vectors, and over those before they were stored."""
    made = _Made(folder, count, sizes)
    times, found, _ = made.search()
    same, before = (float((found[:, :10] == truth[:, :10]).mean()) for truth in (made.truth, made.before))
    name = f"{count:,} x {DIM}, scan"
    return [
        at_most(f"{name}: top {K}, median", 1e3 * statistics.median(times), 70, "ms"),
        at_least(f"{name}: top 10 as float32 brute force", 100 * same, 99.5, "%"),
        result(f"{name}: the same before rounding to fp16", 100 * before, 100, "%", before, None),
    ]


def _ivf_rows(folder: Path, count: int, sizes: Sizes) -> list[BenchResult]:
    made = _Made(folder, count, sizes)
    times, found, memory = made.search()
    pairs = zip(found[:, :10].tolist(), made.truth[:, :10].tolist(), strict=True)
    recall = statistics.mean(len(set(mine) & set(true)) / 10 for mine, true in pairs)
    name = f"{count:,} x {DIM}, inverted files"
    return [
        at_most(f"{name}: top {K}, median", 1e3 * statistics.median(times), 100, "ms"),
        at_least(f"{name}: recall@10", recall, 0.95, ""),
        at_most(f"{name}: resident memory of the process", memory / 2**30, 4, "GiB"),
    ]


class _Made:
    """Vectors on disk with what makes them fast to search, queries, and the truth about them."""

    def __init__(self, folder: Path, count: int, sizes: Sizes) -> None:
        needed = 4 * DIM * count
        if shutil.disk_usage(folder).free < needed:
            say(f"{folder} has too little space for {needed / 1e9:.0f} GB; the row would be meaningless.")
        self.folder, self.count = folder, count
        clusters = Clusters(max(100, count // 500))
        self.queries = clusters.queries(QUERIES)
        best, best_stored = Best(self.queries), Best(self.queries)
        began = time.monotonic()
        with (folder / "vectors.bin").open("wb") as file:
            for start in range(0, count, CHUNK):
                vectors = clusters.draw(min(CHUNK, count - start))
                half = vectors.astype("<f2")
                best.add(vectors, start)
                best_stored.add(half.astype(np.float32), start)
                file.write(half.tobytes())
        self.before, self.truth = best.rows, best_stored.rows  # (Q, K) of the vectors before and after fp16
        say(f"{count:,} vectors drawn in {time.monotonic() - began:.0f} s")
        self.parts = layout(count, DIM, sizes)
        began = time.monotonic()
        stored, trained = _vectors(folder / "vectors.bin", count), None
        for part in self.parts:
            if part.kind != "memory":
                trained = make_part(folder / self._name(part.start), part, stored, trained, sizes)
        say(f"{len(self.parts)} parts made in {time.monotonic() - began:.0f} s")

    def _name(self, start: int) -> str:
        return f"part-{start}.faiss"

    def search(self) -> tuple[list[float], Rows, float]:
        """What `_searched` says, in a process of its own as a user's is: without what making all this left there."""
        files = [self.folder / self._name(part.start) if part.kind != "memory" else None for part in self.parts]
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:
            job = alone.submit(_searched, self.folder / "vectors.bin", self.count, self.parts, files, self.queries)
            return job.result()


def _vectors(file: Path, count: int) -> Vectors:
    return np.memmap(file, "<f2", "r", shape=(count, DIM))


def _searched(
    vectors: Path, count: int, parts: list[Part], files: list[Path | None], queries: Floats
) -> tuple[list[float], Rows, float]:
    """Seconds of each query, the rows it found (Q, K), and the most memory that was resident meanwhile, bytes."""
    scanned = Scanned(_vectors(vectors, count), parts, files)
    mask = np.ones(count, np.bool_)
    with _most_memory() as memory:
        for query in queries:  # brings the files into the page cache, as an index in use is
            scanned.search(query, K, mask)
        times, found = [], []
        for query in queries:
            began = time.perf_counter()
            _, rows = scanned.search(query, K, mask)
            times.append(time.perf_counter() - began)
            found.append(rows)
    return times, np.stack(found), memory()


class Clusters:
    """Draws unit vectors from clusters whose sizes fall as those of words do."""

    def __init__(self, count: int) -> None:
        self._random = np.random.default_rng(0)
        shape = (count, INNER)
        self._centres = self._random.standard_normal(shape, dtype=np.float32) / np.float32(np.sqrt(INNER))
        self._spread = self._random.standard_normal((INNER, DIM), dtype=np.float32) / np.float32(np.sqrt(DIM))
        self._mean = self._unit(self._random.standard_normal(DIM, dtype=np.float32)[None])
        self._aside = self._unit(self._random.standard_normal(DIM, dtype=np.float32)[None])
        self._noise = self._random.standard_normal((CHUNK, DIM), dtype=np.float32)  # drawn once, then shuffled
        weights = 1 / np.arange(1, count + 1) ** 0.7
        self._edges = np.cumsum(weights / weights.sum())

    def draw(self, count: int) -> Floats:
        """(count, DIM) float32."""
        cluster = np.searchsorted(self._edges, self._random.random(count)).clip(0, len(self._edges) - 1)
        inner = self._centres[cluster]
        inner = inner + np.float32(WITHIN / np.sqrt(INNER)) * self._random.standard_normal(
            inner.shape, dtype=np.float32
        )
        noise = self._noise[self._random.permutation(CHUNK)[:count]] * self._random.choice(SIGNS, DIM)
        return self._unit(self._mean + inner @ self._spread + np.float32(NOISE / np.sqrt(DIM)) * noise)

    def queries(self, count: int) -> Floats:
        """(count, DIM) from the same clusters, moved aside."""
        return self._unit(self.draw(count) + np.float32(ASIDE) * self._aside)

    @staticmethod
    def _unit(vectors: Floats) -> Floats:
        unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit


class Best:
    """The nearest of all vectors that were added, by brute force in float32."""

    def __init__(self, queries: Floats) -> None:
        self._queries = queries
        self._scores = np.full((len(queries), K), -np.inf, np.float32)
        self.rows: Rows = np.full((len(queries), K), -1, np.int64)

    def add(self, vectors: Floats, start: int) -> None:
        scores = np.concatenate([self._scores, self._queries @ vectors.T], axis=1)
        rows = np.broadcast_to(np.arange(start, start + len(vectors)), (len(self._queries), len(vectors)))
        rows = np.concatenate([self.rows, rows], axis=1)
        kept = np.argpartition(-scores, K, axis=1)[:, :K]
        order = np.take_along_axis(kept, np.argsort(-np.take_along_axis(scores, kept, 1), axis=1), 1)
        self._scores, self.rows = np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


@contextmanager
def _most_memory() -> Iterator[Callable[[], float]]:
    """Watches how much of this process is resident."""
    process, ended, most = psutil.Process(), threading.Event(), [0.0]

    def watch() -> None:
        while not ended.wait(0.02):
            most[0] = max(most[0], float(process.memory_info().rss))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: max(most[0], float(process.memory_info().rss))
    finally:
        ended.set()
        thread.join()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
