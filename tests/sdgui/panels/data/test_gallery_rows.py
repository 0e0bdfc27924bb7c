"""Whatever is read, filtered, excluded and undone, in any order, the gallery shows what a plain list of rows says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytestqt.qtbot import QtBot

from sdgui.panels.data import gallery_rows as showing
from sdgui.panels.data.gallery_rows import GalleryRows
from sdgui.panels.data.model import NO_VALUE, Filter, SourceRows
from sdgui.widgets.gallery.gallery import Gallery, GalleryItem

CAPTIONS = ((), ("A red Hat",), ("a red boat", "a boat"))
KINDS = ("", "hat", "boat")
FILTERS = [
    *(Filter(subset=subset) for subset in ("all", "kept", "excluded", "uncaptioned", "duplicates", "broken")),
    Filter("red"), Filter("boat RED"), Filter(label="kind", value="hat"), Filter(label="kind", value=NO_VALUE),
    Filter("a", "kind", "boat", "kept"),
]  # fmt: skip
ROWS = st.lists(st.integers(0, 11), max_size=6, unique=True)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 5)),
        st.tuples(st.just("filter"), st.sampled_from(FILTERS)),
        st.tuples(st.just("toggle"), ROWS),
        st.tuples(st.just("exclude"), ROWS),
        st.tuples(st.just("include"), ROWS),
        st.tuples(st.just("undo"), st.none()),
    ),
    max_size=12,
)


@dataclass
class Plain:
    """Rows as a list of facts, exclusions as a list of states."""

    rows: list[tuple[int, tuple[str, ...], str]] = field(default_factory=list)
    states: list[frozenset[int]] = field(default_factory=lambda: [frozenset()])

    def change(self, to: frozenset[int]) -> None:
        if to != self.states[-1]:
            self.states.append(to)

    def matches(self, by: Filter, row: int) -> bool:
        _, captions, kind = self.rows[row]
        words = all(any(word in caption.casefold() for caption in captions) for word in by.words.casefold().split())
        label = not by.label or kind == ("" if by.value == NO_VALUE else by.value)
        out = row in self.states[-1]
        by_subset = {
            "all": True,
            "kept": not out,
            "excluded": out,
            "uncaptioned": not captions,
            "duplicates": row % 3 == 0,
        }
        return words and label and by_subset.get(by.subset, False)


class Items:
    """What a `Gallery` does with its items, without drawing them: drawing takes a tenth of a second an example."""

    def __init__(self) -> None:
        self.items: list[GalleryItem] = []
        self.chosen: list[int] = []

    def set_items(self, items: list[GalleryItem]) -> None:
        self.items = list(items)

    def append(self, items: list[GalleryItem]) -> None:
        self.items += items

    def replace(self, index: int, item: GalleryItem) -> None:
        self.items[index] = item

    def visible_rows(self) -> range:
        return range(1, 3)

    def selected(self) -> list[int]:
        return self.chosen


def test_the_gallery_matches_a_plain_list(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing, "_ROWS_PER_UPDATE", 2)

    @settings(max_examples=20)
    @given(STEPS)
    def holds(steps: list[tuple[str, Any]]) -> None:
        follow(steps)

    holds()


def follow(steps: list[tuple[str, Any]]) -> None:
    plain, by, gallery = Plain(), Filter(), Items()
    rows = SourceRows("/pairs.csv", problem_rows={"duplicates": frozenset(range(0, 60, 3))})
    gallery_rows = GalleryRows(cast(Gallery, gallery))
    gallery_rows.begin(rows)
    for name, argument in steps:
        existing = [row for row in argument if row < len(rows)] if isinstance(argument, list) else []
        out = plain.states[-1]
        if name == "add":
            first = len(rows)
            new = [(row, CAPTIONS[row % 3], KINDS[row // 2 % 3]) for row in range(first, first + argument)]
            plain.rows += new
            kinds = {"kind": [kind for _, _, kind in new]}
            gallery_rows.add(
                rows.append([f"/{row}.png" for row, _, _ in new], [list(captions) for _, captions, _ in new], kinds)
            )
            continue
        if name == "filter":
            by = argument
            gallery_rows.filter(by)
            continue
        if name == "undo":
            changed = rows.undo()
            plain.states[-1:] = [] if len(plain.states) > 1 else plain.states[-1:]
        elif name == "toggle":
            changed = rows.toggle(existing)
            plain.change(out - frozenset(existing) if out.issuperset(existing) else out | frozenset(existing))
        else:
            changed = rows.exclude(existing, name == "exclude")
            plain.change(out | frozenset(existing) if name == "exclude" else out - frozenset(existing))
        assert set(changed) == plain.states[-1] ^ out
        gallery_rows.renew(changed)
        while gallery_rows._stale:
            gallery_rows._renew_some()
    expected = [row for row in range(len(plain.rows)) if plain.matches(by, row)]
    assert rows.excluded == plain.states[-1]
    assert gallery_rows.numbers == expected
    assert [(str(item.path), item.faint) for item in gallery.items] == [
        (f"/{row}.png", row in plain.states[-1]) for row in expected
    ]
    gallery.chosen = list(range(0, len(expected), 2))
    assert gallery_rows.chosen() == expected[::2]
    assert rows.excluded_paths() == [f"/{row}.png" for row in sorted(plain.states[-1])]


def test_large_tables_are_not_traversed_by_the_collector_and_refreshed_in_batches(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen: list[int] = []
    monkeypatch.setattr(showing, "_FREEZE_INTERVAL", 4)
    monkeypatch.setattr(showing, "_ROWS_PER_UPDATE", 2)
    monkeypatch.setattr(showing.gc, "freeze", lambda: frozen.append(len(rows)))
    rows, gallery = SourceRows("/pairs.csv"), Items()
    gallery_rows = GalleryRows(cast(Gallery, gallery))
    gallery_rows.begin(rows)
    for number in (3, 2, 2, 1, 1):
        gallery_rows.add(rows.append([f"/{number}"] * number, [["c"]] * number, {}))
    assert frozen == [5, 8], "each time that so many more are there"
    gallery_rows.renew(rows.exclude(range(6)))
    faint = [item.faint for item in gallery.items]
    assert faint == [True, True, True, *[False] * 6], "those in view at once, and the first"
    qtbot.waitUntil(lambda: [item.faint for item in gallery.items] == [True] * 6 + [False] * 3)
    gallery_rows.renew(rows.undo())
    gallery_rows.begin(SourceRows("/other.csv"))
    assert (gallery_rows._stale, gallery_rows.numbers, gallery.items) == ({}, [], [])
    gallery_rows.begin(rows)
    gallery_rows.add(range(9))
    gallery_rows.renew(rows.exclude(range(4)))
    fewer = SourceRows("/fewer.csv")
    gallery_rows.begin(fewer)
    gallery_rows.add(fewer.append(["/0"], [["c"]], {}))
    gallery_rows._renew_some()
    assert [item.faint for item in gallery.items] == [False], "what waits of the source before is dropped"
