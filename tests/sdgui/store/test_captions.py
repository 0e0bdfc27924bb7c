"""The kept list of captions against a dictionary, over any sequence of changes and restarts."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdgui.store.captions import KeptCaption
from sdgui.store.store import Store
from sdgui.store.tables import CaptionedImageRow, CaptionOriginRow

PATHS = [f"/images/{name}" for name in ("a.png", "b\nc.png", "é 🦊.jpg", "bad-\udcff.png", "it's %d.png")]
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
MADE = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.fixed_dictionaries(
        {"about": TEXT, "captions": st.lists(st.tuples(TEXT, st.floats(allow_nan=False)).map(list), max_size=3)}
    ),
    max_size=2,
)
ENTRY = st.builds(
    KeptCaption,
    path=st.sampled_from(PATHS),
    position=st.integers(0, 9),
    text=TEXT,
    origin=st.sampled_from(["", "a", "b", "hand"]),
    refused=TEXT,
    made=MADE,
)
KEEP = st.tuples(
    st.just("keep"),
    st.lists(ENTRY, max_size=5, unique_by=lambda entry: entry.path),
    st.dictionaries(st.sampled_from(["k1", "k2"]), st.dictionaries(TEXT, TEXT, max_size=2)),
)
FORGET = st.tuples(st.just("forget"), st.lists(st.sampled_from(PATHS)))


def read_all(store: Store, limit: int) -> list[KeptCaption]:
    found: list[KeptCaption] = []
    after = (-1, -1)
    while True:
        part, after = store.captions(after, limit)
        if not part:
            return found
        found += part


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(KEEP, FORGET, st.just(("reopen",))), max_size=8), st.integers(1, 3))
def test_what_is_kept_comes_back_in_order_whatever_happened(steps: list[tuple[Any, ...]], limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder))
        expected: dict[str, KeptCaption] = {}
        origins: dict[str, dict[str, str]] = {}
        for step in steps:
            if step[0] == "keep":
                store.keep_captions(step[1], step[2])
                expected.update({entry.path: entry for entry in step[1]})
                origins.update(step[2])
            elif step[0] == "forget":
                store.forget_captions(step[1])
                expected = {path: entry for path, entry in expected.items() if path not in step[1]}
            else:
                store.close()
                store = Store.open(Path(folder))
        found = read_all(store, limit)
        assert {entry.path: entry for entry in found} == expected
        assert [entry.position for entry in found] == sorted(entry.position for entry in expected.values())
        assert len(found) == len(expected)
        assert store.caption_origins() == origins
        store.close()


def test_thousands_are_kept_in_one_go(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    entries = [KeptCaption(f"/p/{i}.png", i, text=f"caption {i}") for i in range(2500)]
    store.keep_captions(entries, {})
    store.forget_captions([entry.path for entry in entries[:1500]])
    assert read_all(store, 500) == entries[1500:]
    store.close()


@pytest.mark.parametrize("text", ["[" * 200_000, "{", "5", '{"a": ' + "9" * 5000 + "}"])
def test_what_cannot_be_read_of_a_row_is_left_out(tmp_path: Path, text: str) -> None:
    store = Store.open(tmp_path)
    store.keep_captions([KeptCaption("/a.png", 0, text="typed", origin="hand")], {"k": {"model": "m"}})
    with sqlite3.connect(store.database) as database:
        database.execute(f"UPDATE {CaptionedImageRow.__tablename__} SET made = ?", (text,))
        database.execute(f"UPDATE {CaptionOriginRow.__tablename__} SET content = ?", (text,))
    assert store.captions()[0] == [KeptCaption("/a.png", 0, text="typed", origin="hand")]
    assert store.caption_origins() == {"k": {}}
    store.close()
