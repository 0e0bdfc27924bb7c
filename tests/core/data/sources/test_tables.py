"""Rows packed into arrays are the rows they were, in memory and mapped from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.sources import tables
from core.data.sources.rows import NO_LABELS, Row
from core.data.sources.tables import PackedTexts, RowTable, memory_map, pack

SHARED = {"kind": "cat"}
texts = st.text(st.characters(exclude_categories=()), max_size=30)  # names of files may hold lone surrogates


@given(st.lists(texts, max_size=8))
def test_texts_round_trip(some: list[str]) -> None:
    packed = PackedTexts.pack(some)
    assert list(packed) == some
    assert packed[1:3] == some[1:3]
    with pytest.raises(IndexError):
        packed[len(some)]


def rows() -> list[Row]:
    return [
        Row(f"/images/{i}-é.png", tuple(f"caption {k} of {i}" for k in range(1 + i % 3)), labels, origin, line)
        for i, (labels, origin, line) in enumerate([(NO_LABELS, "a.csv", 2), (SHARED, "", 0), (SHARED, "b.csv", 7)] * 3)
    ]


def test_rows_round_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path))
    for least in (1 << 20, 0):
        monkeypatch.setattr(tables, "MIN_MAPPED_BYTES", least)
        arrays, labels, origins = pack(rows())
        table = RowTable(memory_map(arrays), labels, origins)
        assert list(table) == rows()
        assert table[2] == rows()[2]
        assert labels == [NO_LABELS, SHARED]
        assert all(isinstance(table.files.content, np.memmap) == (least == 0) for _ in table)
    (file,) = tmp_path.iterdir()
    before = file.stat().st_ino
    memory_map(pack(rows())[0])
    assert [path.stat().st_ino for path in tmp_path.iterdir()] == [before]  # the next run has the same
    changed = rows()
    changed[0].captions = ("another caption",)
    memory_map(pack(changed)[0])
    assert len(list(tmp_path.iterdir())) == 2
    changed[0].captions = ("another caption".upper(),)  # as long as before
    arrays, labels, origins = pack(changed)
    assert list(RowTable(memory_map(arrays), labels, origins)) == changed


def test_a_read_only_folder_keeps_rows_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").touch()
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path / "taken"))
    monkeypatch.setattr(tables, "MIN_MAPPED_BYTES", 0)
    arrays, labels, origins = pack(rows())
    assert list(RowTable(memory_map(arrays), labels, origins)) == rows()


def test_memory_per_row_is_small() -> None:
    """Besides its text, which is stored once: 40 bytes of places and numbers, and not the 860 of Python objects."""
    many = [Row(f"/data/{i:08}.jpg", (f"a photograph, number {i:08}",), NO_LABELS, "a.csv", i) for i in range(1000)]
    arrays, _, _ = pack(many)
    text = sum(len(row.file) + len(row.captions[0]) for row in many)
    assert sum(array.nbytes for array in arrays.values()) - text <= 1000 * 40 + 64
