"""``python -m tests.benchmarks search_peers [--size small|full] [--peer DIR]``: our index against three vector stores.

The same 100,000 (full: 1,000,000) vectors of `search` are stored, opened and searched for the top 20 by each store in a
process of its own, with one thread, in turn; `search_kills` then kills writers. Costs are CPU seconds of the process
(all its threads), which other programs on the machine change little. The ratio is the peer's cost by ours, or our
recall by the peer's. Recall is that of float32 brute force over the stored fp16 vectors.

``pip install --target DIR lancedb turbovec usearch`` installs the peers; LanceDB with pyarrow takes hundreds of
megabytes, therefore they are not in the extra ``bench``.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from core.bench.results import BenchResult, result
from core.search.index.nearest import Floats, Rows
from core.search.index.storage import Vectors
from core.spec.errors import UserError
from tests.benchmarks.search import CHUNK, DIM, Best, Clusters, say, temporary_folder
from tests.benchmarks.search_kills import kill_rows
from tests.benchmarks.search_stores import FORKING, STORES, VARIABLES, Search, bytes_of, is_tenth

K, BATCH, ROUNDS, SINGLES = 20, 64, 3, 5
COUNTS = {"small": 100_000, "full": 1_000_000}
PEERS = ("LanceDB", "turbovec", "usearch")
MODULES = ("lancedb", "turbovec", "usearch")
SEARCHES = {  # exact, filtered
    "exact": (True, False),
    "approximate": (False, False),
    "filter of 10 %": (False, True),
}


def run(peer: Path | None = None, size: str = "small") -> list[BenchResult]:
    """All rows; the kills come with the small size only."""
    if peer is not None:
        sys.path.append(str(peer))
    missing = [name for name in MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"{', '.join(missing)} cannot be imported; pip install --target DIR {' '.join(MODULES)}, and name the "
            "folder with --peer DIR."
        )
    # LanceDB stopped in a probe with 1 thread; see docs/design/index-folder.md
    os.environ.update(dict.fromkeys(VARIABLES, "1"), LANCE_CPU_THREADS="2", RUST_LOG="error")
    with temporary_folder() as folder:
        compared = _Compared(folder, COUNTS[size])
        rows = compared.build_rows() + compared.search_rows() + compared.increment_rows()
    if size == "small":
        rows += _installed_rows()
        with temporary_folder() as folder:
            rows += kill_rows(folder)
    return rows


class _Compared:
    """The stores with the same vectors, and queries with their true answers."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count, self.more = folder, count, count // 100
        self.vectors = folder / "vectors.bin"
        self.queries, self.truth = _draw(self.vectors, count, self.more)
        self.names = ["ours", *PEERS, *(["ours, inverted"] if count > CHUNK * 10 else [])]
        self.folders = {name: folder / name.partition(",")[0] for name in self.names}

    def _row(self, peer: str, what: str, ours: float, theirs: float, unit: str, is_recall: bool = False) -> BenchResult:
        ratio = ours / theirs if is_recall else theirs / max(ours, 1e-9)
        row = result(f"{self.count:,} {what}, {peer}", ours, theirs, unit, ratio, None)
        say(f"{row.name}: {ours:.4g} {theirs:.4g} {unit} ({ratio:.3f})")
        return row

    def build_rows(self) -> list[BenchResult]:
        """Building, and its bytes on disk."""
        costs = {}
        for name in self.names:
            with _worker(name) as call:
                costs[name] = call(_append, self.folders[name], self.vectors, self.count + self.more, self.count)
            say(f"{name}: built in {costs[name]:.1f} CPU s")
            if name == "ours":
                size = bytes_of(self.folders[name])
        rows = []
        for peer in PEERS:
            rows.append(self._row(peer, "build", costs["ours"], costs[peer], "CPU s"))
            disk = bytes_of(self.folders[peer])
            rows.append(self._row(peer, "on disk", size / 2**20, disk / 2**20, "MiB"))
        return rows

    def search_rows(self) -> list[BenchResult]:
        """Opening, single queries and batches with recall, and memory."""
        with ExitStack() as stack:
            calls = {name: stack.enter_context(_worker(name)) for name in self.names}
            opened = {name: call(_open, self.folders[name], self.queries[:1]) for name, call in calls.items()}
            rows = [self._row(peer, "open, first query", opened["ours"], opened[peer], "CPU s") for peer in PEERS]
            for what, options in SEARCHES.items():
                truth = self.truth[options[1]]
                if options[1]:
                    first = {name: call(_search, self.queries[:1], *options)[0] for name, call in calls.items()}
                    rows += [self._row(peer, "first filter", first["ours"], first[peer], "CPU s") for peer in PEERS]
                for label, size, per_round, rounds in (("single", 1, SINGLES, ROUNDS), ("batch of 64", BATCH, 1, 1)):
                    rows += self._searched(calls, f"{what}, {label}", options, truth, size, per_round, rounds)
            memory = {name: call(_memory) for name, call in calls.items()}
        return rows + [self._row(peer, "memory", memory["ours"], memory[peer], "MiB") for peer in PEERS]

    def _searched(
        self,
        calls: dict[str, Callable[..., Any]],
        what: str,
        options: tuple[bool, bool],
        truth: Rows,
        size: int,
        per_round: int,
        rounds: int,
    ) -> list[BenchResult]:
        """Rows of all peers; a batch also gives the recall."""
        times: dict[str, list[float]] = {name: [] for name in calls}
        recall = {}
        for number in range(rounds):
            for name, call in calls.items():
                began = number * per_round * size
                batches = [self.queries[start : start + size] for start in range(began, began + per_round * size, size)]
                answers = [call(_search, queries, *options) for queries in batches]
                times[name].append(1e3 * statistics.median(seconds for seconds, _ in answers))
                recall[name] = _recall(np.concatenate([rows for _, rows in answers]), truth[began:])
        rows = []
        for peer in calls:
            if peer != "ours":
                ratio = statistics.median(b / a for a, b in zip(times["ours"], times[peer], strict=True))
                ours = statistics.median(times["ours"])
                rows.append(self._row(peer, what, ours, ours * ratio, "CPU ms"))
                if size > 1:
                    rows.append(self._row(peer, f"{what}: recall@{K}", recall["ours"], recall[peer], "", True))
        return rows

    def increment_rows(self) -> list[BenchResult]:
        """Adding 1 % of rows to a store that is not open; a row that was added must be found."""
        costs = {}
        vectors = np.asarray(_mapped(self.vectors, self.count + self.more)[-1:], np.float32)
        for name in ("ours", *PEERS):
            with _worker(name) as call:
                total = self.count + self.more
                costs[name] = call(_append, self.folders[name], self.vectors, total, total)
            with _worker(name) as call:
                call(_open, self.folders[name], vectors)
                if int(call(_search, vectors, False, False)[1][0, 0]) != total - 1:
                    raise UserError(f"{name} does not find a row that was added.")
        return [self._row(peer, "increment of 1 %", costs["ours"], costs[peer], "CPU s") for peer in PEERS]


