"""Map points, evaluation queries and results: names, colours, orders and texts."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from sdgui.panels.search import results
from sdgui.panels.search.model import Query
from sdgui.panels.search.tabs.known_queries import (
    KnownQuery,
    known_images,
    known_pairs,
    known_texts,
)
from sdgui.panels.search.tabs.map_density import SHARES, density
from sdgui.panels.search.tabs.map_points import MapPoints, Name


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
    assert (len(points), points.method, points.positions[3].tolist()) == (5, "t-SNE", [3.0, 8.0])
    assert [points.name(index) for index in range(5)] == [None] * 5
    assert points.unnamed([0, 3, 4, 3]) == ([7, 9, 4], [2, 5])
    assert points.unnamed([1]) == ([9], [])
    images = [
        {"row": 9, "path": "/b.png", "caption": "", "labels": {"kind": "dog", "other": ""}},
        {"row": 4, "path": "/c.png", "caption": "a cat", "labels": {}},
    ]
    points.add_names({"images": images, "captions": [{"text": 2, "caption": "a dog"}]})
    assert points.name(1) == Name("/b.png", "kind: dog", 9, False)
    assert points.name(2) == Name("/c.png", "a cat", 4, False)
    assert points.name(3) == Name("/b.png", "a dog", 9, True)
    assert points.name(4) is None, "its words are not known"
    assert points.unnamed(range(5)) == ([7, 4], [5])
    assert (points.indices_of_path("/c.png"), points.indices_of_path("/no.png")) == ([2], [])
    assert (points.row_of("/b.png"), points.row_of("/no.png")) == (9, -1)


@pytest.mark.parametrize("changed", [{"rows": packed([7, 9], "<i4")}, {"owners": packed([9], "<i4")}])
def test_a_map_with_mismatched_parts_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="of the map differ"):
        large(**changed)


def test_a_group_is_named_where_it_is_densest() -> None:
    places = np.array([(0, 0), (0.1, 0), (0, 0.1), (9, 9), (5, 5), (5, 5)], float)
    points = MapPoints(positions=places, rows=np.arange(5), texts=np.arange(1), owners=np.array([4]))
    groups = [0, 0, 0, 0, 1, 1]
    (cat, cats), (dog, dogs) = points.group_label_positions(groups, [("cat", 0), ("dog", 1), ("cow", 2)])
    assert (cat, dog, dogs.tolist()) == ("cat", "dog", [5, 5])
    assert cats.tolist() == pytest.approx([0.1 / 3, 0.1 / 3]), "away from the one far off"
    ((cat, cats),) = points.group_label_positions(groups, [("cat", 0), ("dog", 1)], within=[3])
    assert (cat, cats.tolist()) == ("cat", [9, 9]), "the only image in view"


def test_density_lines_enclose_shares_of_the_images() -> None:
    places = np.random.default_rng(0).normal(size=(2000, 2)) * (3.0, 1.0)
    lines = density(places)
    assert lines is not None
    bins = np.rint((places - lines.origin) / lines.step).astype(int)
    at_images = lines.grid[bins[:, 0], bins[:, 1]]
    assert [float((at_images >= level).mean()) for level in lines.levels] == pytest.approx(SHARES, abs=0.02)
    edge = np.concatenate([lines.grid[[0, -1]].ravel(), lines.grid[:, [0, -1]].ravel()])
    assert edge.max() < lines.levels[0], "lines close within the grid"
    assert density(places[:40]) is None
    assert density(places * (1.0, 0.0)) is None


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
    assert found == [KnownQuery("a", "/a.png", 1, 3, (3.0, None)), KnownQuery("b", "/b.png", 1, 3, (1.0, 2.0))]
    assert [one.rank_gain for one in found] == [None, -1.0]
    assert known_images([side(a=3)]) == [KnownQuery("a / more", "/a.png", 2, -1, (3.0,))]
    assert known_texts([]) == []
    row = {"caption": "a", "path": "/a.png", "rank_a": 5.0, "rank_b": 1.0, "text_a": 8, "text_b": 2}
    assert known_pairs({"only_a": [], "only_b": [row]}) == [KnownQuery("a", "/a.png", -1, 8, (5.0, 1.0))]
    assert (results.rank_text(1200.0), results.rank_text(1.5)) == ("1,200", "1.5")


def row(rank: int, **more: Any) -> dict[str, Any]:
    return {
        "path": f"/{rank}.png",
        "caption": "c",
        "rank": rank,
        "row": rank,
        "duplicates": [],
        "above_cutoff": True,
    } | more


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
