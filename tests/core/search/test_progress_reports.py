"""What long work on an index says of itself, step by step: whoever hears it may end it there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.search.collection import open_index
from core.search.index import build as build_module
from core.search.index import encoding, neighbours
from core.search.index.acceleration import Sizes, _train, update_acceleration
from core.search.index.build import build_index, relocate
from tests.core.search.samples import DIM, MODEL, vectors, write_images
from tests.core.search.test_searching import stored

Told = list[tuple[str, int, int]]


@pytest.fixture
def told() -> Told:
    return []


def test_building_clearing_moving_and_opening_an_index_is_reported(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module, "BLOCK", 16)
    monkeypatch.setattr(encoding, "BATCH", 16)
    source, moved, index = (tmp_path / name for name in ("images", "moved", "index"))
    paths = write_images(source, captions=False)

    def say(*what: str | int) -> None:
        told.append(what)  # type: ignore[arg-type]

    def said() -> Told:
        found = list(told)
        told.clear()
        return found

    build_index(MODEL, str(source), index, say, lambda _: None)
    scanning = ("scanning the source", 0, 0)
    assert said() == [scanning, *(("encoding images", done, 48) for done in (0, 16, 32, 48))]
    for path in paths[:20]:
        path.unlink()
    build_index(MODEL, str(source), index, say, lambda _: None)
    assert said() == [scanning, ("rewriting the index without removed images", 0, 0)]
    source.rename(moved)
    relocate(index, str(source), str(moved), say)
    assert said() == [("rewriting the index", 0, 28)]
    open_index(index, say)
    assert said() == [("opening the index", 0, 0), ("loading the model", 0, 0)]


def test_search_acceleration_is_built_in_parts(tmp_path: Path, told: Told) -> None:
    manifest = stored(tmp_path, vectors(2500))
    update_acceleration(tmp_path, manifest, lambda *what: told.append(what), Sizes(small=0, scan=1000))
    assert told == [("preparing the search of images", done, 3) for done in (0, 1)], "the rest stays in memory"


def test_neighbours_are_searched_in_batches(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_CHUNK", 300)
    points = vectors(500)
    looking = [("looking for neighbours", start, 500) for start in (0, 300)]
    exact, _ = neighbours.neighbours(points, 3, lambda *what: told.append(what))
    assert told == looking
    told.clear()
    monkeypatch.setattr(neighbours, "_EXACT", 499)
    near, away = neighbours.neighbours(points, 3, lambda *what: told.append(what))
    assert told == [("grouping the points", 0, 0), *looking]
    assert (near.shape, away.shape, points.shape) == ((500, 3), (500, 3), (500, DIM))
    assert (near == exact).mean() > 0.9


def test_as_many_centroids_as_vectors_are_the_vectors() -> None:
    bank = np.eye(8, dtype=np.float32)
    index = _train(bank, Sizes(lists=8))
    assert sorted(index.quantizer.reconstruct_n(0, 8).tolist()) == sorted(bank.tolist())