def _draw(file: Path, count: int, more: int) -> tuple[Floats, dict[bool, Rows]]:
    """Write the vectors; the queries and their nearest ``K`` rows, of all and (True) of the filtered rows."""
    clusters = Clusters(max(100, count // 500))
    queries = clusters.queries(BATCH)
    best, tenth = Best(queries), Best(queries)
    selected = np.flatnonzero(is_tenth(np.arange(count))).astype(np.int64)
    with file.open("wb") as out:
        for start in range(0, count, CHUNK):
            half = clusters.draw(min(CHUNK, count - start)).astype("<f2")
            best.add(half.astype(np.float32), start)
            own = is_tenth(np.arange(start, start + len(half)))
            tenth.add(half[own].astype(np.float32), int(np.searchsorted(selected, start)))
            out.write(half.tobytes())
        out.write(clusters.draw(more).astype("<f2").tobytes())
    return queries, {False: best.rows[:, :K], True: selected[tenth.rows[:, :K]]}


def _recall(found: Rows, truth: Rows) -> float:
    pairs = zip(found.tolist(), truth.tolist(), strict=False)
    return statistics.mean(len(set(mine) & set(true)) / K for mine, true in pairs)


def _mapped(file: Path, count: int) -> Vectors:
    return np.memmap(file, "<f2", "r", shape=(count, DIM))


@contextmanager
def _worker(name: str) -> Iterator[Callable[..., Any]]:
    """A new process for one store; gives a function that calls another one there."""
    with ProcessPoolExecutor(1, FORKING, _start, (sys.path, name)) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


_process: dict[str, Any] = {}  # of a worker: its store, the open search, and the memory before it was opened


def _start(path: Sequence[str], name: str) -> None:
    sys.path[:] = path
    _process["store"] = STORES[name]()


def _append(folder: Path, file: Path, total: int, stop: int) -> float:
    began = time.process_time()
    _process["store"].append(folder, _mapped(file, total), stop, stop, lambda rows: None)
    return time.process_time() - began


def _open(folder: Path, query: Floats) -> float:
    _process["before"] = psutil.Process().memory_info().rss
    began = time.process_time()
    _process["search"] = _process["store"].open(folder)
    _process["search"](query, K, False, False)
    return time.process_time() - began


def _search(queries: Floats, exact: bool, filtered: bool) -> tuple[float, Rows]:
    search: Search = _process["search"]
    began = time.process_time()
    rows = search(queries, K, exact, filtered)
    return time.process_time() - began, rows


def _memory() -> float:
    """MiB that opening and searching added."""
    return float(psutil.Process().memory_info().rss - _process["before"]) / 2**20


def _installed_rows() -> list[BenchResult]:
    """The size of each package with what it requires: (all, and beyond what our package requires anyway)."""
    own = _required("sdgui", {"train"}) | _required("faiss-cpu") if _is_installed("sdgui") else _required("faiss-cpu")
    ours = _size(_required("faiss-cpu") - _required("numpy"))
    rows = []
    for peer in PEERS:
        name = STORES[peer]().packages[0]
        size = _size(_required(name) - own - _required("numpy"))
        version = importlib.metadata.version(name)
        rows.append(result(f"installed, {peer} {version}", ours, size, "MiB", size / ours, None))
    return rows


def _is_installed(name: str) -> bool:
    return any(importlib.metadata.distributions(name=name))


def _required(name: str, extras: frozenset[str] | set[str] = frozenset()) -> set[str]:
    """The installed distributions that ``name`` requires, and itself."""
    names: set[str] = set()
    pending = [name]
    while pending:
        current = re.sub(r"[-_.]+", "-", pending.pop()).lower()
        if current in names or not _is_installed(current):
            continue
        names.add(current)
        for line in importlib.metadata.requires(current) or []:
            requirement, _, marker = line.partition(";")
            if "extra" not in marker or any(f'"{extra}"' in marker.replace("'", '"') for extra in extras):
                pending.append(re.split(r"[\s\[<>=!~;(]", requirement.strip())[0])
    return names


def _size(names: set[str]) -> float:
    files = {Path(str(file.locate())) for name in names for file in importlib.metadata.distribution(name).files or ()}
    return sum(file.stat().st_size for file in files if file.is_file()) / 2**20
