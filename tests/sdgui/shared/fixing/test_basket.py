"""The basket against a dictionary: whatever is put in, taken out and undone, in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtWidgets import QApplication
from sqlalchemy import update

from core.spec.data.fixes import Fix
from sdgui.runs.background_tasks import StoreWriter
from sdgui.shared.basket import Basket, Finding
from sdgui.shared.fixing.items import counts_line, entries_for, item, sources_of
from sdgui.store.local.fixes import StoredFix
from sdgui.store.store import Store
from sdgui.store.tables import FixRow

Held = dict[tuple[str, str, str, str], Fix]

FIXES = st.builds(
    Fix,
    kind=st.sampled_from(("wrong", "recaptioned", "excluded", "relabelled")),
    path=st.sampled_from(("/a.png", "/b.png")),
    caption=st.sampled_from(("", "a cat")),
    label=st.sampled_from(("", "kind")),
    value=st.sampled_from(("x", "y")),
    found=st.sampled_from((5.0, 6.0)),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.tuples(st.sampled_from(("", "/d.csv", "/e.csv")), st.lists(FIXES, max_size=4))),
        st.tuples(st.just("take"), st.lists(st.integers(0, 5), max_size=3, unique=True)),
        st.tuples(st.just("undo"), st.none()),
    ),
    max_size=8,
)


class Writer:
    """Writes at once, in the thread of who asks."""

    def submit(
        self, write: Callable[[], Any], done: Callable[[Any], object] | None = None, _failed: Any = None
    ) -> None:
        result = write()
        if done is not None:
            done(result)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "home")
    yield store
    store.close()


def held(store: Store) -> Held:
    return {(entry.source, entry.fix.path, entry.fix.caption, entry.fix.label): entry.fix for entry in store.fixes()}


def test_undo_goes_back_step_by_step_after_any_action(qapp: QApplication, store: Store) -> None:
    @settings(max_examples=15)
    @given(STEPS)
    def holds(steps: list[tuple[str, Any]]) -> None:
        store.remove_fixes([entry.id for entry in store.fixes()])
        basket = Basket(store, cast(StoreWriter, Writer()))
        counts: list[int] = []
        basket.changed.connect(counts.append)
        states: list[Held] = [{}]
        for name, argument in steps:
            if name == "put" and argument[1]:
                basket.add(Finding(argument[0], tuple(argument[1])))
                new = {(argument[0], fix.path, fix.caption, fix.label): fix for fix in argument[1]}
                states.append(states[-1] | new)
            elif name == "take":
                taken_entries = [entry for index, entry in enumerate(store.fixes()) if index in argument]
                basket.remove([entry.id for entry in taken_entries])
                gone = {(entry.source, entry.fix.path, entry.fix.caption, entry.fix.label) for entry in taken_entries}
                states += [{key: fix for key, fix in states[-1].items() if key not in gone}] if taken_entries else []
            elif name == "undo":
                assert basket.can_undo == (len(states) > 1)
                basket.undo()
                states[1:] = states[1:-1]
            assert held(store) == states[-1]
            assert basket.count == len(states[-1])
            assert not counts or counts[-1] == len(states[-1])

    holds()


def test_a_fix_without_a_time_is_dated_now_and_a_source_has_one_spelling(
    qapp: QApplication, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "d.csv").touch()
    (tmp_path / "link.csv").symlink_to(tmp_path / "d.csv")
    basket = Basket(store, cast(StoreWriter, Writer()))
    for spelled in (tmp_path / "link.csv", tmp_path / "home" / ".." / "d.csv"):
        basket.add(Finding(str(spelled), (Fix(kind="wrong", path="/a.png"),)))
    (entry,) = store.fixes()
    assert entry.source == str((tmp_path / "d.csv").resolve())
    assert entry.fix.found > 1e9
    shards = "/data/{00000..00003}.tar"
    basket.add(Finding(shards, (Fix(kind="wrong", path="/a.png"),)))
    assert [entry.source for entry in store.fixes()][1:] == [shards]


def test_an_entry_of_a_later_version_is_named_and_kept(store: Store) -> None:
    store.add_fixes("/d.csv", [Fix(kind="wrong", path="/a.png")])
    with store._write_local() as session:
        session.execute(update(FixRow).values(kind="cropped"))
    (entry,) = store.fixes()
    assert (entry.unknown_kind, item(entry, 1).badge) == ("cropped", "of a later version")
    assert "cropped" in item(entry, 1).detail
    assert counts_line([entry]) == "1 change: 1 of a later version"


def test_entries_without_data_count_for_every_source() -> None:
    def entry(number: int, source: str, kind: str = "wrong") -> StoredFix:
        return StoredFix(number, source, Fix.model_validate({"kind": kind, "path": f"/{number}.png"}))

    entries = [entry(0, "/d"), entry(1, ""), entry(2, "/e"), entry(3, "/e", "excluded")]
    assert sources_of(entries) == [("/e", 3), ("/d", 2)]
    assert [entry.id for entry in entries_for(entries, "/e")] == [1, 2, 3]
    assert [entry.id for entry in entries_for(entries, "")] == [1]
    assert sources_of(entries[1:2]) == [("", 1)]
    assert sources_of([]) == []
    assert counts_line(entries[2:]) == "2 changes: 1 wrong · 1 left out"
    assert counts_line([]) == "no changes"
