"""The row of filters: what is in force is in view, whatever the images have."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdgui.panels.search.query.filters import FilterForm

NAMES = st.sampled_from(["group", "tone", "ton", "é 🦊"])
VALUES = st.sampled_from(["animals", "dark", "<b>", "1"])
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "folders": st.lists(st.sampled_from(["/x", "/y/z"]), min_size=1, max_size=1),
        "labels": st.dictionaries(NAMES, st.lists(VALUES, min_size=1, max_size=1), min_size=1, max_size=1),
        "min_size": st.just("2 KB"),
    },
)
FACETS = st.fixed_dictionaries(
    {
        "folders": st.lists(st.sampled_from(["/x", "/w"]), unique=True),
        "labels": st.dictionaries(NAMES, st.lists(VALUES, unique=True)),
    }
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(filters=FILTERS, facets=st.lists(FACETS, max_size=3))
def test_filters_stay_active_and_visible_for_any_images(
    qapp: object, filters: dict[str, Any], facets: list[dict[str, Any]]
) -> None:
    row = FilterForm()
    changes: list[None] = []
    row.changed.connect(lambda: changes.append(None))
    row.set_filters(filters, True)
    assert row.filters() == filters, "before it is known what there is"
    for one in facets:
        row.set_facets(one)
        assert row.filters() == filters
    if "labels" in filters:
        name, values = next(iter(filters["labels"].items()))
        assert (row.label.currentText(), row.value.currentText()) == (name, values[0])
        assert row.label.isEnabled()
        assert row.value.isEnabled()
    assert changes == [], "they are what they were, so that nothing is asked anew"
    row.clear_button.click()
    assert row.filters() == {}
    assert len(changes) == 1


@pytest.mark.parametrize("raw", [{"labels": 5}, {"labels": {"a": 5}}, {"labels": {"a": [5]}}, {"folders": 5}, {"x": 1}])
def test_invalid_filters_are_ignored(qapp: object, raw: dict[str, Any]) -> None:
    row = FilterForm()
    row.set_filters(raw, True)
    assert row.filters() == {}


def test_the_fields_of_sizes_and_days_have_short_names(qapp: object) -> None:
    assert [line.accessibleName() for line in FilterForm().fields.values()] == [
        "Minimum file size",
        "Maximum file size",
        "Modified on this day or later",
        "Modified before this day",
    ]
