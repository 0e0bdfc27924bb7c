"""Results of the Classify panel: what is asked, and what each tab shows."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from sdgui.app.main_window import MainWindow
from sdgui.panels.classify.panel import ClassifyPanel
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
    assert panel.view.accuracy.figure.text() == "83.3 %"
    assert "73.3 to 93.3 %" in panel.view.accuracy.interval.text()
    table = panel.view.accuracy.table
    assert [row["class"] for row in table.rows()] == ["cat", "Große Katze", "snow_leopard", "🐯 tiger"]
    assert panel.view.matrix.matrix.sentence((0, 1)) == "cat predicted as Große Katze: 1 of 6 (16.7 %)"
    assert [row["count"] for row in panel.view.matrix.pairs.rows()] == [1, 1, 1, 1]
    assert len(panel.view.mistakes.gallery.model.items()) == 4
    assert panel.view.curves.c_curve.lines()[0].marked == 0.1
    assert "10 images" not in panel.view.notes.text()
    assert "row 7: no label" in panel.view.notes.text()
    assert "and 2 more" in panel.view.notes.text()
    panel.view.notes.button.click()
    assert panel.view.notes.list.isVisible()


def test_a_cell_and_a_pair_show_their_images(qtbot: QtBot, open_classify: OpenClassify, folder: Path) -> None:
    panel = open_classify()
    classify(qtbot, panel)
    panel.view.tabs.setCurrentWidget(panel.view.matrix)
    panel.view.matrix.matrix.setFocus()
    qtbot.keyClick(panel.view.matrix.matrix, Qt.Key.Key_Return)
    gallery = panel.view.matrix.gallery
    qtbot.waitUntil(lambda: gallery.model.rowCount() == 5, timeout=20000)
    assert gallery.model.item(0).correct is True
    panel.view.matrix.pairs.set_current(1)
    qtbot.waitUntil(lambda: gallery.model.rowCount() == 1, timeout=20000)
    assert panel.view.matrix.matrix.current() == (1, 2)
    assert gallery.model.item(0).correct is False
    assert "snow_leopard" in describe_item(gallery.model.item(0))
    request = asked(folder, "classify_cell")[-1]
    assert (request["true"], request["predicted"], request["offset"]) == (1, 2, 0)


def test_all_four_methods_and_a_class_of_the_table_opens_the_matrix(qtbot: QtBot, open_classify: OpenClassify) -> None:
    panel = open_classify()
    classify(qtbot, panel, "all")
    kinds = {found.answer["kind"] for found in panel.view.results.results()}
    assert kinds == {"zero-shot", "linear-probe", "fused-probe", "knn"}
    panel.view.results.choose(next(f.measure for f in panel.view.results.results() if f.measure.method == "zero-shot"))
    assert panel.view.accuracy.figure.text() == "66.7 %"
    panel.view.accuracy.table.row_activated.emit(2)
    assert panel.view.tabs.currentWidget() is panel.view.matrix
    assert panel.view.matrix.matrix.current() == (2, 2)
    assert "Only linear and fused probes" in panel.view.curves.c_curve.readout.text()


def test_a_thousand_classes_do_not_block_the_window(qtbot: QtBot, open_classify: OpenClassify) -> None:
    panel = open_classify("many")
    classify(qtbot, panel)
    assert len(panel.view.accuracy.table.rows()) == 1000
    assert panel.view.matrix.matrix.cells.size == 1000
    panel.view.accuracy.table.filter_box.setText("99")
    assert len(panel.view.accuracy.table.visible_rows()) == 19
    panel.view.matrix.find_box.setText("class 512")
    panel.view.matrix.find_box.returnPressed.emit()
    assert panel.view.matrix.matrix.current() == (512, 512)
    panel.view.matrix.order.setCurrentIndex(1)
    panel.view.matrix.order.activated.emit(1)
    assert panel.view.matrix.matrix.current() == (512, 512)


def test_student_and_teacher_are_compared_in_words_by_class_and_by_image(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path
) -> None:
    panel = open_classify()
    classify(qtbot, panel)
    panel.view.tabs.setCurrentWidget(panel.view.compare)
    assert panel.view.compare.network.text() == "With the student"
    panel.view.compare.network.click()
    qtbot.waitUntil(lambda: "is better than" in panel.view.compare.sentence.text(), timeout=20000)
    assert "+33.3 points (95 %: +28.3 to +38.3, paired)" in panel.view.compare.sentence.text()
    assert len(panel.view.compare.table.rows()) == 4
    assert len(panel.view.compare.only_a.model.items()) == 1
    assert len(panel.view.compare.only_b.model.items()) == 0
    assert panel.view.results.current() is not None
    assert panel.view.results.current().measure.target.weights == "teacher"  # type: ignore[union-attr]
    opened = asked(folder, "classify_open")
    assert [request["weights"] for request in opened] == ["teacher", "student"]
    panel.view.compare.probe.click()
    qtbot.waitUntil(lambda: len(panel.view.results.results()) == 3, timeout=20000)
    qtbot.waitUntil(lambda: "Fused probe" in panel.view.compare.sentence.text(), timeout=20000)


def test_results_survive_a_restart_until_removed(qtbot: QtBot, open_classify: OpenClassify, folder: Path) -> None:
    panel = open_classify()
    for method in ("image", "zero-shot"):
        classify(qtbot, panel, method)
    shown, figure = [found.measure for found in panel.view.results.results()], panel.view.accuracy.figure.text()
    leave_panel(panel, qtbot)
    measured = len(asked(folder, "classify_probe"))
    again = open_classify(data="")
    qtbot.waitUntil(lambda: [found.measure for found in again.view.results.results()] == shown, timeout=20000)
    assert again.view.accuracy.figure.text() == figure
    again.view.results.choose(shown[1])
    again.view.tabs.setCurrentWidget(again.view.matrix)
    again.view.matrix.matrix.setFocus()
    qtbot.keyClick(again.view.matrix.matrix, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: again.view.matrix.gallery.model.rowCount() == 5, timeout=20000)
    assert len(asked(folder, "classify_probe")) == measured, "its key says all that is asked about it"
    again.view.results.remove_current()
    leave_panel(again, qtbot)
    last = open_classify(data="")
    qtbot.waitUntil(lambda: [found.measure for found in last.view.results.results()] == shown[:1], timeout=20000)


def leave_panel(panel: ClassifyPanel, qtbot: QtBot) -> None:
    window = panel.window()
    assert isinstance(window, MainWindow)
    leave(window, qtbot)
