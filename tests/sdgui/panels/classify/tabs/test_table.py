"""The table of classes: sorted, filtered, copied; what is chosen is the row as it was given."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHeaderView
from pytestqt.qtbot import QtBot

from sdgui.panels.classify.tabs.accuracy import AccuracyTab
from sdgui.panels.classify.tabs.share_bar import SHARE_ROLE
from sdgui.panels.classify.tabs.table import ClassTable
from sdgui.shared.tables import Column
from tests.sdgui.panels.classify.classifying import a_result

ROWS = [("red fox", 3), ("grey wolf", 1), ("red panda", 2)]


@pytest.fixture
def table(qtbot: QtBot) -> ClassTable:
    columns = [Column("Class", lambda row: row[0]), Column("Images", lambda row: str(row[1]), lambda row: row[1])]
    made = ClassTable("Classes", columns, "Filter")
    qtbot.addWidget(made)
    made.set_rows(ROWS)
    made.show()
    return made


def test_the_current_row_survives_sorting(table: ClassTable) -> None:
    table.set_current(0)
    table.sort_by(1)
    assert table.model.visible_rows == [1, 2, 0]
    assert table.current() == 0
    table.sort_by(1, descending=True)
    assert table.model.visible_rows == [0, 2, 1]
    assert table.current() == 0
    table.set_rows(ROWS)
    assert table.current() == -1


def test_keys_select_and_copy_and_filter_and_header_have_accessible_names(qtbot: QtBot, table: ClassTable) -> None:
    chosen, current = list[int](), list[int]()
    table.row_activated.connect(chosen.append)
    table.current_changed.connect(current.append)
    qtbot.keyClick(table.view, Qt.Key.Key_Return)
    assert chosen == [], "nothing is current"
    table.activateWindow()
    table.set_current(1)
    table.setFocus()
    assert table.view.hasFocus()
    for key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
        qtbot.keyClick(table.view, key)
    assert (chosen, current) == ([1, 1], [1])
    table.filter_box.setFocus()
    qtbot.keyClick(table.filter_box, Qt.Key.Key_Return)
    assert table.view.hasFocus()
    table.filter_box.setText("red")
    assert table.current() == -1, "it is not among those that are shown"
    table.set_current(1)
    assert table.current() == -1
    table.set_current(2)
    table.filter_box.setText("panda")
    assert (table.model.visible_rows, table.current()) == ([2], 2)
    table.filter_box.clear()
    assert (table.current(), table.count_label.isHidden()) == (2, True)
    table.view.selectAll()
    table.sort_by(0)
    qtbot.keyClick(table.view, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClick(table.view, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QGuiApplication.clipboard().text().splitlines() == [
        "Class\tImages", "grey wolf\t1", "red fox\t3", "red panda\t2"
    ]  # fmt: skip
    QGuiApplication.clipboard().clear()
    model, tip, side = table.model, Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.TextAlignmentRole
    assert (model.rowCount(model.index(0, 0)), model.columnCount(model.index(0, 0))) == (0, 0)
    assert [model.headerData(column, Qt.Orientation.Horizontal) for column in range(2)] == ["Class", "Images"]
    assert model.headerData(0, Qt.Orientation.Horizontal, tip) is None
    for value in (
        [model.headerData(column, Qt.Orientation.Horizontal, side) for column in range(2)],
        [model.index(0, column).data(side) for column in range(2)],
    ):
        assert [bool(one & Qt.AlignmentFlag.AlignRight) for one in value] == [False, True], "numbers"
    assert model.index(0, 0).data(tip) == "grey wolf"
    assert model.index(0, 0).data(SHARE_ROLE) is None
    head = table.view.horizontalHeader()
    modes = [head.sectionResizeMode(column) == QHeaderView.ResizeMode.Stretch for column in range(2)]
    assert modes == [True, False]
    plain = ClassTable("Pairs", model.columns)
    qtbot.addWidget(plain)
    assert plain.filter_box.isHidden()


def test_a_class_of_a_sorted_table_is_reported_by_its_own_index(qtbot: QtBot) -> None:
    tab = AccuracyTab()
    qtbot.addWidget(tab)
    worst = {"class": "fox", "index": 2, "rows": 4, "accuracy": 0.25, "low": 0.0, "high": 0.5}
    best = {"class": "cat", "index": 0, "rows": 9, "accuracy": 0.9, "low": 0.8, "high": 1.0}
    tab.show_result(a_result(per_class=[worst, best]))
    with qtbot.waitSignal(tab.class_chosen) as told:
        tab.table.row_activated.emit(0)
    assert told.args == [2]
    assert tab.metrics_label.text() == (
        "majority class 69.2 % · macro-F1 67.3 % · top-5 accuracy 100.0 % · 16 test images, 2 classes · C 0.1"
    )  # 9 of 13 images; the mean of 18/22, 4/5 and 2/5
    assert tab.interval_label.text() == "95 % interval\n50.0 to 90.0 %"
    for label in (tab.accuracy_label, tab.interval_label, tab.metrics_label):
        assert label.textInteractionFlags() & Qt.TextInteractionFlag.TextSelectableByMouse, "to be copied"
