"""The table as it is used: filter, groups, order, ticks, columns, saved views, edits of many."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, QSettings, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from sdgui.panels.runs.table.columns import ColumnChooser
from sdgui.panels.runs.table.part import RunTable
from sdgui.panels.runs.table.views import SavedViews
from sdgui.store.store import Store
from tests.sdgui.store.run_table.listing import fill

RATE, RECALL = "optim.learning_rate", "val/teacher/R@1"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, list[int]]]:
    store = Store.open(tmp_path_factory.mktemp("home"))
    yield store, fill(store)
    store.close()


@pytest.fixture
def table(qtbot: QtBot, filled: tuple[Store, list[int]], tmp_path: Path) -> RunTable:
    made = RunTable(filled[0], QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(made)
    made.resize(1000, 400)
    made.show()
    made.start()
    settle(made)
    return made


def settle(table: RunTable) -> None:
    """Until every question to the store is answered and shown."""
    for _ in range(4):
        table.reader.wait()
        QApplication.processEvents()


def shown(table: RunTable, column: str) -> list[str]:
    """The texts of a column, once they are read."""
    number = [field.name for field in table.model.fields].index(column)
    rows = range(table.model.rowCount())
    for row in rows:
        table.model.index(row, number).data()
    settle(table)
    return [str(table.model.index(row, number).data()) for row in rows]


def test_typing_filters_and_an_error_has_its_place(qtbot: QtBot, table: RunTable) -> None:
    box = table.bar.filter
    qtbot.keyClicks(box, "optim.learning_rate<1e-3")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    settle(table)
    assert shown(table, "seed") == ["2", "1", "0"]
    assert table.bar.number.text() == "3 runs"
    qtbot.keyClicks(box, " tga:paper")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    settle(table)
    assert "did you mean tag" in box.accessibleDescription()
    assert table.model.rowCount() == 3, "what was found before stays"
    box.selectAll()
    qtbot.keyClicks(box, "tag:paper")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    settle(table)
    assert (box.accessibleDescription(), table.model.rowCount()) == ("", 2)


def test_tab_takes_a_completion(qtbot: QtBot, table: RunTable) -> None:
    box = table.bar.filter
    box.setFocus()
    qtbot.keyClicks(box, "learn")
    assert box._list.isVisible()
    qtbot.keyClick(box, Qt.Key.Key_Tab)
    assert box.text() == "optim.learning_rate"
    qtbot.keyClick(box, Qt.Key.Key_Escape)
    assert not box._list.isVisible()


def test_groups_show_means_and_open_by_keys(qtbot: QtBot, table: RunTable) -> None:
    table.show_layout(table.arrangement.with_columns(["seed", RECALL]).grouped_by(RATE).sorted_by(RECALL))
    settle(table)
    names = shown(table, "name")
    assert names == [f"{RATE}: {rate} · 3 runs" for rate in ("0.002", "0.001", "0.0001")]
    assert shown(table, RECALL)[0] == "41.0 ± 2.5"
    table.view.setFocus()
    table.view.selectRow(0)
    table.view.setCurrentIndex(table.model.index(0, 0))
    qtbot.keyClick(table.view, Qt.Key.Key_Right)
    settle(table)
    assert shown(table, "seed")[:4] == ["1", "2", "1", "0"]
    assert len(table.chosen_runs()) == 3, "the runs of the group that is selected"
    qtbot.keyClick(table.view, Qt.Key.Key_Left)
    assert table.model.rowCount() == 3


def test_a_click_on_the_box_and_space_tick(qtbot: QtBot, table: RunTable, filled: tuple[Store, list[int]]) -> None:
    newest = filled[1][-1]
    index = table.model.index(0, 0)
    place = table.view.names.tick_rect(table.view.visualRect(index), index).center()
    with qtbot.waitSignal(table.ticked) as ticked:
        qtbot.mouseClick(table.view._frozen.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert ticked.args == [[newest], True]
    table.set_ticks({newest: 3})
    table.view.setFocus()
    table.view.setCurrentIndex(index)
    with qtbot.waitSignal(table.ticked) as ticked:
        qtbot.keyClick(table.view, Qt.Key.Key_Space)
    assert ticked.args == [[newest], False]


def test_only_what_differs(table: RunTable) -> None:
    table.view.selectAll()
    table.bar.differing.click()
    settle(table)
    names = [field.name for field in table.model.fields]
    assert {"seed", RATE} <= set(names)
    assert "preset" not in names, "all are of one preset"
    assert "state" in names, "facts of runs stay"


def test_columns_are_chosen_moved_and_kept(qtbot: QtBot, table: RunTable, tmp_path: Path) -> None:
    table.choose_columns(QPoint(0, 0))
    chooser = table.findChild(ColumnChooser)
    assert chooser is not None
    chooser.search.setText("mean weight_decay")
    assert all(chooser.list.item(row).isHidden() for row in range(chooser.list.count()))
    chooser.search.setText("weight_decay")
    row = next(row for row in range(chooser.list.count()) if not chooser.list.item(row).isHidden())
    chooser.list.item(row).setCheckState(Qt.CheckState.Checked)
    QApplication.processEvents()
    settle(table)
    assert table.model.fields[-1].name == "optim.weight_decay"
    chooser.hide()
    table.view.horizontalHeader().moveSection(len(table.model.fields) - 1, 1)
    qtbot.waitUntil(lambda: table.arrangement.columns[0] == "optim.weight_decay")
    settle(table)
    again = SavedViews(QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat))
    assert again.current().columns == table.arrangement.columns


def test_saved_views(table: RunTable) -> None:
    views = table._views
    views.save("mine", table.arrangement.grouped_by("state"))
    views.save("other", table.arrangement)
    assert views.all()["mine"].group_by == ("state",)
    views.remove("mine")
    assert list(views.all()) == ["other"]


def test_the_current_cell_becomes_a_filter(table: RunTable) -> None:
    column = [field.name for field in table.model.fields].index(RATE)
    shown(table, RATE)
    table.view.setCurrentIndex(table.model.index(0, column))
    table.filter_to_cell()
    settle(table)
    assert (table.bar.filter.text(), table.model.rowCount()) == (f"{RATE} = 0.002", 3)


def test_rows_are_copied_with_their_heads(table: RunTable) -> None:
    shown(table, "seed")
    table.view.selectRow(1)
    table.copy()
    head, row = QGuiApplication.clipboard().text().splitlines()
    assert head.split("\t")[0] == "Run"
    assert row.split("\t")[0] == "rate 0.002 · run 1"


def test_the_order_of_the_head_is_the_orders(qtbot: QtBot, table: RunTable) -> None:
    column = [field.name for field in table.model.fields].index("seed")
    table.view.horizontalHeader().sectionClicked.emit(column)
    settle(table)
    assert shown(table, "seed") == sorted(shown(table, "seed"))
    table.view.horizontalHeader().sectionClicked.emit(column)
    settle(table)
    assert shown(table, "seed") == sorted(shown(table, "seed"), reverse=True)
