"""Queries, their history and what is searched: what is kept comes back, and nothing unreadable gets in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QSettings

from sdgui.panels.search.model import Part, Query
from sdgui.panels.search.query.history import SearchHistory
from sdgui.panels.search.work import Target

_LETTERS = 'ab é🦊\n"{\0'  # few, since Hypothesis builds its table of all characters in 10 s
_WORDS = st.text(_LETTERS, min_size=1).map(str.strip).filter(bool)
_PARTS = st.builds(Part, words=_WORDS, weight=st.floats(-5, 5).filter(bool))


@given(st.builds(Query, words=_WORDS, parts=st.lists(_PARTS, max_size=3).map(tuple), group=st.booleans()))
def test_a_query_round_trips(query: Query) -> None:
    assert Query.from_json(json.loads(json.dumps(query.to_json()))) == query
    assert Query.from_json({"words": "moon", "parts": [{"weight": 2.0}]}) == Query("moon")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(_LETTERS),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(("words", "parts", "weight", "filters")), inner)
        ),
    )
)
def test_invalid_json_is_no_query(raw: object) -> None:
    found = Query.from_json(raw)
    assert found is None or not found.empty


def test_rows_are_queried_by_number_only_in_the_same_collection() -> None:
    query = Query(parts=(Part(image="/a.png", row=3, weight=-2.0),))
    assert query.request(True)["minus"] == [{"row": 3, "weight": 2.0}]
    assert query.request(False)["minus"] == [{"image": "/a.png", "weight": 2.0}]
    weighed = Query(parts=(Part("a", weight=0.5), Part("b", weight=-0.5))).request(True)
    assert (weighed["texts"], weighed["minus"]) == ([{"text": "a", "weight": 0.5}], [{"text": "b", "weight": 0.5}])
    known = Query("at night", (Part("people", weight=-1.0), Part(image="/p/2.png", weight=2.0)), caption=0)
    assert known.title == "at night − people + 2.png ×2"
    assert Part("people", weight=-0.5).spoken == "without people, weight 0.5"
    known = Query("a dog", caption=0)
    assert known.request(True)["caption"] == 0
    assert known.request(False)["texts"] == [{"text": "a dog", "weight": 1.0}]


def test_two_windows_keep_each_others_searches(tmp_path: Path) -> None:
    first, second = (SearchHistory(QSettings(str(tmp_path / "s.ini"), QSettings.Format.IniFormat)) for _ in range(2))
    first.save(Query("a"))
    first.remember(Query("a"))
    second.save(Query("b"))
    second.remember(Query("b"))
    first.forget(Query("none"))
    last = SearchHistory(QSettings(str(tmp_path / "s.ini"), QSettings.Format.IniFormat))
    assert (last.saved, last.recent) == ([Query("a"), Query("b")], [Query("b"), Query("a")])


def test_history_keeps_each_query_once_and_survives_invalid_data(tmp_path: Path) -> None:
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


BEST = Target("/runs/one@best", "student", "one · best", data="/data.csv", worker="/runs/one")


@pytest.mark.parametrize(
    ("change", "stepped"),
    [
        ({"model": "/runs/one@8"}, True),
        ({}, False),
        ({"model": "/runs/two@8"}, False),
        ({"model": "/runs/one@8", "weights": "teacher"}, False),
        ({"model": "/runs/one@8", "data": "/other.csv"}, False),
        ({"model": "/runs/one@8", "worker": ""}, False),
        ({"model": "/runs/one@8", "index": "/index"}, False),
    ],
)
def test_another_step_has_the_same_network_and_images(change: dict[str, str], stepped: bool) -> None:
    assert replace(BEST, **change).differs_in_step_only(BEST) is stepped  # type: ignore[arg-type]
    assert not BEST.differs_in_step_only(None)


def test_only_a_folder_grows(tmp_path: Path) -> None:
    for data, index in (("", ""), ("/gone", ""), ("", "/made")):
        assert not Target("m", "", "m", data=data, index=index).is_updated_on_open
    folder = Target("m", "", "m", data=str(tmp_path))
    assert folder.is_updated_on_open
    tmp_path.rmdir()
    assert folder.is_updated_on_open, "the disk is asked once, not by each query"
    assert not Target("m", "", "m", data=str(tmp_path), index="/made").is_updated_on_open
