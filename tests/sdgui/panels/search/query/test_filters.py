"""The row of filters: what is in force is in view, whatever the images have."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PySide6.QtCore import Qt

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


def test_a_deselected_label_is_no_longer_offered(qapp: object) -> None:
    row = FilterForm()
    row.set_filters({"labels": {"group": ["animals"]}}, True)
    row.set_facets({"folders": [], "labels": {"tone": ["dark"]}})
    row.clear_button.click()
    row.set_facets({"folders": [], "labels": {"tone": ["dark"]}})
    assert [row.label.itemText(at) for at in range(row.label.count())] == ["Any label", "tone"]


@pytest.mark.parametrize("raw", [{"labels": 5}, {"labels": {"a": 5}}, {"labels": {"a": [5]}}, {"folders": 5}, {"x": 1}])
def test_invalid_filters_are_ignored(qapp: object, raw: dict[str, Any]) -> None:
    row = FilterForm()
    row.set_filters(raw, True)
    assert row.filters() == {}


def test_every_filter_is_announced_once_and_groups_too(qapp: object) -> None:
    row, heard = FilterForm(), list[dict[str, Any]]()
    row.set_facets({"folders": ["/x", "/y"], "labels": {"group": ["animals", ""], "tone": ["dark"]}})
    row.changed.connect(lambda: heard.append(row.filters()))
    tips = [row.folder.itemData(at, Qt.ItemDataRole.ToolTipRole) for at in range(3)]
    assert tips == [None, "/x", "/y"]

    def choose(box: Any, text: str) -> None:
        box.setCurrentText(text)
        box.activated.emit(box.currentIndex())

    choose(row.folder, "y")
    assert heard == [{"folders": ["/y"]}]
    choose(row.label, "group")
    assert len(heard) == 1, "a label without a value filters nothing"
    assert [row.value.itemText(at) for at in range(row.value.count())] == ["Any value", "animals"]
    choose(row.value, "animals")
    assert heard[-1] == {"folders": ["/y"], "labels": {"group": ["animals"]}}
    choose(row.label, "tone")
    assert heard[-1] == {"folders": ["/y"]}, "the value was of another label"
    choose(row.folder, "Any folder")
    for name, line in row.fields.items():
        line.setText(" 5 ")
        line.setModified(True)
        line.editingFinished.emit()
        line.editingFinished.emit()
        assert heard[-1][name] == "5"
    assert len(heard) == 4 + len(row.fields)
    row.group.toggle()
    assert len(heard) == 5 + len(row.fields)
    row.set_filters({}, True)
    assert len(heard) == 5 + len(row.fields), "what is chosen by program is known already"
