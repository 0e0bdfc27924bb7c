"""The comparison of ``search_peers``, with our inverted file in the place of a peer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import search_peers
from tests.benchmarks.search_peers import _Compared


@pytest.mark.slow
def test_compares_costs_and_recall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_peers, "PEERS", ("ours, inverted",))
    compared = _Compared(tmp_path, 3_000)
    compared.folders = dict.fromkeys(compared.names, tmp_path / "ours")
    rows = {row.name: row for row in compared.build_rows() + compared.search_rows() + compared.increment_rows()}
    recall = {name: row for name, row in rows.items() if "recall" in name}
    assert len(recall) == 3
    assert all(row.ours >= 0.99 for row in recall.values())
    assert all(0.5 < row.peer <= 1 for row in recall.values())
    assert all(row.ours > 0 for row in rows.values() if "CPU" in row.unit)
