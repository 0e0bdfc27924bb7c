"""The benchmark ``search_peers`` kills writers of an index; ours loses no row."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import search_kills


@pytest.mark.slow
def test_our_index_survives_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_kills, "KILLS", 2)
    monkeypatch.setattr(search_kills, "KILLED", ("ours",))
    assert [row.ratio for row in search_kills.kill_rows(tmp_path)] == [1, 1]
