"""Two results compared: what is offered beside the first, what is asked for, and the difference in words and rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from sdgui.panels.classify.model import Evaluation
from sdgui.panels.classify.tabs.compare import CompareTab, difference_sentence, result_title
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.shared.services import Services
from tests.sdgui.panels.classify.classifying import a_result, an_evaluation
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
    return [(one.text(), one.isEnabled()) for one in (tab.probe, tab.network, tab.evaluate_other)]


def test_results_comparable_with_the_first_are_offered_and_requested(tab: CompareTab) -> None:
    compared: list[tuple[Evaluation, Evaluation]] = []
    measured: list[Evaluation] = []
    tab.compare_requested.connect(lambda *pair: compared.append(pair))
    tab.evaluation_requested.connect(measured.append)
    assert [one.wordWrap() for one in (tab.summary, tab.details, *tab.titles)] == [True] * 4
    assert buttons(tab) == [("With fused", False), ("Compare with the other network", False), ("Evaluate", False)]
    assert tab.summary.text() == "Evaluate a model first. Then compare two results here."
    tab.probe.clicked.emit()
    tab.network.clicked.emit()
    tab.evaluate_other.clicked.emit()
    assert measured == []
    image, fused = a_result(), a_result(an_evaluation("fused"), accuracy={"value": 0.5, "low": 0.4, "high": 0.6})
    tab.set_results([image, fused], image)
    assert [tab.a.itemText(row) for row in range(2)] == [
        "Linear probe · demo · teacher · 75.0 %", "Fused probe (predicted) · demo · teacher · 50.0 %"
    ]  # fmt: skip
    assert (tab.a.currentIndex(), tab.b.currentIndex()) == (0, 1), "the second result is selected"
    assert buttons(tab) == [("With fused", True), ("With the student", True), ("Evaluate", True)]
    assert compared == [], "nothing is compared before the tab is shown"
    tab.show()
    assert (compared, tab.summary.text()) == ([(image.evaluation, fused.evaluation)], "Comparing…")
    tab.probe.click()
    assert compared == [(image.evaluation, fused.evaluation)] * 2, "the result is known"
    compared.pop()
    choose(tab.b, 0)
    assert len(compared) == 1, "a result is not compared with itself"
    choose(tab.a, 1)
    assert compared[1:] == [(fused.evaluation, image.evaluation)]
    assert buttons(tab)[0] == ("With image-only", True)
    tab.network.click()
    tab.evaluate_other.click()
    assert measured == [fused.evaluation.with_target(weights="student", title="demo · student")], (
        "no other model is chosen"
    )
    named = a_result(an_evaluation("fused").with_target(title="teacher study · teacher"))
    tab.set_results([named], named)
    other = tab._other_network()
    assert other is not None
    assert other.target.title == "teacher study · student"
    tab.set_results([image, fused], fused)
    assert tab.other_model.set_choice(ModelChoice("open_clip:ViT-B-32,openai", "", "ViT-B-32"))
    tab.evaluate_other.click()
    assert measured[1:] == [
        fused.evaluation.with_target(model="open_clip:ViT-B-32,openai", weights="", title="ViT-B-32 · openai")
    ]
    alone = a_result(an_evaluation().with_target(weights=""))
    tab.set_results([alone, fused, image], alone)
    assert (tab.a.currentIndex(), tab.b.currentIndex()) == (0, 2), "the second one stays chosen"
    assert compared[-1] == (alone.evaluation, image.evaluation)
    assert buttons(tab)[1] == ("Compare with the other network", False)
    assert "only one network" in tab.network.toolTip()
    tab.set_results([], None)
    assert (tab.first(), tab.evaluate_other.isEnabled()) == (None, False)


def test_the_difference_is_shown_in_words_by_class_and_by_image(tab: CompareTab) -> None:
    image, fused = an_evaluation(), an_evaluation("fused")
    first, second = result_title(image), result_title(fused)
    difference = {"value": 0.033, "interval": {"low": 0.01, "high": 0.056}, "significant": True}
    only = {"image": "/a.png", "true": "cat", "a": "cat", "b": "dog"}
    answer: dict[str, Any] = {
        "differences": {"acc1": difference, "acc5": difference | {"value": -0.01}},
        "per_class": [
            {"class": "cat", "rows": 9, "a": 0.5, "b": 0.25}, {"class": "dog", "rows": 1, "a": 0.0, "b": 1.0}
        ],
        "only_a": [only], "only_b": [], "both_right": 1200, "both_wrong": 3,
    }  # fmt: skip
    results = a_result(image), a_result(fused)
    tab.set_results(results, results[0])
    tab.choose(image, fused)
    tab.show_difference(fused, image, answer)
    assert tab.summary.text() == "Comparing…", "other results were chosen in the meantime"
    tab.show_difference(image, fused, answer)
    gap = "by 3.3 points (95 %: 1.0 to 5.6, paired)."
    assert tab.summary.text() == f"{first} is better than {second} {gap}"
    assert tab.details.text() == ("top-5 accuracy −1.0 points (95 %: +1.0 to +5.6) · both correct 1,200, both wrong 3")
    assert tab.table.model.visible_rows == [1, 0], "the largest loss first"
    assert tab.table.model.index(0, 4).data() == "−100.0"
    assert [item.caption for item in tab.only_a.items()] == ["cat (other result: dog)"]
    assert (tab.only_b.items(), tab.titles[1].text()) == ([], f"Only {second} is correct")
    worse = difference | {"value": -0.033, "interval": {"low": -0.056, "high": -0.01}}
    assert difference_sentence(worse, "A", "B") == "B is better than A by 3.3 points (95 %: 1.0 to 5.6, paired)."
    single = difference_sentence(difference | {"interval": {}, "significant": False}, "A", "B")
    assert single.endswith("points (no interval: a single image).")
    even = difference_sentence(difference | {"significant": False}, "A", "B")
    assert even.startswith("No significant difference: A minus B is +3.3 points")
    tab.show_failure(fused, image)
    assert tab.summary.text() == f"{first} is better than {second} {gap}"
    tab.show_failure(image, fused)
    assert tab.summary.text() == "These results could not be compared."
    choose(tab.b, 0)
    assert tab.summary.text().startswith("Choose a second result")
    assert (tab.table.model.rows, tab.only_a.items(), tab.details.text()) == ([], [], ""), "the old difference is gone"
