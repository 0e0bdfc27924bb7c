"""Queries as they are kept: what is written comes back, and nothing unreadable gets in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QSettings

from sdgui.panels.search.model import Part, Query
from sdgui.panels.search.query.history import SearchHistory
from sdgui.panels.search.results import items, ranks_of, true_line, true_rank

_WORDS = st.text(min_size=1).map(str.strip).filter(bool)
_PARTS = st.builds(Part, words=_WORDS, weight=st.floats(-5, 5).filter(bool))


@settings(deadline=None)
@given(st.builds(Query, words=_WORDS, parts=st.lists(_PARTS, max_size=3).map(tuple), group=st.booleans()))
def test_a_query_survives_json(query: Query) -> None:
    assert Query.from_json(json.loads(json.dumps(query.to_json()))) == query


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(("words", "parts", "weight", "filters")), inner)
        ),
    )
)
def test_anything_else_is_no_query(raw: object) -> None:
    found = Query.from_json(raw)
    assert found is None or not found.empty


def test_rows_are_asked_by_number_only_where_numbers_are_the_same() -> None:
    query = Query(parts=(Part(image="/a.png", row=3, weight=-2.0),))
    assert query.request(True)["minus"] == [{"row": 3, "weight": 2.0}]
    assert query.request(False)["minus"] == [{"image": "/a.png", "weight": 2.0}]
    weighed = Query(parts=(Part("a", weight=0.5), Part("b", weight=-0.5))).request(True)
    assert (weighed["texts"], weighed["minus"]) == ([{"text": "a", "weight": 0.5}], [{"text": "b", "weight": 0.5}])
    known = Query("a dog", caption=5)
    assert known.request(True)["caption"] == 5
    assert known.request(False)["texts"] == [{"text": "a dog", "weight": 1.0}]


def test_history_is_kept_once_each_and_survives_nonsense(tmp_path: Path) -> None:
    kept = QSettings(str(tmp_path / "s.ini"), QSettings.Format.IniFormat)
    history = SearchHistory(kept)
    for words in ("a", "b", "a"):
        history.remember(Query(words))
    history.remember(Query())
    assert [query.words for query in SearchHistory(kept).recent] == ["a", "b"]
    for words in ("b", " b "):
        history.save(Query(words))
    assert [query.words for query in SearchHistory(kept).saved] == ["b"]
    assert SearchHistory(kept).is_saved(Query(" b "))
    history.forget(Query("b"))
    assert SearchHistory(kept).saved == []
    for nonsense in ("{nonsense", 100_000 * "[", "5"):
        kept.setValue("search/recent", nonsense)
        assert SearchHistory(kept).recent == []


def test_what_a_kept_query_lacks_is_as_it_is_by_default() -> None:
    assert Query.from_json({"words": "moon", "parts": [{"weight": 2.0}]}) == Query("moon")
    assert Query.from_json({"parts": [{"weight": 2.0}]}) is None


def _row(path: str, rank: int, above: bool = True, duplicates: tuple[str, ...] = ()) -> dict[str, object]:
    twins = [{"row": 9, "path": twin, "cosine": 0.5, "softmax": 0.1, "rank": rank + 1} for twin in duplicates]
    scores = {"cosine": 1 / rank, "softmax": 0.1, "rank": rank, "above_cutoff": above}
    return {"row": rank, "path": path, "there": True, "caption": "", "duplicates": twins, **scores}


def _answer(*rows: dict[str, object]) -> dict[str, object]:
    cutoff = {"cosine": 0.3, "rate": 0.001, "meaning": "m"}
    return {"rows": list(rows), "cutoff": cutoff, "searched": 40, "true_rank": None, "true_row": None}


def test_what_moved_is_told_in_signs_and_in_words() -> None:
    mine = _answer(_row("/a", 1), _row("/b", 2, duplicates=("/twin",)), _row("/c", 4), _row("/d", 5, above=False))
    other = _answer(_row("/b", 1), _row("/x", 2, duplicates=("/a",)), _row("/c", 4))
    found = items(mine, Query("q"), "cosine", ranks_of(other), "Teacher")
    assert [item.badge for item in found] == ["▲ 2", "▼ 1 · +1", "", "only here"]
    assert found[0].badge_spoken == "2 ranks higher than with Teacher"
    assert found[1].badge_spoken == "1 rank lower than with Teacher, 1 near-identical"
    assert found[3].badge_spoken == "not found by Teacher, below the cut-off"
    assert [item.line for item in found] == [False, False, False, True]
    again = _answer(_row("/a", 1), _row("/b", 2, duplicates=("/a",)), _row("/a", 7))
    assert ranks_of(again) == {"/a": 1, "/b": 2}, "the first place counts"


def test_the_true_image_is_told_though_it_is_not_among_the_results() -> None:
    answer = _answer(_row("/a", 1), _row("/b", 2))
    query = Query("q", true_path="/b")
    assert true_line(true_rank(answer, query), answer, query) == "Correct image: rank 2 of 40"
    far = Query("q", true_path="/z")
    assert true_line(true_rank(answer, far), answer, far) == "Correct image: not among the first 2 of 40"
    known = {**answer, "true_rank": 17.0, "true_row": 8}
    assert true_line(true_rank(known, query), known, query) == "Correct image: rank 17 of 40, not among these"
    assert true_line(None, answer, Query("q")) == ""


@pytest.mark.parametrize("caption", [0, 3])
def test_a_caption_of_the_collection_is_asked_by_its_number(caption: int) -> None:
    query = Query("a red kite", caption=caption)
    asked = query.request(use_rows=True)
    assert asked["caption"] == caption
    assert "texts" not in asked
    elsewhere = query.request(use_rows=False)
    assert "caption" not in elsewhere
    assert [one["text"] for one in elsewhere["texts"]] == ["a red kite"]
