"""Requests and choices of Classify: outdated, failed and cancelled answers, what is used and what is remembered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from sdgui.panels.classify.model import Evaluation
from sdgui.panels.classify.stored_results import store_result, stored_results
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.store.store import Store
from sdgui.worker.replies import Cancelled, Failure
from tests.sdgui.panels.classify.classifying import OpenClassify, a_result, an_evaluation, make_run

Done = Callable[[dict[str, Any]], None]
Failed = Callable[[Failure], None]


def test_an_older_answer_about_the_same_cell_is_dropped(
    qtbot: QtBot, open_classify: OpenClassify, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two models, and the same cell of both: only the one that is shown may fill the gallery."""
    panel = open_classify("")
    one, two = a_result(), a_result(an_evaluation(model="other@best"))
    panel.view.results.add(one)
    panel.view.results.add(two)
    pending: dict[str, tuple[Done, Failed]] = {}

    def ask(_purpose: str, evaluation: Evaluation, _verb: str, done: Done, failed: Failed, **_rest: Any) -> None:
        pending[evaluation.target.model] = done, failed

    monkeypatch.setattr(panel.session, "ask", ask)
    for found in (one, two):
        panel.view.results.choose(found.evaluation)
        panel.view.matrix.ask_cell(2, 0)
    answer = {"true": "fox", "predicted": "cat"}
    gallery = panel.view.matrix.gallery
    pending["run@best"][0](answer | {"images": [{"image": "/old.png", "probability": 0.5}]})
    assert gallery.items() == []
    pending["run@best"][1](Failure("It ended."))
    assert panel.view.matrix._cell == (2, 0), "the cell that is shown is still being asked for"
    pending["other@best"][1](Cancelled())
    assert panel.view.bar.text == "It ended.", "what the user cancelled is no error"
    panel.view.matrix.ask_cell(2, 0)
    pending["other@best"][0](answer | {"images": [{"image": "/new.png", "probability": 0.5}]})
    assert [item.path.name for item in gallery.items()] == ["new.png"]

    # The current image of Try it is classified again by another probe.
    tried: list[object] = []
    monkeypatch.setattr(panel.session, "try_images", lambda *given: tried.append(given[2].method))
    panel.view.trying.add(["/0.png"])
    qtbot.waitUntil(lambda: tried[:1] == ["image"])
    panel.view.results.add(a_result(an_evaluation("fused")))
    qtbot.waitUntil(lambda: "fused" in tried)


def test_try_it_without_names_and_probe_shows_no_predictions(open_classify: OpenClassify) -> None:
    panel = open_classify("")
    trying, guess = panel.view.trying, [{"class": "cat", "probability": 1.0}]
    trying.add(["/0.png", "/1.png"])
    trying.names.setPlainText("cat")
    trying.ask()
    trying.show_answer(
        {"images": [{"image": f"/{n}.png", "probe": None, "zero_shot": guess, "error": ""} for n in range(2)]}
    )
    assert [item.caption for item in trying.gallery.items()] == ["cat", "cat"]
    trying.names.clear()
    trying.ask()
    assert [item.caption for item in trying.gallery.items()] == ["", ""]
    assert trying.by_names.model.rows == []


def test_a_result_of_another_model_or_other_data_is_not_shown(open_classify: OpenClassify, folder: Path) -> None:
    panel = open_classify()
    view, source = panel.view, panel.view.source
    target = source.target()
    assert target is not None
    shown = a_result(Evaluation(target, "image"))
    view.results.add(shown)
    view.tabs.setCurrentWidget(view.matrix)
    source.model.set_network("student")
    assert view.results.current() is None
    assert (view.first_page.currentWidget(), view.empty.accessibleName()) == (view.empty, "No result selected")
    assert not view.tabs.isTabEnabled(1)
    assert panel.probe() is None, "the probe was fitted on the teacher's features"
    student = source.target()
    assert student is not None
    panel.evaluations._add_result(shown)
    assert view.results.current() is None, "the answer came after the student was chosen"
    panel.evaluations._add_result(a_result(Evaluation(student, "image")))
    assert view.tabs.currentWidget() is view.matrix, "the tab that was open"
    assert panel.probe() == Evaluation(student, "image")
    row = source.label.findData("tone" if source.chosen_label() == "kind" else "kind")
    source.label.setCurrentIndex(row)
    source.label.activated.emit(row)
    assert view.results.current() is None, "it is of the other label"
    view.results.choose(Evaluation(student, "image"))
    source.data.set_source(str(folder / "other.csv"))
    assert view.results.current() is None
    view.results.choose(shown.evaluation)
    assert view.results.current() is shown, "the user may look at it"
    assert panel.probe() == shown.evaluation


def test_selecting_in_the_tree_changes_no_model_and_dropping_changes_the_data(
    open_classify: OpenClassify, folder: Path
) -> None:
    panel = open_classify("")
    picker = panel.view.source.model
    assert picker.set_choice(ModelChoice("open_clip:ViT-B-32,openai", "", "ViT-B-32"))
    window = panel.window()
    make_run(window)  # type: ignore[arg-type]
    newest = panel._services.store.runs()[-1].id
    window.experiments.select_run(newest)  # type: ignore[attr-defined]
    choice = picker.choice()
    assert choice is not None
    assert choice.model == "open_clip:ViT-B-32,openai"
    window.use_run("classify", newest)  # type: ignore[attr-defined]
    choice = picker.choice()
    assert choice is not None
    assert choice.run_id == newest

    # A folder dropped on the panel is its data.
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(folder / "images"))])
    action, button, keys = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(panel.view, QDragEnterEvent(QPoint(5, 5), action, data, button, keys))
    QApplication.sendEvent(panel.view, QDropEvent(QPointF(5, 5), action, data, button, keys))
    assert panel.view.source.data.source() == str(folder / "images")


def test_results_of_another_version_are_skipped(tmp_path: Path) -> None:
    store, good = Store.open(tmp_path), a_result(result="k", kind="linear-probe")
    store_result(store, good)
    (kept,) = store.panel_results("classify")
    answer = kept.content["answer"]
    cells = answer["confusion"] | {"count": ["many"]}
    for number, content in enumerate(
        (
            {},
            {"answer": 5},
            {"answer": answer},
            {"answer": answer, "measure": {"method": "by ear"}},
            {"answer": answer | {"confusion": cells}, "measure": kept.content["measure"]},
            {"answer": answer | {"metrics": 5}, "measure": kept.content["measure"]},
        )
    ):
        store.save_result("classify", str(number), "/d.csv", content)
    assert [result.evaluation for result in stored_results(store)] == [good.evaluation]
    store.close()
