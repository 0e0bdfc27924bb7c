"""What the kills of ``search_peers`` report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.search.index.manifest import SEGMENT_ROWS
from tests.benchmarks import search_kills
from tests.benchmarks.search import DIM
from tests.benchmarks.search_kills import _Trials
from tests.benchmarks.search_stores import Ours


@pytest.mark.slow
def test_our_index_survives_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_kills, "KILLS", 2)
    monkeypatch.setattr(search_kills, "KILLED", ("ours",))
    assert [row.ratio for row in search_kills.kill_rows(tmp_path)] == [1, 1]


def test_lost_and_damaged_rows_are_reported(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).standard_normal((2 * SEGMENT_ROWS, DIM)).astype("<f2")
    vectors, folder = tmp_path / "vectors.bin", tmp_path / "store"
    vectors.write_bytes(drawn.tobytes())
    Ours().append(folder, drawn, 2 * SEGMENT_ROWS, SEGMENT_ROWS, lambda rows: None)
    trials = _Trials("ours", tmp_path, vectors)
    both = {SEGMENT_ROWS, 2 * SEGMENT_ROWS}
    assert trials._problem(folder, 2 * SEGMENT_ROWS, both) == []
    assert trials._problem(folder, 3 * SEGMENT_ROWS, both) == ["2048 rows, 3072 reported"]
    assert trials._problem(folder, 0, {SEGMENT_ROWS}) == ["2048 rows, 0 reported"]
    with (folder / "images-0001.bin").open("r+b") as file:
        file.write(b"\1" * 64)
    assert trials._problem(folder, 0, both) == ["not readable: ValueError: checksums differ"]
