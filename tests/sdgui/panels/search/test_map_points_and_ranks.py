"""Map points, evaluation queries and results: names, colours, orders and texts."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from sdgui.panels.search import results
from sdgui.panels.search.model import Query
from sdgui.panels.search.tabs.known_queries import (
    Known,
    KnownModel,
    known_images,
    known_pairs,
    known_texts,
    rank_text,
)
from sdgui.panels.search.tabs.map_points import MapPoints, Name
from sdgui.widgets.style.theme import theme


def packed(values: list[float], kind: str) -> str:
    return base64.b64encode(np.array(values, kind).tobytes()).decode()


def large(**changed: Any) -> MapPoints:
    """Images 7, 9 and 4, and captions 2 (of 9) and 5 (of 4), whose names are to be asked for."""
    raw = {
        "x": packed([0, 1, 2, 3, 4], "<f4"),
        "y": packed([5, 6, 7, 8, 9], "<f4"),
        "rows": packed([7, 9, 4], "<i4"),
        "texts": packed([2, 5], "<i4"),
        "owners": packed([9, 4], "<i4"),
        "labels": {"kind": {"values": ["cat", "dog"], "codes": packed([0, 1, -1], "<i4")}},
    }
    return MapPoints.of({"method": "t-SNE", "packed": raw | changed})


def test_points_of_a_large_map_are_named_on_request() -> None:
    points = large()
    assert (len(points), points.method, points.places[3].tolist()) == (5, "t-SNE", [3.0, 8.0])
    assert [points.name(index) for index in range(5)] == [None] * 5
    assert points.unnamed([0, 3, 4, 3]) == ([7, 9, 4], [2, 5])
    assert points.unnamed([1]) == ([9], [])
    images = [
        {"row": 9, "path": "/b.png", "caption": "", "labels": {"kind": "dog", "other": ""}},
        {"row": 4, "path": "/c.png", "caption": "a cat", "labels": {}},
    ]
    points.know({"images": images, "captions": [{"text": 2, "caption": "a dog"}]})
    assert points.name(1) == Name("/b.png", "kind: dog", 9, False)
    assert points.name(2) == Name("/c.png", "a cat", 4, False)
    assert points.name(3) == Name("/b.png", "a dog", 9, True)
    assert points.name(4) is None, "its words are not known"
    assert points.unnamed(range(5)) == ([7, 4], [5])
    assert (points.of_path("/c.png"), points.of_path("/no.png")) == ([2], [])
    assert (points.row_of("/b.png"), points.row_of("/no.png")) == (9, -1)


@pytest.mark.parametrize("changed", [{"rows": packed([7, 9], "<i4")}, {"owners": packed([9], "<i4")}])
def test_a_map_with_mismatched_parts_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        large(**changed)


def small() -> MapPoints:
    images = [
        {"x": 0, "y": 0, "row": row, "path": f"/{row}.png", "labels": labels}
        for row, labels in enumerate(
            [{"kind": "cat"}, {"kind": "dog"}, {"kind": "dog"}, {"kind": "cow"}, {"kind": "", "all": "x"}, {"all": "x"}]
        )
    ]
    captions = [{"x": 1, "y": 2, "row": 1, "caption": "a dog"}, {"x": 1, "y": 2, "row": 3, "caption": "a cow"}]
    return MapPoints.of({"method": "PCA", "images": images, "captions": captions})


def test_frequent_values_have_their_own_colours() -> None:
    points = small()
    assert points.telling_labels() == ["kind"], "all images have the other one in common"
    colors, legend = points.colors("kind", 1, 9)
    assert (colors, legend) == ([9, 0, 0, 9, 9, 9, 0, 9], [("dog", 0), ("2 others", 9)])
    colors, legend = points.colors("kind", 3, 9)
    assert dict(legend) == {"dog": 0, "cat": 1, "cow": 2}
    assert colors == [1, 0, 0, 2, 9, 9, 0, 2]
    assert points.colors("", 3, 9) == ([0] * 6 + [1] * 2, [("images", 0), ("captions", 1)])
    alone = MapPoints(rows=np.arange(2))
    assert alone.colors("", 3, 9) == ([0, 0], [])
    assert points.name(1) == Name("/1.png", "a dog", 1, False)
    assert points.name(0) == Name("/0.png", "kind: cat", 0, False)
    assert points.name(7) == Name("/3.png", "a cow", 3, True)


def side(**ranks: float) -> dict[str, Any]:
    rows = [
        {"caption": name, "path": f"/{name}.png", "row": 1, "text": 3, "rank": rank} for name, rank in ranks.items()
    ]
    images = [
        {"captions": [name, "more"], "path": f"/{name}.png", "row": 2, "rank": rank} for name, rank in ranks.items()
    ]
    return {"text_to_image": rows, "image_to_text": images}


def test_known_answers_of_two_models_are_matched() -> None:
    found = known_texts([side(a=3, b=1), side(b=2, c=9)])
    assert found == [Known("a", "/a.png", 1, 3, (3.0, None)), Known("b", "/b.png", 1, 3, (1.0, 2.0))]
    assert [one.moved for one in found] == [None, -1.0]
    assert known_images([side(a=3)]) == [Known("a / more", "/a.png", 2, -1, (3.0,))]
    assert known_texts([]) == []
    row = {"caption": "a", "path": "/a.png", "rank_a": 5.0, "rank_b": 1.0, "text_a": 8, "text_b": 2}
    assert known_pairs({"only_a": [], "only_b": [row]}) == [Known("a", "/a.png", -1, 8, (5.0, 1.0))]
    assert (rank_text(1200.0), rank_text(1.5)) == ("1\u2009200", "1.5")


def test_known_answers_sort_by_title_rank_and_movement(qtbot: QtBot) -> None:
    known = [
        Known("b", "/b", 0, 0, (1.0, 4.0)),
        Known("A", "/a", 1, 1, (2.5, None)),
        Known("c", "/c", 2, 2, (9.0, 1.0)),
        Known("d", "/d", 3, 3, (3.0, 3.0)),
    ]
    model = KnownModel()
    model.set_queries(known, "Caption", ["one", "two"])

    def titles() -> list[str]:
        return [str(model.index(row, 0).data()) for row in range(model.rowCount())]

    assert titles() == ["A", "b", "c", "d"]
    model.sort(1, Qt.SortOrder.DescendingOrder)
    assert titles() == ["c", "d", "A", "b"]
    model.sort(2)
    assert titles() == ["c", "d", "b", "A"], "a rank that is not known comes last"
    model.sort(3, Qt.SortOrder.DescendingOrder)
    assert titles() == ["c", "d", "b", "A"]
    cells = [[model.index(row, column).data() for column in range(1, 4)] for row in range(4)]
    assert cells == [["9", "1", "▲ 8"], ["3", "3", ""], ["1", "4", "▼ 3"], ["2.5", "–", ""]]
    tips = [model.index(row, 3).data(Qt.ItemDataRole.AccessibleTextRole) for row in range(4)]
    assert tips == ["8 ranks higher than with one", None, "3 ranks lower than with one", None]
    tip, side, ink = (
        Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.TextAlignmentRole, Qt.ItemDataRole.ForegroundRole
    )  # fmt: skip
    assert [model.index(row, 3).data(tip) for row in range(2)] == ["8 ranks higher than with one", None]
    assert [model.index(0, column).data(tip) for column in range(2)] == ["c", None]
    assert [model.headerData(column, Qt.Orientation.Horizontal) for column in range(4)] == [
        "Caption", "one", "two", "Moved"
    ]  # fmt: skip
    assert [model.headerData(column, Qt.Orientation.Horizontal, tip) for column in range(4)] == [
        None, "Rank that one gives the correct answer; 1 is first",
        "Rank that two gives the correct answer; 1 is first", "By how many ranks two is better than one",
    ]  # fmt: skip
    for sides in (
        [model.headerData(column, Qt.Orientation.Horizontal, side) for column in range(3)],
        [model.index(0, column).data(side) or Qt.AlignmentFlag.AlignLeft for column in range(3)],
    ):
        assert [bool(one & Qt.AlignmentFlag.AlignRight) for one in sides] == [False, True, True]
    look = theme()
    inks = [[model.index(row, column).data(ink) for column in range(4)] for row in (0, 1, 2)]
    assert inks == [
        [None, None, look.color("good"), look.color("good")], [None] * 4,
        [None, look.color("good"), None, look.color("error")],
    ]  # fmt: skip
    assert (model.rowCount(model.index(0, 0)), model.columnCount(model.index(0, 0))) == (0, 0)
    arranged: list[None] = []
    model.arranged.connect(lambda: arranged.append(None))
    model.set_filter("B")
    assert titles() == ["b"]
    model.sort(0)
    assert len(arranged) == 2
    model.set_filter("")
    model.set_queries(known[:1], "Image", ["one"])
    assert model.columnCount() == 2
    assert [model.heading(column, Qt.ItemDataRole.DisplayRole) for column in range(2)] == ["Image", "one"]


def row(rank: int, **more: Any) -> dict[str, Any]:
    return {
        "path": f"/{rank}.png",
        "caption": "c",
        "rank": rank,
        "row": rank,
        "duplicates": [],
        "above_cutoff": True,
    } | more


@pytest.mark.parametrize(
    ("other", "duplicates", "badge", "spoken"),
    [
        (None, 0, "", ""),
        ({"/2.png": 2}, 0, "", ""),
        ({"/2.png": 3}, 0, "▲ 1", "1 rank higher than with B"),
        ({"/2.png": 9}, 0, "▲ 7", "7 ranks higher than with B"),
        ({"/2.png": 1}, 2, "▼ 1 · +2", "1 rank lower than with B, 2 near-identical"),
        ({}, 1, "only here · +1", "not found by B, 1 near-identical"),
    ],
)
def test_badges(other: dict[str, int] | None, duplicates: int, badge: str, spoken: str) -> None:
    copies = [{"path": f"/copy{number}.png"} for number in range(duplicates)]
    assert results._badges(row(2, duplicates=copies), other, "B") == (badge, spoken)


def test_ranks_of_another_model_are_found_by_image_and_by_caption() -> None:
    folded = [{"path": "/9.png", "rank": 4}]
    answer = {"rows": [row(1, duplicates=folded), row(2, text=7, caption="words"), row(3)]}
    assert results.ranks_of(answer) == {"/1.png": 1, "/9.png": 4, "/2.png\nwords": 2, "/3.png": 3}


def test_the_dashed_line_is_before_the_first_result_below_the_threshold() -> None:
    rows = [row(1, cosine=0.5), row(2, cosine=0.4, above_cutoff=False), row(3, cosine=0.3, above_cutoff=False)]
    rows = [one | {"softmax": 0.1} for one in rows]
    answer = {"rows": rows, "cutoff": {"cosine": 0.45}, "true_row": 3}
    items = results.items(answer, Query())
    assert [item.score for item in items] == [0.5, 0.4, 0.3]
    assert [item.correct for item in items] == [None, None, True]
    assert [(item.faint, item.line) for item in items] == [(False, False), (True, True), (True, False)]
    assert [item.badge_spoken for item in items] == ["", "below the cut-off", "below the cut-off"]
    assert [item.score for item in results.items(answer, Query(), "rank")] == [None] * 3
    below = answer | {"rows": rows[1:]}
    assert not results.items(below, Query())[0].line, "nothing is above it"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "no file"), (1, "1 KB"), (1600, "2 KB"), ((1 << 20) - 1, "1024 KB"), (1 << 20, "1.0 MB"), (3 << 19, "1.5 MB")],
)
def test_file_sizes_as_text(size: int, text: str) -> None:
    assert results.file_size(size) == text
    assert results.file_time(0.0) == results.file_time(1e20) == ""
    assert results.file_time(1.7e9).startswith("2023-11-1")


@pytest.mark.parametrize(
    ("rank", "line"),
    [
        (None, "Correct image: not among the first 2 of 790"),
        (1.0, "Correct image: rank 1 of 790 ✓"),
        (2.0, "Correct image: rank 2 of 790"),
        (2.5, "Correct image: rank 2.5 of 790, not among these"),
        (30.0, "Correct image: rank 30 of 790, not among these"),
    ],
)
def test_the_line_of_the_correct_image(rank: float | None, line: str) -> None:
    answer = {"rows": [row(1), row(2)], "searched": 790}
    assert results.true_line(rank, answer, Query(true_path="/x.png")) == line
    assert results.true_line(rank, answer, Query()) == ""


def test_the_summary_above_the_results() -> None:
    answer = {"rows": [row(1)], "cutoff": {"cosine": 0.2434, "meaning": "one in ten"}, "above": 12, "searched": 790}
    assert results.cutoff_line(answer, Query())[0] == "12 above the cut-off 0.243 · 790 images"
    text, tip = results.cutoff_line(answer, Query(find="captions"))
    assert text.endswith("790 captions")
    assert tip.startswith("One in ten. Results below")
    assert results.cutoff_line(answer | {"rows": []}, Query())[0] == "no image matches the filters"
