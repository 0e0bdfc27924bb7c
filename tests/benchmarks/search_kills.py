"""Kills writers of the stores of ``search_peers`` at random times, and reads what they leave.

A writer adds batches of 1,024 rows and reports each that it has committed. After a kill the store must open with whole
batches, all that were reported among them, and only their vectors. Builds start with an empty folder; increments add
one batch to what earlier kills left.
"""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from core.bench.results import BenchResult, result
from core.search import collection
from core.search.index import build
from core.search.index.acceleration import Sizes, layout, update_acceleration
from core.search.index.manifest import SEGMENT_ROWS
from core.search.index.storage import Vectors
from tests.benchmarks.search import DIM, Clusters, say
from tests.benchmarks.search_stores import FORKING, STORES, Store

KILLS, BATCHES, MORE = 20, 8, 2 * 20 + 2
SIZES = Sizes(small=0, scan=2048)  # so that an acceleration file is written now and then
KILLED = ("ours", "LanceDB", "turbovec", "usearch", "usearch, saved in place")


def kill_rows(folder: Path) -> list[BenchResult]:
    """For each store the kills after which it was intact; ``peer`` column: the kills."""
    clusters = Clusters(100)
    vectors = folder / "vectors.bin"
    vectors.write_bytes(clusters.draw((BATCHES + MORE) * SEGMENT_ROWS).astype("<f2").tobytes())
    rows = []
    for name in KILLED:
        trials = _Trials(name, folder / name.replace(" ", "-"), vectors)
        for kind, problems in (("build", trials.builds()), ("increment", trials.increments())):
            for problem in problems:
                say(f"{name}, killed during {kind}: {problem}")
            intact = KILLS - len(problems)
            rows.append(result(f"kills during {kind}, {name}", intact, KILLS, "intact", intact / KILLS, None))
            say(f"{name}, {kind}: {intact} of {KILLS} intact")
    return rows


@dataclass
class _Trials:
    name: str
    folder: Path
    vectors: Path

    def builds(self) -> list[str]:
        """The problems after killed builds."""
        self.folder.mkdir()
        problems: list[str] = []
        stop = BATCHES * SEGMENT_ROWS
        length = self._complete(self.folder / "whole", stop)
        kills = number = 0
        while kills < KILLS:
            number += 1
            target = self.folder / f"build-{number}"
            reported = self._killed(target, stop, random.uniform(0, length))
            if reported is not None:
                kills += 1
                problems += self._problem(target, reported, set(range(0, stop + 1, SEGMENT_ROWS)))
        return problems

    def increments(self) -> list[str]:
        """The problems after killed increments; a damaged store is replaced by a new one."""
        problems: list[str] = []
        kills = damaged = 0
        target = self.folder / "whole"
        rows = (BATCHES + 1) * SEGMENT_ROWS
        length = self._complete(target, rows)
        while kills < KILLS and rows < (BATCHES + MORE - 1) * SEGMENT_ROWS:
            reported = self._killed(target, rows + SEGMENT_ROWS, random.uniform(0, length))
            if reported is None:
                rows += SEGMENT_ROWS
                continue
            kills += 1
            problem = self._problem(target, max(reported, rows), {rows, rows + SEGMENT_ROWS})
            problems += problem
            if problem:
                damaged += 1
                target = self.folder / f"again-{damaged}"
                self._complete(target, rows)
            else:
                rows = self._rows
        self._complete(target, rows + SEGMENT_ROWS)  # what was killed can be continued
        return problems

    def _problem(self, target: Path, reported: int, allowed: set[int]) -> list[str]:
        """[] if a new process reads ``allowed`` rows and no fewer than ``reported``."""
        with self._child(_verify, target, 0) as (reader, connection):
            try:
                answer = connection.recv()
            except EOFError:
                reader.join()
                answer = f"the reader ended with exit code {reader.exitcode}"
        if isinstance(answer, str):
            return [f"not readable: {answer}"]
        self._rows = answer
        return [] if self._rows in allowed and self._rows >= reported else [f"{self._rows} rows, {reported} reported"]

    def _complete(self, target: Path, stop: int) -> float:
        """Seconds of a writer that is not killed."""
        with self._child(_write, target, stop) as (_, connection):
            connection.recv()
            began = time.monotonic()
            while connection.recv() != "done":
                pass
            return time.monotonic() - began

    def _killed(self, target: Path, stop: int, after: float) -> int | None:
        """The rows that were reported before the kill; None if the writer was done before it."""
        reports: list[int | str] = [0]
        with self._child(_write, target, stop) as (writer, connection):
            connection.recv()
            time.sleep(after)
            writer.kill()
            writer.join()
            with contextlib.suppress(EOFError):
                while True:
                    reports.append(connection.recv())
        if writer.exitcode not in (0, -signal.SIGKILL):
            raise RuntimeError(f"{self.name} ended with exit code {writer.exitcode} before it was killed.")
        return None if reports[-1] == "done" else int(reports[-1])

    @contextmanager
    def _child(
        self, work: Callable[..., None], target: Path, stop: int
    ) -> Iterator[tuple[BaseProcess, Connection[Any, Any]]]:
        """A process that works on ``target``."""
        receiver, sender = FORKING.Pipe(duplex=False)
        process = FORKING.Process(target=work, args=(sender, self.name, target, self.vectors, stop))
        process.start()
        sender.close()
        yield process, receiver
        process.join()
        receiver.close()


def _prepared(name: str, vectors: Path) -> tuple[Store, Vectors]:
    patched: list[tuple[Any, Any]] = [(build, layout), (collection, layout), (build, update_acceleration)]
    for module, function in patched:
        setattr(module, function.__name__, partial(function, sizes=SIZES))
    return STORES[name](), np.memmap(vectors, "<f2", "r").reshape(-1, DIM)


def _write(connection: Connection[Any, Any], name: str, target: Path, vectors: Path, stop: int) -> None:
    store, mapped = _prepared(name, vectors)
    connection.send("ready")
    store.append(target, mapped, stop, SEGMENT_ROWS, connection.send)
    connection.send("done")


def _verify(connection: Connection[Any, Any], name: str, target: Path, vectors: Path, stop: int) -> None:
    store, mapped = _prepared(name, vectors)
    try:
        connection.send(store.verified_rows(target, mapped) if target.exists() else 0)
    except Exception as error:  # noqa: BLE001  (what any store raises for a damaged file)
        connection.send(f"{type(error).__name__}: {error}"[:200])
