"""Results of the Classify panel: what is asked, and what each tab shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from sdgui.app.main_window import MainWindow
from sdgui.panels.classify.model import Target
from sdgui.panels.classify.panel import ClassifyPanel
from sdgui.panels.classify.results import _model_lines
from sdgui.panels.classify.stored_results import stored_results
from sdgui.widgets.gallery.items import describe_item
from tests.sdgui.conftest import leave
from tests.sdgui.panels.classify.classifying import OpenClassify, asked, classify


def test_one_button_evaluates_for_every_tab(qtbot: QtBot, open_classify: OpenClassify, folder: Path) -> None:
    panel = open_classify()
    assert panel.view.empty.isVisible()
    assert not panel.view.tabs.isTabEnabled(1)
    classify(qtbot, panel)
    request = asked(folder, "classify_open")[0]
    assert request["data"] == str(folder / "small.csv")
    assert (request["label"], request["weights"], request["train"]) == ("kind", "teacher", "")
    assert panel.view.accuracy.accuracy_label.text() == "83.3 %"
    assert "73.3 to 93.3 %" in panel.view.accuracy.interval_label.text()
    table = panel.view.accuracy.table
    assert [row["class"] for row in table.model.rows] == ["cat", "Große Katze", "snow_leopard", "🐯 tiger"]
    assert panel.view.matrix.matrix.sentence((0, 1)) == "cat predicted as Große Katze: 1 of 6 (16.7 %)"
    assert [row["count"] for row in panel.view.matrix.pairs.model.rows] == [1, 1, 1, 1]
    assert len(panel.view.mistakes.gallery.model.items()) == 4
    assert panel.view.curves.c_curve.lines[0].marked == 0.1
    assert "10 images" not in panel.view.notes.list.toPlainText()
    assert "row 7: no label" in panel.view.notes.list.toPlainText()
    assert "and 2 more" in panel.view.notes.list.toPlainText()
    panel.view.notes.button.click()
    assert panel.view.notes.list.isVisible()

    # A cell and a pair show their images.
    panel.view.tabs.setCurrentWidget(panel.view.matrix)
    panel.view.matrix.matrix.setFocus()
    qtbot.keyClick(panel.view.matrix.matrix, Qt.Key.Key_Return)
    gallery = panel.view.matrix.gallery
    qtbot.waitUntil(lambda: gallery.model.rowCount() == 5, timeout=20000)
    assert gallery.model.item(0).correct is True
    panel.view.matrix.pairs.set_current(1)
    qtbot.waitUntil(lambda: gallery.model.rowCount() == 1, timeout=20000)
    assert panel.view.matrix.matrix.current_classes() == (1, 2)
    assert gallery.model.item(0).correct is False
    assert "snow_leopard" in describe_item(gallery.model.item(0))
    request = asked(folder, "classify_cell")[-1]
    assert (request["true"], request["predicted"], request["offset"]) == (1, 2, 0)

    # The layers of the model and other training data are offered.
    source = panel.view.source
    layers = source.options._layer
    assert [layers.itemText(row) for row in range(layers.count())] == ["before the projection", "embedding", "block 1"]
    layers.setCurrentIndex(2)
    source.options._k.setValue(7)
    source.set_training(str(folder / "other.csv"))
    qtbot.waitUntil(lambda: source.train_label.count() == 2)
    source.train_label.setCurrentIndex(1)
    assert source.train_data.isVisibleTo(source)
    classify(qtbot, panel, "knn")
    request = asked(folder, "classify_open")[-1]
    assert (request["layer"], request["train"], request["train_label"]) == (
        "block 1",
        str(folder / "other.csv"),
        "tone",
    )
    assert asked(folder, "classify_knn")[-1]["k"] == 7

    # A chosen label is kept for training data and for new data.
    source.label.setCurrentIndex(source.label.findData("tone"))
    source.train_label.setCurrentIndex(0)
    source.label.activated.emit(source.label.currentIndex())
    assert source.train_label.currentData() == "tone"
    source.data.set_source(str(folder / "other.csv"))
    assert source.chosen_label() == "", "of data that are not read yet nothing is known"
    qtbot.waitUntil(lambda: source.label.count() == 2)
    assert source.chosen_label() == "tone"
    source.set_training("")
    assert not source.train_data.isVisibleTo(source)
    target = source.target()
    assert target is not None
    assert (target.train, target.train_label) == ("", "")
    source.train.setCurrentIndex(source.train.findData("other"))
    source.train_data.set_source("")
    source.classify_button.click()
    assert panel.view.bar.text == "Choose training data, or train on the model's training data."
    assert not panel.session.busy("evaluate")


def test_all_four_methods_and_a_class_of_the_table_opens_the_matrix(qtbot: QtBot, open_classify: OpenClassify) -> None:
    panel = open_classify()
    classify(qtbot, panel, "all")
    kinds = {found.answer["kind"] for found in panel.view.results.results()}
    assert kinds == {"zero-shot", "linear-probe", "fused-probe", "knn"}
    panel.view.results.choose(
        next(f.evaluation for f in panel.view.results.results() if f.evaluation.method == "zero-shot")
    )
    assert panel.view.accuracy.accuracy_label.text() == "66.7 %"
    panel.view.accuracy.table.row_activated.emit(2)
    assert panel.view.tabs.currentWidget() is panel.view.matrix
    assert panel.view.matrix.matrix.current_classes() == (2, 2)
    assert "Only linear and fused probes" in panel.view.curves.c_curve.readout.text()

    # Comparing with the other network evaluates it.
    panel.view.tabs.setCurrentWidget(panel.view.compare)
    panel.view.compare.network.click()
    qtbot.waitUntil(lambda: len(panel.view.results.results()) == 5, timeout=20000)
    other = panel.view.results.results()[0].evaluation
    assert (other.method, other.target.weights) == ("zero-shot", "student")


def test_results_survive_a_restart_until_removed(qtbot: QtBot, open_classify: OpenClassify, folder: Path) -> None:
    panel = open_classify()
    for method in ("image", "zero-shot"):
        classify(qtbot, panel, method)
    shown, figure = (
        [found.evaluation for found in panel.view.results.results()],
        panel.view.accuracy.accuracy_label.text(),
    )
    leave_panel(panel, qtbot)
    measured = len(asked(folder, "classify_probe"))
    again = open_classify(data="")
    qtbot.waitUntil(lambda: [found.evaluation for found in again.view.results.results()] == shown, timeout=20000)
    assert again.view.accuracy.accuracy_label.text() == figure
    again.view.results.choose(shown[1])
    again.view.tabs.setCurrentWidget(again.view.matrix)
    again.view.matrix.matrix.setFocus()
    qtbot.keyClick(again.view.matrix.matrix, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: again.view.matrix.gallery.model.rowCount() == 5, timeout=20000)
    assert len(asked(folder, "classify_probe")) == measured, "its key says all that is asked about it"
    again.view.results.remove_current()
    again._services.writer.wait()
    assert [found.evaluation for found in stored_results(again._services.store)] == shown[:1]


def leave_panel(panel: ClassifyPanel, qtbot: QtBot) -> None:
    window = panel.window()
    assert isinstance(window, MainWindow)
    leave(window, qtbot)


def test_a_result_names_its_run_before_the_weights() -> None:
    run = Target(
        model="/runs/a@best",
        weights="student",
        title="sd-clip demo · run 1 · best, step 234 · student",
        data="/d.csv",
    )
    assert _model_lines(run) == "sd-clip demo · run 1\nstudent · best, step 234"
    named = replace(run, title="emoji · student · run 1 · best, step 234 · student")
    assert _model_lines(named) == "emoji · student · run 1\nstudent · best, step 234"
    between = replace(
        run, model="interpolated:/runs/a@best;/runs/b@best@0.5",
        title="sd-clip demo · run 1 · best, step 234 · alpha 0.5 with emoji · run 2 · student",
    )  # fmt: skip
    assert _model_lines(between) == "sd-clip demo · run 1\nalpha 0.5 with emoji · run 2 · student · best, step 234"
    assert (
        _model_lines(Target(model="/models/emoji-coca", weights="", title="emoji-coca", data="/d.csv")) == "emoji-coca"
    )
