"""All stores of the benchmark ``search_peers`` find the same rows; ours survives kills."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from core.search.index.manifest import SEGMENT_ROWS
from core.search.index.nearest import top_k
from core.search.index.storage import Vectors
from tests.benchmarks import search_kills
from tests.benchmarks.search import DIM
from tests.benchmarks.search_stores import STORES, Store, is_tenth

MODULES = {"LanceDB": "lancedb", "turbovec": "turbovec", "usearch": "usearch", "usearch, saved in place": "usearch"}
ROWS, MORE = 2 * SEGMENT_ROWS, SEGMENT_ROWS


@pytest.fixture(params=[name for name in STORES if name != "ours, inverted"])
def store(request: pytest.FixtureRequest) -> Store:
    module = MODULES.get(request.param, "numpy")
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    return STORES[request.param]()


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    drawn = np.random.default_rng(0).standard_normal((ROWS + MORE, DIM), dtype=np.float32)
    half: Vectors = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)
    return half


def test_finds_the_nearest_rows_of_all_and_of_a_tenth(store: Store, vectors: Vectors, tmp_path: Path) -> None:
    reported: list[int] = []
    store.append(tmp_path / "store", vectors, ROWS, SEGMENT_ROWS, reported.append)
    assert reported == [SEGMENT_ROWS, ROWS]
    queries = vectors[:3].astype(np.float32)
    for filtered in (False, True):
        rows = np.flatnonzero(is_tenth(np.arange(ROWS))) if filtered else np.arange(ROWS)
        scores = [vectors[rows].astype(np.float32) @ query for query in queries]
        truth = np.stack([top_k(score, rows, 5)[1] for score in scores])
        found = store.open(tmp_path / "store")(queries, 5, True, filtered)
        assert np.mean([len(set(a) & set(b)) / 5 for a, b in zip(found, truth, strict=True)]) >= 0.9


def test_verifies_every_vector_after_an_increment(store: Store, vectors: Vectors, tmp_path: Path) -> None:
    store.append(tmp_path / "store", vectors, ROWS, SEGMENT_ROWS, lambda rows: None)
    store.append(tmp_path / "store", vectors, ROWS + MORE, SEGMENT_ROWS, lambda rows: None)
    assert store.verified_rows(tmp_path / "store", vectors) == ROWS + MORE
    mixed = vectors.copy()
    mixed[ROWS + 7] = vectors[7]
    with pytest.raises(ValueError, match="differ"):
        store.verified_rows(tmp_path / "store", mixed)


@pytest.mark.slow
def test_our_index_survives_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_kills, "KILLS", 2)
    monkeypatch.setattr(search_kills, "KILLED", ("ours",))
    assert [row.ratio for row in search_kills.kill_rows(tmp_path)] == [1, 1]
