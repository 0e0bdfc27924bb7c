"""Rows of a source: filtered, excluded, taken back, kept until the next start."""

from __future__ import annotations

from pathlib import Path

from sdgui.panels.data import exclusions
from sdgui.panels.data.figures import caption_bars, word_bars
from sdgui.panels.data.groups import groups_of, marked_rows
from sdgui.panels.data.model import NONE, Filter, SourceRows
from sdgui.worker.data_verbs import Checked


def rows() -> SourceRows:
    found = SourceRows("/pairs.csv")
    found.append(["/a", "/b"], [["A red Hat", "hat"], ["a blue hat"]], {"kind": ["hat", ""]})
    assert list(found.append(["/c", "/d"], [["a red boat"], []], {"kind": ["boat", "hat"]})) == [2, 3]
    return found


def test_rows_are_found_by_words_labels_and_what_they_are() -> None:
    found = rows()
    assert found.filtered(Filter("RED hat")) == [0]
    assert found.filtered(Filter("red"), range(2, 4)) == [2]
    assert found.filtered(Filter(label="kind", value="hat")) == [0, 3]
    assert found.filtered(Filter(label="kind", value=NONE)) == [1]
    assert found.values("kind") == ["boat", "hat", NONE]
    assert found.filtered(Filter(subset="uncaptioned")) == [3]
    found.exclude([1, 2])
    assert found.filtered(Filter(subset="kept")) == [0, 3]
    assert found.filtered(Filter(subset="excluded")) == [1, 2]
    found.marked = {"broken": frozenset({3})}
    assert found.filtered(Filter(subset="broken")) == [3]
    assert found.filtered(Filter(subset="duplicates")) == []


def test_a_label_that_only_later_rows_have_is_theirs() -> None:
    found = SourceRows("/pairs.csv")
    found.append(["/a", "/b"], [[], []], {})
    found.append(["/c"], [[]], {"kind": ["hat"]})
    assert found.filtered(Filter(label="kind", value="hat")) == [2]
    assert found.values("kind") == ["hat", NONE]


def test_exclusions_are_taken_back_one_by_one() -> None:
    found = rows()
    assert found.toggle([0, 1]) == [0, 1]
    assert found.toggle([1, 2]) == [2]  # not all were out: all are now
    assert found.toggle([1, 2]) == [1, 2]
    assert found.excluded_paths() == ["/a"]
    assert sorted(found.undo()) == [1, 2]
    assert found.exclude([0]) == [], "it is out"
    assert found.undo() == [2]
    assert found.undo() == [0, 1]
    assert (found.undo(), found.excluded) == ([], set())


def test_of_copies_the_first_that_is_kept_stays() -> None:
    found = rows()
    found.exclude([0])
    assert found.copies([[0, 1, 2], [3]]) == [2]


def test_exclusions_outlive_the_window(tmp_path: Path) -> None:
    tmp_path = tmp_path / "home" / "that is new"
    exclusions.write(tmp_path, "/pairs.csv", ["/a", "/b\udc80"])
    assert exclusions.read(tmp_path, "/pairs.csv") == ["/a", "/b\udc80"]
    assert exclusions.read(tmp_path, "/other.csv") == []
    kept = exclusions.file_of(tmp_path, "/pairs.csv").relative_to(tmp_path)
    assert kept == Path("exclusions/254087f22f0fca736cf06af946d920d0.json"), "where every version looks for them"
    exclusions.file_of(tmp_path, "/pairs.csv").write_text('{"excluded": 3}')
    assert exclusions.read(tmp_path, "/pairs.csv") == []
    exclusions.write(tmp_path, "/pairs.csv", [])
    assert not exclusions.file_of(tmp_path, "/pairs.csv").exists()


def test_groups_name_leaks_copies_and_near_copies() -> None:
    leak = {"row": 1, "file": "/b", "left": "this", "other": "val", "path": "/v", "kind": "same bytes"}
    checked: Checked = {
        "source": "/pairs.csv", "pictures": 4, "broken": [{"row": 3, "why": "cut off"}], "exact": [[0, 2]],
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
