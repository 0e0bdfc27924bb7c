"""Requests of Classify: outdated, failed and cancelled answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QFileDialog, QMessageBox
from pytestqt.qtbot import QtBot

from sdgui.panels.classify.model import Measure
from sdgui.shared.pickers.entries import ModelChoice, remember
from sdgui.widgets.message import info
from sdgui.worker.replies import Cancelled, Failure
from tests.sdgui.panels.classify.classifying import OpenClassify, a_measure, a_result, asked, choose, classify, make_run

Done = Callable[[dict[str, Any]], None]
Failed = Callable[[Failure], None]


def test_an_older_answer_about_the_same_cell_is_dropped(
    open_classify: OpenClassify, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two models, and the same cell of both: only the one that is shown may fill the gallery."""
    panel = open_classify("")
    one, two = a_result(), a_result(a_measure(model="other@best"))
    panel.view.results.add(one)
    panel.view.results.add(two)
    pending: dict[str, tuple[Done, Failed]] = {}

    def ask(_purpose: str, measure: Measure, _verb: str, done: Done, failed: Failed, **_rest: Any) -> None:
        pending[measure.target.model] = done, failed

    monkeypatch.setattr(panel.session, "ask", ask)
    for found in (one, two):
        panel.view.results.choose(found.measure)
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


def test_buttons_and_tabs_are_for_what_there_is(qtbot: QtBot, open_classify: OpenClassify) -> None:
    panel = open_classify()
    view, results = panel.view, panel.view.results
    assert results.isHidden()
    classify(qtbot, panel, "zero-shot")
    assert [button.isEnabled() for button in (results.save_probe, results.load_probe, results.apply)] == [
        False, True, False,
    ]  # fmt: skip
    classify(qtbot, panel)
    assert results.save_probe.isEnabled()
    assert results.apply.isEnabled()
    assert view.trying.data_names.isEnabled()
    view.trying.data_names.click()
    assert view.trying.typed() == ["cat", "Große Katze", "snow_leopard", "🐯 tiger"]
    for tab, box in (
        (0, view.accuracy.table.filter_box),
        (1, view.matrix.find_box),
        (4, view.compare.table.filter_box),
        (5, view.trying.names),
    ):
        view.tabs.setCurrentIndex(tab)
        panel.focus_search()
        assert box.hasFocus()
    view.tabs.setCurrentIndex(1)
    results.remove_current()
    results.remove_current()
    assert not view.tabs.isTabEnabled(1)
    assert view.first.currentWidget() is view.empty
    assert view.notes.isHidden()
    assert view.compare.a.count() == 0


def test_the_layers_of_the_model_are_offered_and_asked_for(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path
) -> None:
    panel = open_classify()
    classify(qtbot, panel)
    layers = panel.view.source.options._layer
    assert [layers.itemText(row) for row in range(layers.count())] == ["before the projection", "embedding", "block 1"]
    layers.setCurrentIndex(2)
    panel.view.source.options._k.setValue(7)
    panel.view.source.set_training(str(folder / "other.csv"))
    qtbot.waitUntil(lambda: panel.view.source.train_label.count() == 2)
    panel.view.source.train_label.setCurrentIndex(1)
    assert panel.view.source.train_row.isVisibleTo(panel.view.source)
    classify(qtbot, panel, "knn")
    request = asked(folder, "classify_open")[-1]
    assert (request["layer"], request["train"], request["train_label"]) == (
        "block 1",
        str(folder / "other.csv"),
        "tone",
    )
    assert asked(folder, "classify_knn")[-1]["k"] == 7
    panel.view.source.set_training("")
    assert not panel.view.source.train_row.isVisibleTo(panel.view.source)
    target = panel.view.source.target()
    assert target is not None
    assert (target.train, target.train_label) == ("", "")


def test_other_training_data_have_to_be_chosen(qtbot: QtBot, open_classify: OpenClassify) -> None:
    panel = open_classify()
    source = panel.view.source
    source.train.setCurrentIndex(source.train.findData("other"))
    source.button.click()
    assert panel.view.bar.text == "Choose the training data, or train on the model's own."
    assert not panel.session.busy("measure")


def test_a_label_that_was_chosen_holds_for_the_training_data_and_the_next_data(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path
) -> None:
    panel = open_classify()
    source = panel.view.source
    source.set_training(str(folder / "other.csv"))
    qtbot.waitUntil(lambda: source.train_label.count() == 2)
    source.label.setCurrentIndex(source.label.findData("tone"))
    source.label.activated.emit(source.label.currentIndex())
    assert source.train_label.currentData() == "tone"
    source.data.set_source(str(folder / "other.csv"))
    assert source.chosen_label() == "", "of data that are not read yet nothing is known"
    qtbot.waitUntil(lambda: source.label.count() == 2)
    assert source.chosen_label() == "tone"


