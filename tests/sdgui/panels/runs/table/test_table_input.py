"""The table under mouse, keys and menus: arrows, ticks, double clicks, heads, and what is offered for rows."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QMenu
from pytestqt.qtbot import QtBot

from sdgui.panels.runs.table.layout import TableLayout
from sdgui.panels.runs.table.run_table import RunTable
from sdgui.store.store import Store
from sdgui.widgets.style.theme import SPACE
from tests.sdgui.panels.runs.table.tabling import settle
from tests.sdgui.store.run_table.listing import TEACHER

RATE = "optim.learning_rate"
LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton


def popup() -> QMenu:
    menu = QApplication.activePopupWidget()
    assert isinstance(menu, QMenu)
    return menu


def test_a_group_opens_by_its_arrow_and_by_keys(qtbot: QtBot, table: RunTable) -> None:
    table.show_layout(table.current_layout.grouped_by(RATE))
    settle(table)
    view, names = table.view, table.view._frozen
    head = table.model.index(0, 0)
    arrow = view.names.arrow_rect(names.visualRect(head)).center()

    def rows_after(act: Any) -> int:
        act()
        settle(table)
        return table.model.rowCount()

    def click(position: QPoint, button: Qt.MouseButton = LEFT) -> Any:
        return lambda: qtbot.mouseClick(names.viewport(), button, pos=position)

    beside = QPoint(view.columnWidth(0) - 2 * SPACE, arrow.y())
    assert [rows_after(click(arrow, RIGHT)), rows_after(click(beside))] == [3, 3]
    assert view.selected_rows() == [0]
    assert rows_after(click(arrow)) == 6
    view.clearSelection()
    run = table.model.index(1, 0)
    cell = names.visualRect(run)
    assert view.names.tick_rect(cell, run).left() > view.names.arrow_rect(cell).left(), "runs of a group are indented"
    with qtbot.waitSignal(table.ticked) as ticked:
        click(view.names.tick_rect(cell, run).center())()
    assert ticked.args == [[table.model.row(run).run_id], True]  # type: ignore[union-attr]
    assert rows_after(click(arrow)) == 3
    view.setFocus()
    view.setCurrentIndex(head)
    keys = (
        (Qt.Key.Key_Left, 3), (Qt.Key.Key_Right, 6), (Qt.Key.Key_Right, 6), (Qt.Key.Key_Left, 3),
        (Qt.Key.Key_Return, 6), (Qt.Key.Key_Enter, 3),
    )  # fmt: skip
    for key, number in keys:
        view.setCurrentIndex(head)
        assert rows_after(lambda key=key: qtbot.keyClick(view, key)) == number, key
    assert view.hasFocus()


def test_a_run_opens_by_double_click_and_by_enter(
    qtbot: QtBot, table: RunTable, filled: tuple[Store, list[int]]
) -> None:
    opened_runs: list[int] = []
    table.run_opened.connect(opened_runs.append)
    newest = filled[1][::-1]
    place = table.view.visualRect(table.model.index(1, 1)).center()
    qtbot.mouseDClick(table.view.viewport(), LEFT, pos=place)
    assert opened_runs == [newest[1]]
    name = QPoint(table.view.columnWidth(0) - 2 * SPACE, place.y())
    qtbot.mouseDClick(table.view._frozen.viewport(), LEFT, pos=name)
    assert opened_runs == [newest[1]] * 2
    table.view.setCurrentIndex(table.model.index(0, 0))
    for key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
        qtbot.keyClick(table.view, key)
    assert opened_runs[2:] == [newest[0]] * 2
    table.show_layout(table.current_layout.grouped_by(RATE))
    settle(table)
    qtbot.mouseDClick(table.view.viewport(), LEFT, pos=place)
    assert len(opened_runs) == 4, "a group is no run"


def test_ticking_one_of_several_selected_rows_ticks_all(
    qtbot: QtBot, table: RunTable, filled: tuple[Store, list[int]]
) -> None:
    newest, view = filled[1][::-1], table.view
    received: list[tuple[object, ...]] = []
    table.ticked.connect(lambda *args: received.append(args))

    def press(row: int) -> None:
        index = table.model.index(row, 0)
        tick = view.names.tick_rect(view._frozen.visualRect(index), index).center()
        qtbot.mouseClick(view._frozen.viewport(), LEFT, pos=tick)

    view.selectRow(1)
    view.selectionModel().select(
        table.model.index(2, 0), view.selectionModel().SelectionFlag.Select | view.selectionModel().SelectionFlag.Rows
    )
    press(2)
    table.set_ticks([newest[1]])
    press(1)
    press(4)
    assert received == [(newest[1:3], True), (newest[1:3], False), ([newest[4]], True)]
    qtbot.keyClick(view, Qt.Key.Key_Space)
    assert received[-1] == (newest[1:3], True), "not all of them are ticked"
    table.set_ticks(newest[1:3])
    qtbot.keyClick(view, Qt.Key.Key_Space)
    assert received[-1] == (newest[1:3], False)


def test_the_header_menu_sorts_groups_hides_and_chooses(table: RunTable) -> None:
    columns = ("seed", TEACHER)
    table.show_layout(TableLayout(columns=columns))
    settle(table)

    def menu(column: int) -> dict[str, Any]:
        header = table.view.horizontalHeader() if column else table.view._frozen.horizontalHeader()
        header.customContextMenuRequested.emit(QPoint(header.sectionViewportPosition(column) + SPACE, 5))
        return {action.text(): action for action in popup().actions() if action.text()}

    def choose(column: int, title: str) -> TableLayout:
        menu(column)[title].trigger()
        if isinstance(still := QApplication.activePopupWidget(), QMenu):
            still.close()
        if title in ("Sort", "Hide column"):
            settle(table)
        return table.current_layout

    assert list(menu(0)) == ["Sort", "Group by this column", "Columns…"], "the name stays"
    popup().close()
    assert list(menu(1)) == ["Sort", "Group by this column", "Hide column", "Columns…"]
    popup().close()
    assert choose(1, "Sort").sort == (("seed", False),)
    header = table.view.horizontalHeader()
    ascending, descending = Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder
    arrow = (header.isSortIndicatorShown(), header.sortIndicatorSection(), header.sortIndicatorOrder())
    assert arrow == (True, 1, ascending)
    assert choose(1, "Sort").sort == (("seed", True),)
    assert header.sortIndicatorOrder() == descending
    assert choose(1, "Group by this column").group_by == ("seed",)
    assert choose(2, "Group by value ranges").group_by == ("seed", TEACHER)
    assert choose(1, "Group by this column").group_by == ("seed", TEACHER), "by each once"
    assert choose(2, "Hide column").columns == ("seed",)
    assert choose(1, "Hide column").columns == ()
    table.show_layout(TableLayout(columns=columns))
    settle(table)
    assert not header.isSortIndicatorShown()
    table.view.header_menu_requested.emit(9, QPoint(0, 0))
    assert QApplication.activePopupWidget() is None, "beside the heads"
    choose(1, "Columns…")
    assert table._chooser is not None
    assert table._chooser.isVisible()
    assert not table._chooser.at_step.step.hasFocus()
    table._chooser.hide()
    choose(2, "At a step…")
    assert table._chooser.at_step.metrics.currentData() == TEACHER
    table._chooser.hide()
