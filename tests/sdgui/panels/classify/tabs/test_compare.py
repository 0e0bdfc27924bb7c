"""Two results compared: what is offered beside the first, what is asked for, and the difference in words and rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from sdgui.panels.classify.model import Measure
from sdgui.panels.classify.tabs.compare import CompareTab
from sdgui.panels.classify.tabs.share_bar import SHARE_ROLE, Share
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.shared.services import Services
from tests.sdgui.panels.classify.classifying import a_measure, a_result
from tests.sdgui.panels.scripted_workers import services_in


@pytest.fixture
def services(qapp: object, tmp_path: Path) -> Iterator[Services]:
    with services_in(tmp_path / "home") as services:
        yield services


@pytest.fixture
def tab(qtbot: QtBot, services: Services) -> Iterator[CompareTab]:
    made = CompareTab(services)
    qtbot.addWidget(made)
    yield made
    for gallery in (made.only_a, made.only_b):
        gallery.close_threads()


def choose(box: Any, row: int) -> None:
    box.setCurrentIndex(row)
    box.activated.emit(row)


def buttons(tab: CompareTab) -> list[tuple[str, bool]]:
    return [(one.text(), one.isEnabled()) for one in (tab.probe, tab.network, tab.measure_other)]


def test_results_comparable_with_the_first_are_offered_and_requested(tab: CompareTab) -> None:
    compared: list[tuple[Measure, Measure]] = []
    measured: list[Measure] = []
    tab.compare_requested.connect(lambda *pair: compared.append(pair))
    tab.measure_requested.connect(measured.append)
    assert [one.wordWrap() for one in (tab.sentence, tab.further, *tab.titles)] == [True] * 4
    assert buttons(tab) == [("With fused", False), ("Compare with the other network", False), ("Evaluate", False)]
    assert tab.sentence.text() == "Evaluate a model first; two results can then be compared here."
    tab.probe.clicked.emit()
    tab.network.clicked.emit()
    tab.measure_other.clicked.emit()
    assert measured == []
    image, fused = a_result(), a_result(a_measure("fused"), accuracy={"value": 0.5, "low": 0.4, "high": 0.6})
    tab.set_results([image, fused], image)
    assert [tab.a.itemText(row) for row in range(2)] == [
        "Linear probe · demo · teacher · 75.0 %", "Fused probe (predicted) · demo · teacher · 50.0 %"
    ]  # fmt: skip
    assert (tab.a.currentIndex(), tab.b.currentIndex()) == (0, -1)
    assert buttons(tab) == [("With fused", True), ("With the student", True), ("Evaluate", True)]
    assert tab.sentence.text() == "Choose a second result to compare with the first, or evaluate one."
    tab.probe.click()
    assert (compared, tab.b.currentIndex()) == ([(image.measure, fused.measure)], 1), "it is known"
    assert tab.sentence.text() == "Comparing …"
    choose(tab.b, 0)
    assert len(compared) == 1, "a result is not compared with itself"
    choose(tab.a, 1)
    assert compared[1:] == [(fused.measure, image.measure)]
    assert buttons(tab)[0] == ("With image-only", True)
    tab.network.click()
    tab.measure_other.click()
    assert measured == [fused.measure.other(weights="student", title="demo · student")], "no other model is chosen"
    assert tab.other_model.set_choice(ModelChoice("open_clip:ViT-B-32,openai", "", "ViT-B-32"))
    tab.measure_other.click()
    assert measured[1:] == [
        fused.measure.other(model="open_clip:ViT-B-32,openai", weights="", title="ViT-B-32 · openai")
    ]
    alone = a_result(a_measure().other(weights=""))
    tab.set_results([alone, fused, image], alone)
    assert (tab.a.currentIndex(), tab.b.currentIndex()) == (0, 2), "the second one stays chosen"
    assert buttons(tab)[1] == ("Compare with the other network", False)
    assert "only one network" in tab.network.toolTip()
    tab.set_results([], None)
    assert (tab.first(), tab.measure_other.isEnabled()) == (None, False)


def test_a_difference_is_shown_by_class_and_by_image_and_sizes_are_restored(
    qtbot: QtBot, tab: CompareTab, services: Services
) -> None:
    interval = {"low": 0.05, "high": 0.15}
    one = {"value": 0.1, "interval": interval, "significant": True}
    rows = [
        {"class": "cat", "rows": 1200, "a": 0.5, "b": 0.25},
        {"class": "dog", "rows": 10, "a": 0.2, "b": 0.4},
        {"class": "fox", "rows": 30, "a": 0.1, "b": 0.1},
    ]
    answer = {
        "differences": {"acc1": one, "mean_per_class_recall": {**one, "value": -0.02}},
        "both_right": 1200, "both_wrong": 3, "per_class": rows,
        "only_a": [{"image": "/a.png", "true": "cat", "a": "cat", "b": "dog"}],
        "only_b": [{"image": "/b.png", "true": "fox", "a": "owl", "b": "fox"}] * 2,
    }  # fmt: skip
    tab.show_difference(a_measure(), a_measure("fused"), answer)
    assert tab.sentence.text().startswith("Linear probe · demo · teacher is better than Fused probe (predicted)")
    assert tab.further.text() == (
        "balanced accuracy −2.0 points (95 %: +5.0 to +15.0) · both correct 1\u2009200, both wrong 3"
    )
    assert [title.text() for title in tab.titles] == [
        "Only Linear probe · demo · teacher is correct", "Only Fused probe (predicted) · demo · teacher is correct"
    ]  # fmt: skip
    assert [one.thumbnail_size() for one in (tab.only_a, tab.only_b)] == [72, 72], "many beside each other"
    assert [item.caption for item in tab.only_a.items()] == ["cat (the other: dog)"]
    assert [item.detail for item in tab.only_b.items()] == ["true: fox; the other result predicts owl"] * 2
    model = tab.table.model
    shown = [[model.index(row, column).data() for column in range(5)] for row in range(3)]
    assert shown == [
        ["dog", "10", "20.0 %", "40.0 %", "−20.0"], ["fox", "30", "10.0 %", "10.0 %", "+0.0"],
        ["cat", "1 200", "50.0 %", "25.0 %", "+25.0"],
    ]  # fmt: skip
    assert model.index(2, 4).data(SHARE_ROLE) == Share(0.25, signed=True)
    for column, first in ((1, "dog"), (2, "fox"), (3, "fox")):
        tab.table.sort_by(column)
        assert model.index(0, 0).data() == first
    tip = model.headerData(4, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
    assert tip == "First minus second, in points"
    tab.show_failure()
    assert tab.sentence.text() == "These results could not be compared."
    tab.resize(600, 700)
    tab.show()
    before = tab.split.sizes()
    tab.split.setSizes([before[0] + 60, before[1] - 60])
    tab.save()
    again = CompareTab(services)
    qtbot.addWidget(again)
    again.resize(600, 700)
    again.show()
    assert abs(again.split.sizes()[0] - before[0] - 60) < 20
    for gallery in (again.only_a, again.only_b):
        gallery.close_threads()
