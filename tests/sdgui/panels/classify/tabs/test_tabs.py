"""The tabs of Classify alone: what they show of a result, and what they ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PySide6.QtCore import QSettings
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QMenu
from pytestqt.qtbot import QtBot

from core.spec.data.prompt_sets import read_prompts
from sdgui.panels.classify.tabs.confusion import PAGE, MatrixTab
from sdgui.panels.classify.tabs.curves import CurvesTab
from sdgui.panels.classify.tabs.mistakes import MistakesTab
from sdgui.shared.basket import Finding
from sdgui.widgets.style.theme import theme
from tests.sdgui.panels.classify.classifying import a_result, an_evaluation

Asked = list[tuple[int, int, int]]


@pytest.fixture
def tab(qtbot: QtBot, tmp_path: Path) -> Iterator[MatrixTab]:
    made = MatrixTab(tmp_path, QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(made)
    made.resize(900, 600)
    made.show()
    made.show_result(a_result())
    yield made
    made.gallery.close_threads()


def asked_of(tab: MatrixTab) -> Asked:
    asked: Asked = []
    tab.cell_requested.connect(lambda *cell: asked.append(cell))
    return asked


def choose_order(tab: MatrixTab, kind: str) -> list[int]:
    row = tab.order.findData(kind)
    tab.order.setCurrentIndex(row)
    tab.order.activated.emit(row)
    return list(tab.matrix.cells.order)


def images(number: int) -> list[dict[str, Any]]:
    return [{"image": f"/nowhere/{i}.png", "probability": 0.5} for i in range(number)]


def test_the_class_order_is_kept_for_the_next_result(tab: MatrixTab) -> None:
    assert choose_order(tab, "worst") == [2, 0, 1], "1 of 4, 9 of 10, 2 of 2 correct"
    assert choose_order(tab, "most") == [0, 2, 1]
    tab.matrix.set_current(2, 0)
    tab.show_result(a_result(an_evaluation("knn")))
    assert list(tab.matrix.cells.order) == [0, 2, 1]
    assert tab.matrix.current_classes() == (2, 0), "the cell stays where the classes are the same"
    assert tab.readout.text() == "fox predicted as cat: 3 of 4 (75.0 %)"
    tab.show_result(a_result(classes=("a", "b", "c")))
    assert tab.matrix.current_classes() == (0, 0)


def test_finding_wraps_around_the_matches(tab: MatrixTab) -> None:
    tab.find_box.setText("O")  # dog and fox
    found = []
    for _ in range(3):
        tab.find_box.returnPressed.emit()
        found.append(tab.matrix.current_classes())
    assert found == [(1, 1), (2, 2), (1, 1)]
    tab.find_box.setText("cow")
    tab.find_box.returnPressed.emit()
    assert "No class name contains “cow”" in tab.readout.text()
    assert tab.matrix.current_classes() == (1, 1)
    choose_order(tab, "most")
    tab.matrix.set_current(0, 0)
    tab.find_box.setText("o")
    tab.find_box.returnPressed.emit()
    assert tab.matrix.current_classes() == (2, 2), "the next one as they stand"


def test_more_images_of_a_cell_are_requested_once_from_where_they_end(tab: MatrixTab) -> None:
    tab.show_result(a_result(cells=((0, 1), (1, 1), (PAGE + 50, 2))))
    asked = asked_of(tab)
    tab.ask_cell(0, 1)
    tab.ask_cell(0, 1)
    tab._request_more()
    assert asked == [(0, 1, 0)]
    tab.show_cell({"true": "cat", "predicted": "dog", "images": images(PAGE)})
    bar = tab.gallery.view.verticalScrollBar()
    bar.setValue(bar.maximum())
    tab._request_more()
    tab._request_more()
    assert asked == [(0, 1, 0), (0, 1, PAGE)]
    tab.cell_failed()
    tab._request_more()
    assert asked.pop() == (0, 1, PAGE), "what failed is asked for again"
    tab.show_cell({"true": "cat", "predicted": "dog", "images": images(50)})
    bar.setValue(bar.maximum())
    tab._request_more()
    assert len(asked) == 2
    assert len(tab.gallery.items()) == PAGE + 50


def test_draft_prompts_are_shown_in_the_matrix_and_the_theme_is_followed(
    tab: MatrixTab, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose_order(tab, "most")
    tab.activateWindow()
    tab.show_class(1)
    assert (tab.matrix.current_classes(), tab.matrix.hasFocus()) == ((1, 1), True), "its keys are at hand"
    assert "editor" not in vars(tab), "it is made when it is first wanted"
    tab.prompts.click()
    assert (tab.editor.isVisible(), tab.split.indexOf(tab.editor)) == (True, 0)
    assert tab.editor.templates.hasFocus() or not tab.isActiveWindow()
    tab.prompts.click()
    assert not tab.editor.isVisible()
    tab.prompts.click()
    assert tab.editor.isVisible()
    typed = tab.editor.templates
    typed.setPlainText("a {}.")
    tab.editor.apply()
    tab.show_result(a_result(an_evaluation("knn")))
    assert typed.toPlainText() == "a {}.", "neighbours have no prompts"
    tab.show_result(a_result(an_evaluation("fused", templates="simple")))
    assert typed.toPlainText() == "\n".join(read_prompts("simple").templates)
    tab.show_trial(a_result(an_evaluation("zero-shot"), cells=((0, 1), (1, 1), (3, 5)), accuracy={"value": 0.625}))
    assert list(tab.matrix.cells.order) == [1, 0, 2], "in the order asked for"
    assert "62.5 %" in tab.editor.status.text()
    assert "some templates are still being encoded" in tab.editor.status.text()
    before = tab.matrix.image()
    ground = theme().color

    def other(name: str) -> QColor:
        return QColor("orange") if name == "surface" else ground(name)

    monkeypatch.setattr(theme(), "color", other)
    tab.matrix._restyle()
    assert tab.matrix.image() != before


def test_mistakes_are_numbered_and_requested_from_where_they_end(qtbot: QtBot, tmp_path: Path) -> None:
    tab = MistakesTab(tmp_path, SimpleNamespace())  # type: ignore[arg-type]  # the basket is not asked
    qtbot.addWidget(tab)
    tab.show()
    one = {"image": "/nowhere/a.png", "true": "cat", "predicted": "dog", "probability": 0.9}
    asked: list[int] = []
    tab.more_requested.connect(asked.append)
    tab.show_result(a_result(mistakes=[one] * 2, mistake_count=5))
    assert tab.summary.text().startswith("5 of 16 test images are misclassified")
    tab._request_more()
    tab._request_more()
    assert asked == [2]
    tab.append({"images": [one] * 3})
    assert [item.rank for item in tab.gallery.items()] == [1, 2, 3, 4, 5]
    tab._request_more()
    assert asked == [2], "all are there"
    tab.show_result(a_result())
    assert tab.gallery.items() == []
    assert tab.summary.text() == "All 16 test images are classified correctly."
    tab.gallery.close_threads()


def test_mistakes_are_fixes_of_the_evaluated_data(qtbot: QtBot, tmp_path: Path) -> None:
    put: list[Finding] = []
    tab = MistakesTab(tmp_path, SimpleNamespace(add=put.append))  # type: ignore[arg-type]
    qtbot.addWidget(tab)
    images = [{"image": f"/{name}.png", "true": "cat", "predicted": name, "probability": 0.9} for name in "abc"]
    found = a_result(an_evaluation(model="/runs/x@best"), mistakes=images[:2], mistake_count=3)

    def put_all(rows: list[int]) -> None:
        menu = QMenu()
        tab.gallery.menu_opening.emit(menu, rows)
        for action in [one for one in menu.actions() if "basket" in one.text().replace("&", "")]:
            action.trigger()

    put_all([0])
    tab.show_result(found)
    put_all([])
    assert put == [], "nothing is shown, or chosen"
    tab.append({"images": images[2:]})
    put_all([1, 2])
    assert [one.source for one in put] == [found.evaluation.target.data] * 2
    assert [(fix.kind, fix.path, fix.label, fix.value, fix.run) for one in put for fix in one.fixes] == [
        ("relabelled", "/b.png", "kind", "b", "/runs/x"), ("relabelled", "/c.png", "kind", "c", "/runs/x"),
        ("excluded", "/b.png", "", "", "/runs/x"), ("excluded", "/c.png", "", "", "/runs/x"),
    ]  # fmt: skip
    tab.show_result(a_result(an_evaluation("knn", model="/runs/y@best"), mistakes=images[2:]))
    put_all([0])
    assert [(fix.path, fix.value, fix.run) for one in put[2:] for fix in one.fixes] == [
        ("/c.png", "c", "/runs/y"), ("/c.png", "", "/runs/y"),
    ], "of the result that is shown now"  # fmt: skip
    tab.show_result(a_result(an_evaluation("knn", model="open_clip:x").with_target(label=""), mistakes=images))
    put_all([0])
    assert [(fix.kind, fix.run) for fix in put[-1].fixes] == [("excluded", "open_clip:x")]
    assert len(put) == 5, "without a column there is no label to change"
    tab.gallery.close_threads()


def test_curves_of_another_model_are_kept_until_it_is_shown(qtbot: QtBot) -> None:
    tab = CurvesTab()
    qtbot.addWidget(tab)
    here, there = a_result(), a_result(an_evaluation(model="other@best"))
    tab.show_result(here)
    assert list(tab.c_curve.lines[0].x) == [0.001, 0.1, 10.0], "in the order of C"
    assert tab.c_curve.lines[0].name == "probe"
    curve = [{"shots": 1, "accuracy": 0.5, "low": None, "high": None}]
    tab.show_few_shot(there.evaluation.target, "image", {"curve": curve, "notes": ["few."]})
    assert tab.shots.lines == []
    assert tab.notes.isHidden()
    tab.show_result(there)
    assert (tab.notes.text(), tab.notes.isHidden()) == ("few.", False)
    assert [line.name for line in tab.shots.lines] == ["image-only probe"]
    tab.show_result(a_result(an_evaluation("zero-shot")))
    tab.show_result(there)
    assert [line.name for line in tab.shots.lines] == ["image-only probe"], "the other's zero-shot is not of this"
    asked: list[tuple[str, int]] = []
    tab.few_shot_requested.connect(lambda kind, draws: asked.append((kind, draws)))
    tab.draws.setValue(7)
    tab.set_busy(True)
    tab.fused.click()
    tab.set_busy(False)
    tab.fused.click()
    assert asked == [("fused", 7)]
