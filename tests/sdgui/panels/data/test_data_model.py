"""Rows of a source: filtered, excluded, taken back, kept until the next start."""

from __future__ import annotations

from pathlib import Path

from sdgui.panels.data import exclusions
from sdgui.panels.data.figures import caption_bars, word_bars
from sdgui.panels.data.groups import groups_of, marked_rows
from sdgui.panels.data.model import NONE, Filter, SourceRows
from sdgui.worker.data_verbs import Checked


def rows() -> SourceRows:
    source_rows = SourceRows("/pairs.csv")
    source_rows.append(["/a", "/b"], [["A red Hat", "hat"], ["a blue hat"]], {"kind": ["hat", ""]})
    assert list(source_rows.append(["/c", "/d"], [["a red boat"], []], {"kind": ["boat", "hat"]})) == [2, 3]
    return source_rows


def test_rows_are_found_by_words_labels_and_what_they_are() -> None:
    source_rows = rows()
    assert source_rows.filtered(Filter("RED hat")) == [0]
    assert source_rows.filtered(Filter("red"), range(2, 4)) == [2]
    assert source_rows.filtered(Filter(label="kind", value="hat")) == [0, 3]
    assert source_rows.filtered(Filter(label="kind", value=NONE)) == [1]
    assert source_rows.values("kind") == ["boat", "hat", NONE]
    assert source_rows.filtered(Filter(subset="uncaptioned")) == [3]
    source_rows.exclude([1, 2])
    assert source_rows.filtered(Filter(subset="kept")) == [0, 3]
    assert source_rows.filtered(Filter(subset="excluded")) == [1, 2]
    source_rows.marked = {"broken": frozenset({3})}
    assert source_rows.filtered(Filter(subset="broken")) == [3]
    assert source_rows.filtered(Filter(subset="duplicates")) == []


def test_a_label_that_only_later_rows_have_is_theirs() -> None:
    source_rows = SourceRows("/pairs.csv")
    source_rows.append(["/a", "/b"], [[], []], {})
    source_rows.append(["/c"], [[]], {"kind": ["hat"]})
    assert source_rows.filtered(Filter(label="kind", value="hat")) == [2]
    assert source_rows.values("kind") == ["hat", NONE]


def test_exclusions_are_taken_back_one_by_one() -> None:
    source_rows = rows()
    assert source_rows.toggle([0, 1]) == [0, 1]
    assert source_rows.toggle([1, 2]) == [2]  # not all were out: all are now
    assert source_rows.toggle([1, 2]) == [1, 2]
    assert source_rows.excluded_paths() == ["/a"]
    assert sorted(source_rows.undo()) == [1, 2]
    assert source_rows.exclude([0]) == [], "it is out"
    assert source_rows.undo() == [2]
    assert source_rows.undo() == [0, 1]
    assert (source_rows.undo(), source_rows.excluded) == ([], set())


def test_of_copies_the_first_that_is_kept_stays() -> None:
    source_rows = rows()
    source_rows.exclude([0])
    assert source_rows.copies([[0, 1, 2], [3]]) == [2]


def test_exclusions_outlive_the_window(tmp_path: Path) -> None:
    tmp_path = tmp_path / "home" / "that is new"
    exclusions.write(tmp_path, "/pairs.csv", ["/a", "/b\udc80"])
    assert exclusions.read(tmp_path, "/pairs.csv") == ["/a", "/b\udc80"]
    assert exclusions.read(tmp_path, "/other.csv") == []
    exclusion_file = exclusions.file_of(tmp_path, "/pairs.csv").relative_to(tmp_path)
    assert exclusion_file == Path("exclusions/254087f22f0fca736cf06af946d920d0.json"), (
        "where every version looks for them"
    )
    exclusions.file_of(tmp_path, "/pairs.csv").write_text('{"excluded": 3}')
    assert exclusions.read(tmp_path, "/pairs.csv") == []
    exclusions.write(tmp_path, "/pairs.csv", [])
    assert not exclusions.file_of(tmp_path, "/pairs.csv").exists()


def test_groups_name_leaks_copies_and_near_copies() -> None:
    leak = {"row": 1, "file": "/b", "left": "this", "other": "val", "path": "/v", "kind": "same bytes"}
    checked: Checked = {
        "source": "/pairs.csv", "images": 4, "broken": [{"row": 3, "why": "cut off"}], "exact": [[0, 2]],
        "near": [[0, 1, 3]], "exact_groups": 1, "near_groups": 1, "leak_count": 1, "unread": {},
        "leaks": [leak],  # type: ignore[list-item]
    }  # fmt: skip
    assert [group.title("kite") for group in groups_of(checked)] == [
        "exact duplicate in val · kite",
        "2 exact duplicates · kite",
        "3 nearly the same · kite",
    ]
    assert marked_rows(checked) == {"duplicates": frozenset({0, 1, 2, 3}), "broken": frozenset({3})}


def test_bars_end_with_the_longest_caption() -> None:
    words = [0] * 65
    words[2], words[64] = 3, 1
    bars = word_bars(words)
    assert (bars[1].value, bars[-1].label, bars[-1].value, len(bars)) == (3, "64+", 1, 64)
    assert [bar.label for bar in caption_bars([[1, 7], [5, 2]])] == ["1", "5"]
