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

from sdgui.panels.classify.kept import keep, kept_results
from sdgui.panels.classify.model import LAYER, Measure
from sdgui.shared.pickers.entries import ModelChoice, remember
from sdgui.store.store import Store
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


def test_buttons_and_tabs_are_enabled_where_they_apply(qtbot: QtBot, open_classify: OpenClassify) -> None:
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


def test_the_layers_of_the_model_are_offered_and_requested(
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


def test_other_training_data_must_be_chosen(qtbot: QtBot, open_classify: OpenClassify) -> None:
    panel = open_classify()
    source = panel.view.source
    source.train.setCurrentIndex(source.train.findData("other"))
    source.button.click()
    assert panel.view.bar.text == "Choose the training data, or train on the model's own."
    assert not panel.session.busy("measure")


def test_a_chosen_label_is_kept_for_training_data_and_new_data(
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


def test_selecting_in_the_tree_changes_no_model(open_classify: OpenClassify) -> None:
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


def test_choices_missing_in_the_data_are_remembered(qtbot: QtBot, open_classify: OpenClassify, folder: Path) -> None:
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


def test_without_a_model_a_probe_cannot_be_loaded_nor_images_classified(
    open_classify: OpenClassify, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_classify("")
    monkeypatch.setattr(panel.view.source.model, "choice", lambda: None)
    panel.load_probe(folder / "mine.safetensors")
    assert panel.view.bar.text == "First choose the model that the probe was fitted on."
    panel.view.trying.add([str(folder / "images" / "0-1.png")])
    assert panel.view.bar.text == "Choose a model first to try it on images."


def test_a_folder_dropped_on_the_panel_is_data(open_classify: OpenClassify, folder: Path) -> None:
    panel = open_classify("")
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(folder / "images"))])
    action, button, keys = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(panel.view, QDragEnterEvent(QPoint(5, 5), action, data, button, keys))
    QApplication.sendEvent(panel.view, QDropEvent(QPointF(5, 5), action, data, button, keys))
    assert panel.view.source.data.source() == str(folder / "images")


def test_the_last_tab_is_restored_with_the_first_result(qtbot: QtBot, open_classify: OpenClassify) -> None:
    panel = open_classify()
    panel._services.settings.setValue("classify/tab", 2)
    panel.view.restore()
    choose(qtbot, panel, Path(panel.view.source.data.source()))
    classify(qtbot, panel, "zero-shot")
    assert panel.view.tabs.currentIndex() == 2
    panel.view.tabs.setCurrentIndex(0)
    classify(qtbot, panel, "knn")
    assert panel.view.tabs.currentIndex() == 0


def test_the_active_probe_is_that_of_the_shown_result_the_loaded_or_the_newest(
    open_classify: OpenClassify, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_classify("")
    results = panel.view.results
    older, newer = a_result(a_measure("image")), a_result(a_measure("fused"))
    words = a_result(a_measure("zero-shot"), can_save=False)
    results.add(words)
    assert (panel.probe(), results.save_probe.isEnabled(), results.apply.isEnabled()) == (None, False, False)
    for one in (older, newer, words):
        results.add(one)
    assert panel.probe() == newer.measure
    assert (results.save_probe.isEnabled(), results.apply.isEnabled()) == (True, True)
    monkeypatch.setattr(panel.session, "load", lambda _probe, done, _failed: done("key"))
    panel.load_probe(folder / "mine.safetensors")
    loaded = panel.probe()
    assert loaded is not None
    assert (loaded.method, loaded.path) == ("saved", str(folder / "mine.safetensors"))
    assert panel.view.strip.isHidden()
    results.choose(older.measure)
    assert panel.probe() == older.measure


def test_the_wanted_label_is_kept_while_the_data_are_loading(open_classify: OpenClassify, folder: Path) -> None:
    panel = open_classify("")
    source, settings = panel.view.source, panel._services.settings
    source.set_label("tone")
    source.data.set_source(str(folder / "small.csv"))
    assert source.chosen_label() == ""
    target = source.target()
    assert target is not None
    assert (target.label, target.data) == ("tone", str(folder / "small.csv"))
    source.save()
    assert settings.value("classify/label") == "tone", "who closes the window now has not lost it"


def test_notes_cover_the_shown_result_and_its_data_once_each(open_classify: OpenClassify) -> None:
    panel = open_classify("")
    one = a_result(notes=["few images.", "C was chosen."])
    other = a_result(a_measure(model="other@best"))
    opened = {"model": {"layers": [LAYER]}, "notes": ["old weights.", "few images."]}
    panel.session.data_opened.emit(one.measure.target, opened)
    panel.view.results.add(one)
    assert panel.view.notes.text().splitlines() == ["old weights.", "few images.", "C was chosen."]
    panel.view.results.add(other)
    assert panel.view.notes.isHidden()


def test_results_of_another_version_are_skipped(tmp_path: Path) -> None:
    store, good = Store.open(tmp_path), a_result(result="k", kind="linear-probe")
    keep(store, good)
    (kept,) = store.kept_results("classify")
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
        store.keep_result("classify", str(number), "/d.csv", content)
    assert [result.measure for result in kept_results(store)] == [good.measure]
    store.close()


def test_neighbouring_images_are_prefetched_after_the_current_one(
    open_classify: OpenClassify, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_classify("")
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(panel.session, "try_images", lambda *given: asked.append(given))
    found = a_result()
    panel.view.results.add(found)
    first, second = (str(folder / "images" / f"{number}-1.png") for number in range(2))
    panel.view.trying.add([first, second])
    purpose, model, probe, images, _, done, _ = asked[-1]
    assert (purpose, model, probe, images) == ("try", ("run@best", "teacher"), found.measure, [first])
    done({"images": [{"image": first, "probe": None, "zero_shot": None, "error": ""}]})
    assert (asked[-1][0], asked[-1][3]) == ("try more", [second]), "the next current one does not end it"
    count = len(asked)
    panel.view.trying.show_probe("another", "another")
    done({"images": [{"image": second, "probe": None, "zero_shot": None, "error": "torn"}]})
    assert second not in panel.view.trying._answers, "it is no answer of the probe that is used now"
    assert len(asked) == count + 1, "it is asked for again"
