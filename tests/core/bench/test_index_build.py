"""The benchmark of builds that are killed: it kills as often as it says, and sees bytes that differ."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.benchmarks import index_build

BUILD = """
import sys, time
from pathlib import Path
folder = Path(sys.argv[1])
other = folder.name == "killed" and sys.argv[2] == "bad"
folder.mkdir(exist_ok=True)
import numpy as np
from core.search.index.manifest import Identity, Manifest, read_manifest
from core.search.index.storage import Entry, IndexWriter, Record
writer = IndexWriter(folder)
manifest = read_manifest(folder) or Manifest(Identity("m", "", "d", {}, 2), "source")
writer.prepare(manifest)
print("encoding images", file=sys.stderr, flush=True)
while manifest.rows < 40:
    time.sleep(0.1)
    entry = Entry(Record(f"/{manifest.rows}.png"), 1, 1, np.full(2, other, np.float16))
    manifest = writer.append(manifest, [entry] * 10)
"""


@pytest.mark.parametrize(("builder", "same"), [("good", 1.0), ("bad", 0.0)])
def test_so_many_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, builder: str, same: float) -> None:
    """The bad one writes other vectors where it is killed."""
    monkeypatch.setattr(index_build, "KILLED", 40)
    monkeypatch.setattr(index_build, "write_images", lambda *_, **__: None)
    monkeypatch.setattr(index_build, "_command", lambda _, __, index: [sys.executable, "-c", BUILD, index, builder])
    row = index_build._kills(tmp_path, 5)
    assert row.name.startswith("killed 5 times of 5")
    assert row.ours == same
