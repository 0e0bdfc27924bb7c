"""Synthetic shards with more rows than fit in memory, opened in a separate process."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.data.sources.shards.collection import Shards
from tests.benchmarks.shards import first_batch, write_synthetic


@pytest.mark.slow
def test_ten_million_rows_take_little_memory(tmp_path: Path) -> None:
    measured = first_batch(write_synthetic(tmp_path, 1_000, 10_000), 4)
    assert measured["rows"] == 10_000_000
    assert measured["bytes"] < 2e9


def test_synthetic_shards_read_like_real_ones(tmp_path: Path) -> None:
    shards = Shards.open(write_synthetic(tmp_path, 3, 50))
    assert len(shards) == 150
    assert {shards.texts(row).captions for row in (0, 77, 149)} == {("a photograph of a quiet street",)}
    assert shards.image(149)[:2] == b"\xff\xd8"
