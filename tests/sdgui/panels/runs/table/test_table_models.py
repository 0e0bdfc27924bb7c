"""The table without Qt: layouts, rows, cells, completion."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.spec.run.metric_names import higher_is_better, is_share
from sdgui.panels.runs.table.cells import mean_text, style_of, text_of, title_of
from sdgui.panels.runs.table.completion import completions
from sdgui.panels.runs.table.layout import DEFAULT_COLUMNS, TableLayout
from sdgui.panels.runs.table.rows import Row, Rows
from sdgui.store.run_table.fields import Catalogue, fact, metric, setting
from sdgui.store.run_table.intervals import Mean
from sdgui.store.run_table.queries import RunGroup

CATALOGUE = Catalogue(["train/loss", "val/student/image_to_text_R@1", "val/teacher/mean_recall"])
NAMES = st.sampled_from(["state", "tag", "optim.learning_rate", "val/R@1", "last(train/loss)"])
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
JSON = st.recursive(LEAVES, lambda child: st.lists(child, max_size=3))


@given(
    st.builds(
        TableLayout,
        st.text(max_size=9),
        st.lists(NAMES).map(tuple),
        st.lists(st.tuples(NAMES, st.booleans()), max_size=3).map(tuple),
        st.lists(NAMES, max_size=2).map(tuple),
        st.booleans(),
        st.dictionaries(NAMES, st.integers(1, 3999)),
    )
)
@settings(max_examples=40, deadline=None)
def test_a_layout_is_saved(layout: TableLayout) -> None:
    assert TableLayout.from_json(layout.to_json()) == layout


@given(st.dictionaries(st.sampled_from(["filter", "columns", "sort", "group_by", "widths", "else"]), JSON))
@settings(max_examples=40, deadline=None)
def test_a_broken_setting_falls_back_to_the_default_layout(raw: dict[str, object]) -> None:
    assert isinstance(TableLayout.from_json(json.dumps(raw)).columns, tuple)
    assert TableLayout.from_json("{broken").columns == DEFAULT_COLUMNS


def test_rows_of_groups_open_and_close() -> None:
    rows = Rows(groups=[RunGroup(first=3, count=2, keys=("a",), means={}), RunGroup(9, 1, ("b",), {})])
    assert (len(rows), rows.total(), rows.run_ids()) == (2, 3, [])
    rows.open_group(0, [3, 2])
    assert [rows.at(row) for row in range(4)] == [Row(None, 0), Row(3, 0), Row(2, 0), Row(None, 1)]
    assert (rows.row_of(2), rows.row_of(9), rows.head_of(1)) == (2, None, 3)
    rows.open_group(1, [9])
    assert rows.row_of(9) == 4
    rows.close_group(0)
    assert (rows.row_of(9), rows.row_of(2), len(rows)) == (2, None, 3)
    with pytest.raises(IndexError):
        rows.at(3)
    plain = Rows([5, 4])
    assert (plain.at(1), plain.row_of(4), plain.total()) == (Row(4), 1, 2)


@pytest.mark.parametrize(
    ("name", "share", "higher"),
    [
        ("val/student/mean_recall", True, True),
        ("val/teacher/text_to_image_R@10", True, True),
        ("val/student/top1", True, True),
        ("val/student/image_to_text_median_rank", False, False),
        ("train/loss", False, False),
        ("train/pairs_per_s", False, True),
        ("val/student/CIDEr", False, True),
    ],
)
def test_a_metric_has_one_unit_everywhere(name: str, share: bool, higher: bool) -> None:
    assert (is_share(name), higher_is_better(name)) == (share, higher)
    assert title_of(metric(name)).endswith(", %") is share


def test_values_of_a_column_have_the_same_decimals() -> None:
    recall, loss = metric("val/student/mean_recall"), metric("train/loss", "last")
    assert [text_of(recall, value, style_of(recall, [0.4, 0.05])) for value in (0.4, 0.05125, None)] == [
        "40.0",
        "5.1",
        "",
    ]
    style = style_of(loss, [12.5, 0.25, math.nan])
    assert [text_of(loss, value, style) for value in (12.5, 0.25)] == ["12.50", "0.25"]
    assert mean_text(recall, Mean(3, 0.4061, 0.0123), style_of(recall, [0.4])) == "40.6 ± 1.2"
    assert mean_text(recall, Mean(1, 0.4061, math.nan), style_of(recall, [0.4])) == "40.6"
    rate = setting("optim.learning_rate")
    assert [text_of(rate, value, style_of(rate, [])) for value in (1e-4, 2e-5, 3, "auto", True)] == [
        "0.0001", "2e-05", "3", "auto", "yes",
    ]  # fmt: skip
    assert text_of(fact("tag"), ["a", "b c"], style_of(fact("tag"), [])) == "#a #b c"
    assert text_of(fact("machine"), "", style_of(fact("machine"), [])) == "this computer"


@pytest.mark.parametrize(
    ("typed", "first", "replaced"),
    [
        ("optim.lea|", "optim.learning_rate", "optim.lea"),
        ("learn|", "optim.learning_rate", "learn"),
        ("a and R@|", "val/student/image_to_text_R@1", "R@"),
        ("tag:p|", "paper", "p"),
        ("tag:|", "paper", ""),
        ("tag:paper tag:my|", '"my tag"', "my"),
        ("state = fai|", "failed", "fai"),
        ("state |", ":", ""),
        ("optim.learning_rate |", "=", ""),
        ("(sta| or b)", "state", "sta"),
        ("duration > |", "10min", ""),
    ],
)
def test_completions(typed: str, first: str, replaced: str) -> None:
    cursor, text = typed.index("|"), typed.replace("|", "")
    offered = completions(text, cursor, CATALOGUE, {"tag": ["paper", "my tag"]})
    assert (offered[0].text, text[offered[0].start : offered[0].end]) == (first, replaced)


def test_nothing_is_completed_in_a_quote_or_for_an_unknown_name() -> None:
    assert completions('note = "sta', 11, CATALOGUE, {}) == []
    assert completions("nonsense > ", 11, CATALOGUE, {}) == []
