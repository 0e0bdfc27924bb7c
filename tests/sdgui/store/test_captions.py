"""Stored captions and the basket of fixes: order, undo and restarts."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.spec.data.fixes import Fix
from sdgui.store.captions import StoredCaption
from sdgui.store.local.fixes import BasketChange
from sdgui.store.store import Store
from sdgui.store.tables import CaptionedImageRow, CaptionOriginRow
from tests.sdgui.store.conftest import OpenStore

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
    StoredCaption,
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


def read_all(store: Store, limit: int) -> list[StoredCaption]:
    found: list[StoredCaption] = []
    after = (-1, -1)
    while True:
        part, after = store.captions(after, limit)
        if not part:
            return found
        found += part


@settings(max_examples=10, deadline=None)
@given(st.lists(st.one_of(KEEP, FORGET, st.just(("reopen",))), max_size=8), st.integers(1, 3))
def test_stored_captions_keep_their_order(steps: list[tuple[Any, ...]], limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder))
        expected: dict[str, StoredCaption] = {}
        origins: dict[str, dict[str, str]] = {}
        for step in steps:
            if step[0] == "keep":
                store.save_captions(step[1], step[2])
                expected.update({entry.path: entry for entry in step[1]})
                origins.update(step[2])
            elif step[0] == "forget":
                store.delete_captions(step[1])
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


def test_thousands_are_stored_at_once(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    entries = [StoredCaption(f"/p/{i}.png", i, text=f"caption {i}") for i in range(900)]
    store.save_captions(entries, {})
    store.delete_captions([entry.path for entry in entries[:500]])
    assert read_all(store, 500) == entries[500:]
    store.close()


@pytest.mark.parametrize("text", ["[" * 200_000, "{", "5", '{"a": ' + "9" * 5000 + "}"])
def test_unreadable_parts_of_a_row_are_omitted(tmp_path: Path, text: str) -> None:
    store = Store.open(tmp_path)
    store.save_captions([StoredCaption("/a.png", 0, text="typed", origin="hand")], {"k": {"model": "m"}})
    with sqlite3.connect(store.local_file) as database:
        database.execute(f"UPDATE {CaptionedImageRow.__tablename__} SET made = ?", (text,))
        database.execute(f"UPDATE {CaptionOriginRow.__tablename__} SET content = ?", (text,))
    assert store.captions()[0] == [StoredCaption("/a.png", 0, text="typed", origin="hand")]
    assert store.caption_origins() == {"k": {}}
    store.close()


ODD = "/images/\udcff '.png"  # a name that is not text


def wrong(path: str, caption: str, **more: str) -> Fix:
    return Fix.model_validate({"kind": "wrong", "path": path, "caption": caption, "found": 5.0} | more)


def held(store: Store) -> list[tuple[str, Fix]]:
    return [(one.source, one.fix) for one in store.fixes()]


def test_the_basket_survives_a_restart_and_the_newest_fix_of_a_pair_counts(
    open_store: OpenStore, tmp_path: Path
) -> None:
    store = open_store(tmp_path / "home")
    first = [wrong(ODD, "a cat", panel="Clean", run="/runs/x"), wrong("/b.png", "a dog")]
    store.add_fixes("/data.csv", first)
    store.add_fixes("/other.csv", first[:1])
    renamed = Fix(kind="recaptioned", path=ODD, caption="a cat", value="a\0 tiger", panel="Caption", found=6.0)
    change = store.add_fixes("/data.csv", [wrong(ODD, "a cat"), renamed])
    assert [one.fix for one in change.removed] == first[:1]
    clean = renamed.model_copy(update={"value": "a tiger"})
    wanted = [("/data.csv", first[1]), ("/other.csv", first[0]), ("/data.csv", clean)]
    assert held(open_store(tmp_path / "home")) == wanted
    assert store.fix_count() == 3


def test_changes_of_the_basket_are_undone_step_by_step(store: Store) -> None:
    """Down to the empty basket; a restored entry has another id, and is still undone."""
    done = [store.add_fixes("/d.csv", [wrong(f"/{i}.png", "x") for i in range(250)])]
    done.append(store.add_fixes("/d.csv", [Fix(kind="recaptioned", path="/7.png", caption="x", value="y", found=1.0)]))
    done.append(store.remove_fixes([one.id for one in store.fixes()]))
    assert store.fixes() == ()
    for left, change in zip((250, 250, 0), reversed(done), strict=True):
        store.change_basket(BasketChange(added=change.removed, removed=change.added))
        assert store.fix_count() == left
        if left:
            kinds = {one.fix.kind for one in store.fixes() if one.fix.path == "/7.png"}
            assert kinds == ({"recaptioned"} if change is done[2] else {"wrong"})


def test_the_last_result_of_a_run_and_its_data_is_found_again(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(tmp_path / "home")
    for pairs in (1, 2):
        store.save_result("clean", "/runs/a", "/d.csv", {"pairs": pairs, "names": [ODD]})
    found = open_store(tmp_path / "home").last_result("clean", "/runs/a", "/d.csv")
    assert found is not None
    assert (found.subject, found.data, dict(found.content)) == ("/runs/a", "/d.csv", {"pairs": 2, "names": [ODD]})
