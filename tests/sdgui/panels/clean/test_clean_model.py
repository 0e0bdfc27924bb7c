"""The ranked pairs as plain data: what is below the threshold, excluded, shown and saved."""

from __future__ import annotations

from typing import Any

import pytest

from sdgui.panels.clean.model import BINS, Key, Pair, RankedPairs
from tests.sdgui.panels.clean.cleaning import some_pairs


def ranked(marks: dict[Key, bool] | None = None, **more: Any) -> RankedPairs:
    """Four listed pairs, "a" to "d" from the lowest match score on."""
    return RankedPairs(some_pairs(**more), marks or {})


def key(name: str) -> Key:
    return f"/{name}.png", name


def names(pairs: RankedPairs, *query: Any) -> str:
    return "".join(pairs.pairs[index].caption for index in pairs.filtered(*query))


def test_the_suggested_threshold_separates_exactly_the_suspect_pairs() -> None:
    assert [ranked(mismatched=number).threshold for number in (0, 1, 2, 4)] == [0, 101, 201, 801]
    assert [ranked(mismatched=number).below_count() for number in (0, 1, 2, 4)] == [0, 1, 2, 4]
    assert Pair("/x", "x", 1.0, 1.0, 1, None).bin == BINS - 1


def test_marks_and_threshold_decide_what_is_excluded() -> None:
    pairs = ranked({key("a"): False, key("b"): True, key("d"): True, ("/gone.png", "gone"): True})
    pairs.threshold = 401  # a, b and c are below
    assert [pairs.is_excluded(pair) for pair in pairs.pairs] == [False, True, False, True]
    assert pairs.excluded_count() == 3
    pairs.exclude_below = True
    assert [pairs.is_excluded(pair) for pair in pairs.pairs] == [False, True, True, True]
    assert pairs.excluded_count() == 4, "c too; d and one that is not listed were marked"
    assert sorted(caption for _, caption in pairs.save_arguments()["pairs"]) == ["b", "c", "d", "gone"]


@pytest.mark.parametrize(("threshold", "by_worker"), [(800, False), (801, True)])
def test_unlisted_pairs_below_the_threshold_are_left_to_the_worker(threshold: int, by_worker: bool) -> None:
    pairs = ranked({key("a"): False}, total=9)
    pairs.threshold, pairs.exclude_below = threshold, True
    saving = pairs.save_arguments()
    assert ("below" in saving) is by_worker
    if by_worker:
        assert saving == {"pairs": [], "below": 801, "clean": [list(key("a"))], "key": "k"}
    else:
        assert [caption for _, caption in saving["pairs"]] == ["b", "c"]


def test_unlisted_marked_pairs_are_counted_once_if_the_threshold_excludes_unlisted_pairs() -> None:
    pairs = ranked({("/e.png", "e"): True, ("/f.png", "f"): False}, total=9)
    pairs.threshold, pairs.exclude_below = 995, True
    assert pairs.below_count() == 9
    assert pairs.excluded_count() == 8, "all but f"


def test_filters_words_and_orders() -> None:
    pairs = ranked({key("a"): True, key("c"): False})
    pairs.threshold = 200
    assert [names(pairs, key, "", "rank", False) for key in ("all", "below", "unmarked", "mismatched", "correct")] == [
        "abcd", "a", "bd", "a", "c",
    ]  # fmt: skip
    assert names(pairs, "all", "B", "rank", False) == "b"
    assert [names(pairs, "all", "", order, False) for order in ("caption", "clean_probability", "mark")] == [
        "abcd",
        "dcba",
        "abdc",
    ]
    assert names(pairs, "all", "", "rank", True) == "dcba"


def test_a_correct_mark_matters_only_below_the_threshold() -> None:
    pairs = ranked({key("d"): False, ("/gone.png", "gone"): False})
    pairs.threshold, pairs.exclude_below = 401, True
    assert pairs.excluded_count() == 3


def test_the_excluded_pairs_are_the_listed_ones_and_unlisted_ones_marked_mismatched() -> None:
    marks = {key("a"): False, key("d"): True, ("/gone.png", "gone"): True, ("/kept.png", "kept"): False}
    pairs = ranked(marks)
    pairs.threshold, pairs.exclude_below = 401, True
    assert [pair.caption for pair in pairs.excluded_pairs()] == ["b", "c", "d", "gone"]


def test_known_shuffled_pairs_sort_first() -> None:
    pairs = RankedPairs(some_pairs(shuffled=1), {})
    assert [names(pairs, "all", "", "shuffled", descending) for descending in (False, True)] == ["bcda", "abcd"]


def test_a_caption_must_contain_every_word_of_a_filter_in_any_order() -> None:
    answer = some_pairs()
    answer["list"][0]["caption"], answer["list"][1]["caption"] = "A red kite", "a red HAT"
    pairs = RankedPairs(answer, {})
    assert pairs.filtered("all", "hat red", "rank", False) == [1]
    assert pairs.filtered("all", "RED", "rank", False) == [0, 1]
