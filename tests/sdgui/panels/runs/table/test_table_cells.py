"""Cells, bands, heads and layouts by hand: at each border, one value on either side of it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sdgui.panels.runs.compare.settings import _best
from sdgui.panels.runs.table.cells import (
    Style,
    band_text,
    group_title,
    mean_text,
    style_of,
    text_of,
)
from sdgui.panels.runs.table.layout import DEFAULT_COLUMNS, MAX_COLUMNS, TableLayout, fields_of
from sdgui.store.run_table.fields import Catalogue, Field, fact, metric, setting
from sdgui.store.run_table.intervals import Mean

LOSS, RECALL, RATE = metric("train/loss"), metric("val/student/mean_recall"), setting("optim.learning_rate")
CATALOGUE = Catalogue(["train/loss", "val/student/image_to_text_R@1", "val/teacher/mean_recall"])


@pytest.mark.parametrize(
    ("values", "decimals"),
    [
        ([0.0, math.inf], None),
        ([0.001], None),  # three digits after the point would show one of it
        ([0.01], 3),
        ([9.99, 0.001], 3),
        ([-999.0], 1),
        ([9999999.0], 0),
        ([1e7], None),
        (["text", None], None),
    ],
)
def test_decimals_follow_the_largest_value(values: list[Any], decimals: int | None) -> None:
    assert style_of(LOSS, values) == Style(1.0, decimals)
    assert style_of(RATE, values) == Style()
    assert style_of(RECALL, values) == Style(100.0, 1)
    assert style_of(fact("progress"), values) == Style(100.0, 0)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        (fact("step"), 12345, "12,345"),
        (fact("duration"), 70.0, "1 min 10 s"),
        (fact("note"), "two\n lines", "two lines"),
        (fact("failure"), "a  b", "a b"),
        (fact("experiment"), "a  b", "a  b"),
        (fact("machine"), None, ""),
        (fact("machine"), "far", "far"),
        (fact("tag"), [], ""),
        (RATE, False, "no"),
        (RATE, 12345678901.0, "1.23456789e+10"),
        (RATE, [1, "é"], '[1, "é"]'),
        (RATE, 7, "7"),
        (LOSS, 0.000123456, "1.235e-04"),
        (LOSS, 3, "3"),
    ],
)
def test_cell_texts(field: Field, value: Any, text: str) -> None:
    assert text_of(field, value, Style()) == text


def test_the_mean_of_a_group_has_an_interval_for_metrics_of_several_runs() -> None:
    mean = Mean(3, 60.5, 2.25)
    assert mean_text(LOSS, mean, Style(1.0, 2)) == "60.50 ± 2.25"
    assert mean_text(LOSS, mean, Style(1.0, None)) == "6.050e+01 ± 2.250e+00"
    assert mean_text(LOSS, Mean(3, 1.2e-5, 3e-7), Style(1.0, None)) == "1.200e-05 ± 3.000e-07"
    assert mean_text(fact("metric"), Mean(3, 0.5, 0.01), Style(100.0, 1)) == "50.0 ± 1.0"
    assert mean_text(fact("progress"), Mean(3, 0.5, 0.01), Style(100.0, 0)) == "50"
    assert mean_text(RATE, Mean(3, 0.5, 0.01), Style(1.0, 3)) == "0.5"
    assert mean_text(fact("duration"), mean, Style()) == "1 min"
    assert mean_text(fact("created"), mean, Style()) == ""


def test_bands_start_at_their_boundaries() -> None:
    for value, text in (
        (0.0, "0 to 5"),
        (0.0499, "0 to 5"),
        (0.05, "5 to 10"),
        (0.15, "15 to 20"),
        (1.0, "100 to 105"),
    ):
        assert band_text(RECALL, value) == text
    assert band_text(LOSS, 0.25) == "0.2 to 0.3"
    assert band_text(LOSS, 0.3) == "0.3 to 0.4"
    assert band_text(LOSS, None) == "none"
    assert [band_text(LOSS, value) for value in (math.inf, -math.inf, math.nan)] == ["not finite"] * 3
    fields = [RECALL, fact("recipe"), fact("tag"), RATE]
    title = group_title(fields, [0.42, "abcdef", [], 0.1], "My clip · 3")
    assert title == "Student mean recall, %: 40 to 45 · My clip (abcd) · Tags: none · optim.learning_rate: 0.1"
    assert group_title([fact("recipe")], [None], "x") == "Recipe: none"


@pytest.mark.parametrize(
    ("field", "values", "best"),
    [
        (RECALL, [0.1, 0.3, None, 0.3], {1, 3}),
        (LOSS, [0.1, 0.3, "x"], {0}),
        (LOSS, [0.1, 0.1], set()),
        (LOSS, [0.1, None], set()),
        (fact("metric"), [0.1, 0.3], {1}),
        (fact("duration"), [1.0, 2.0], set()),
        (fact("progress"), [0.1, 0.3], set()),
        (RATE, [0.1, 0.3], set()),
    ],
)
def test_the_best_of_a_row_is_marked_where_the_direction_is_known(
    field: Field, values: list[Any], best: set[int]
) -> None:
    assert _best(field, values) == best


def test_a_saved_layout_is_read_if_it_is_valid() -> None:
    saved = TableLayout("done", ("seed",), (("seed", True),), ("preset",), True, {"seed": 90})
    assert TableLayout.from_json(saved.to_json()) == saved
    assert TableLayout.from_json('{"columns": []}').columns == ()
    assert TableLayout.from_json("{}").columns == DEFAULT_COLUMNS
    assert TableLayout.from_json('{"filter": "x", "sort": ["c"]}') == TableLayout.from_json("[]") == TableLayout()
    wide = TableLayout().with_columns(["name", "a", "b", "a", *map(str, range(150))])
    assert wide.columns[:2] == ("a", "b")
    assert len(wide.columns) == MAX_COLUMNS


def test_a_sort_keeps_three_keys_and_starts_in_the_useful_direction() -> None:
    layout = TableLayout()
    for name in ("seed", "metric", "train/loss", "val/R@5"):
        layout = layout.sorted_by(name)
    assert layout.sort == (("val/R@5", True), ("train/loss", False), ("metric", True))
    assert layout.sorted_by("val/R@5").sort[0] == ("val/R@5", False)
    assert layout.sorted_by("last(val/mean_recall)").sort[0][1]
    assert not layout.sorted_by("last(train/loss)").sort[0][1]
    assert [field.name for field in fields_of(["seed", "no such", "train/loss"], CATALOGUE)] == ["seed", "train/loss"]