def test_what_is_selected_in_the_tree_changes_no_model(open_classify: OpenClassify) -> None:
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


def test_choices_beyond_the_data_are_remembered_too(qtbot: QtBot, open_classify: OpenClassify, folder: Path) -> None:
    panel = open_classify()
    source = panel.view.source
    choice = ModelChoice("open_clip:ViT-B-32,openai", "", "ViT-B-32")
    assert source.model.set_choice(choice)
    source.set_training(str(folder / "other.csv"))
    source.more.setChecked(True)
    panel.left()
    remember(panel._services.settings, ModelChoice("open_clip:ViT-B-16,openai", "", "used elsewhere since"))
    again = type(source)(panel._services)
    qtbot.addWidget(again)
    again.restore()
    kept = again.model.choice()
    assert kept is not None
    assert (kept.model, again.train_data.source()) == (choice.model, str(folder / "other.csv"))
    assert again.more.isChecked()
    assert not again.options.isHidden()


def test_of_several_methods_one_may_not_fit_and_the_others_go_on(
    qtbot: QtBot, open_classify: OpenClassify, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_classify()
    measure = panel.session.measure

    def refuse_some(one: Measure, done: Any, failed: Failed, **more: Any) -> None:
        if one.method in ("fused", "knn"):
            failed(Failure(f"no {one.method}"))
        else:
            measure(one, done, failed, **more)

    monkeypatch.setattr(panel.session, "measure", refuse_some)
    old = info("Something old.")
    panel.show_message(old)
    panel.view.source.set_method("all")
    panel.view.source.button.click()
    assert panel.view.bar.message is not old, "what was said before is over"
    qtbot.waitUntil(lambda: "Fused probe" in panel.view.bar.text)
    assert panel.view.bar.text == "Fused probe (predicted): no fused"
    assert panel.view.bar._details.toPlainText() == "20 nearest: no knn"
    assert {result.measure.method for result in panel.view.results.results()} == {"image", "zero-shot"}


def test_cancelling_ends_all_methods_and_a_second_press_starts_nothing(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path
) -> None:
    panel = open_classify("slow")
    panel.view.source.set_method("all")
    panel.view.source.button.click()
    qtbot.waitUntil(lambda: "Encoding images" in panel.view.strip.text)
    panel.view.source.run_asked.emit()
    panel.view.strip.cancelled.emit()
    qtbot.waitUntil(lambda: "Encoded features are kept" in panel.view.bar.text)
    qtbot.wait(50)
    assert not panel.session.busy("measure")
    assert len(asked(folder, "classify_open")) == 1


def test_what_is_measured_to_be_compared_is_measured_beside_the_first_and_stays_in_the_list(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_classify()
    classify(qtbot, panel)
    shown = panel.view.results.current()
    assert shown is not None
    tab = panel.view.compare
    tab.other_model.set_choice(ModelChoice("open_clip:ViT-B-32,openai", "", "ViT-B-32"))
    tab.measure_other.click()
    qtbot.waitUntil(lambda: len(panel.view.results.results()) == 2 and panel.view.strip.isHidden())
    qtbot.waitUntil(lambda: "is better than" in tab.sentence.text())
    other = panel.view.results.results()[0].measure
    assert (other.target.model, other.target.weights) == ("open_clip:ViT-B-32,openai", "")
    assert panel.view.results.current() is shown
    assert panel.session.home(other) is panel.session.home(shown.measure), "one worker compares both"
    request = asked(folder, "classify_compare")[-1]
    assert '"right": 5' in request["a"]
    assert '"right": 3' in request["b"]
    assert "the other result predicts Große Katze" in tab.only_a.items()[0].detail
    difference = tab.table.model.index(0, 4).data()
    assert difference == "+33.3"
    opened = len(asked(folder, "classify_open"))
    tab.measure_other.click()  # it is known by now
    qtbot.waitUntil(lambda: len(asked(folder, "classify_compare")) == 2)
    assert len(asked(folder, "classify_open")) == opened
    monkeypatch.setattr(panel.session, "compare", lambda _a, _b, _done, failed: failed(Failure("Other data.")))
    tab.choose(shown.measure, other)
    assert tab.sentence.text() == "These results could not be compared."
    assert panel.view.bar.text == "Other data."
    tab.network.click()
    qtbot.waitUntil(lambda: len(panel.view.results.results()) == 3)
    assert panel.view.results.results()[0].measure.target.title.endswith("student")


def test_few_shot_probes_are_of_the_kind_and_the_settings_asked_for(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path
) -> None:
    panel = open_classify()
    classify(qtbot, panel)
    options = panel.view.source.options
    options._text.setCurrentIndex(options._text.findData("caption"))
    panel.view.curves.draws.setValue(5)
    panel.view.curves.fused.click()
    assert not panel.view.curves.fused.isEnabled()
    qtbot.waitUntil(lambda: panel.view.strip.isHidden() and bool(asked(folder, "classify_few_shot")))
    request = asked(folder, "classify_few_shot")[-1]
    assert (request["kind"], request["text"], request["draws"]) == ("fused", "caption", 5)
    assert [line.name for line in panel.view.curves.shots.lines()] == ["fused probe"]


def test_a_loaded_probe_is_the_one_in_use(qtbot: QtBot, open_classify: OpenClassify, folder: Path) -> None:
    panel = open_classify("")
    file = folder / "mine.safetensors"
    file.touch()
    panel.load_probe(file)
    qtbot.waitUntil(lambda: "The probe mine.safetensors is loaded" in panel.view.bar.text)
    assert panel.view.results.results() == [], "there are no data to evaluate it on"
    probe = panel.probe()
    assert probe is not None
    assert probe.path == str(file)
    assert panel.view.results.apply.isEnabled()
    panel.view.trying.add([str(folder / "images" / "0-1.png")])
    qtbot.waitUntil(lambda: [row["class"] for row in panel.view.trying.by_probe.rows()] == ["cat", "tiger"])
    assert asked(folder, "classify_load_probe")[-1]["path"] == str(file)
    panel.probes.apply(probe, folder / "images", folder / "out.csv")
    qtbot.waitUntil(lambda: "23 images classified" in panel.view.bar.text)
    assert panel.view.bar.message is not None
    assert panel.view.bar.message.level == "warning"
    request = asked(folder, "classify_apply")[-1]
    assert (request["weights"], request["model"]) == (probe.target.weights, probe.target.model)
    assert request["probe"]


def test_without_a_model_a_probe_cannot_be_loaded_nor_images_tried(
    open_classify: OpenClassify, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_classify("")
    monkeypatch.setattr(panel.view.source.model, "choice", lambda: None)
    panel.load_probe(folder / "mine.safetensors")
    assert panel.view.bar.text == "First choose the model that the probe was fitted on."
    panel.view.trying.add([str(folder / "images" / "0-1.png")])
    assert panel.view.bar.text == "Choose a model first to try it on images."


def test_files_of_probes_have_their_ending_and_are_replaced_only_when_asked(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_classify("")
    probe = a_measure()
    taken: list[Path] = []
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(folder / "mine.json"), ""))
    panel.probes.ask_load(taken.append)
    assert taken == [folder / "mine.safetensors"]
    saved: list[Path] = []
    monkeypatch.setattr(panel.probes, "save", lambda _probe, path: saved.append(path))
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_args, **_more: (str(folder / "mine"), ""))
    panel.probes.ask_save(probe)
    assert saved == [folder / "mine.safetensors"]
    applied: list[Path] = []
    monkeypatch.setattr(panel.probes, "apply", lambda _probe, _folder, out: applied.append(out))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder / "images"))
    panel.probes.ask_apply(probe)
    assert applied == [folder / "mine.csv"]
    (folder / "mine.csv").write_text("precious")
    panel.probes.ask_apply(probe)
    assert len(applied) == 1
    box = panel.findChild(QMessageBox, "replace")
    next(button for button in box.buttons() if "Replace" in button.text()).click()
    assert len(applied) == 2
    panel.view.set_busy("Classifying")
    panel.probes._failed(Failure("It is torn."))
    assert panel.view.strip.isHidden()


def test_a_folder_dropped_on_the_panel_is_data(open_classify: OpenClassify, folder: Path) -> None:
    panel = open_classify("")
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(folder / "images"))])
    panel.view.dropEvent(
        QDropEvent(
            QPointF(5, 5),
            Qt.DropAction.CopyAction,
            data,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )
    )
    assert panel.view.source.data.source() == str(folder / "images")


def test_the_last_tab_comes_back_with_the_first_result_only(qtbot: QtBot, open_classify: OpenClassify) -> None:
    panel = open_classify()
    panel._services.settings.setValue("classify/tab", 2)
    panel.view.restore()
    choose(qtbot, panel, Path(panel.view.source.data.source()))
    classify(qtbot, panel, "zero-shot")
    assert panel.view.tabs.currentIndex() == 2
    panel.view.tabs.setCurrentIndex(0)
    classify(qtbot, panel, "knn")
    assert panel.view.tabs.currentIndex() == 0
