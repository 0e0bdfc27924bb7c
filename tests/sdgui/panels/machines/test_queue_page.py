"""The queue's page by itself: what can be pressed, its menu, its keys, and how rows are moved and kept chosen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import QMimeData, QModelIndex, Qt
from PySide6.QtWidgets import QApplication, QMenu
from pytestqt.qtbot import QtBot

from sdgui.panels.machines.model import QueueRow
from sdgui.panels.machines.queue_page import QueueModel, QueuePage

TRAINS = QueueRow(1, "one", None, "running", "here", "0", "50 %", "ann@lab")
WAITS = [QueueRow(number, f"run {number}", number - 1, "queued", "here", "", "", "") for number in (2, 3, 4)]


@pytest.fixture
def page(qtbot: QtBot) -> QueuePage:
    page = QueuePage()
    qtbot.addWidget(page)
    page.resize(800, 400)
    page.show()
    page.show_rows([TRAINS, *WAITS])
    return page


def heard(page: QueuePage) -> list[object]:
    """What the page tells, in order."""
    received: list[object] = []
    page.table.rows.reordered.connect(lambda ids: received.append(list(ids)))
    page.table.removal_requested.connect(lambda ids: received.append(("leave", *ids)))
    page.table.run_opened.connect(lambda run: received.append(("open", run)))
    page.place_requested.connect(lambda ids, host: received.append((host, *ids)))
    page.limit_changed.connect(lambda limit: received.append(("limit", limit)))
    return received


def menu(page: QueuePage, row: int) -> QMenu:
    position = page.table.visualRect(page.table.rows.index(row, 1)).center()
    page.table.customContextMenuRequested.emit(position)
    popup = QApplication.activePopupWidget()
    assert isinstance(popup, QMenu)
    return popup


def test_only_waiting_runs_can_be_moved_or_removed(page: QueuePage) -> None:
    buttons = (page.up, page.down, page.top, page.remove)
    received = heard(page)
    assert page.line.text() == "1 training, 3 waiting"
    assert not any(button.isEnabled() for button in buttons)
    page.table.choose([1])
    assert not any(button.isEnabled() for button in buttons), "it trains"
    page.table.customContextMenuRequested.emit(page.table.visualRect(page.table.rows.index(0, 1)).center())
    assert QApplication.activePopupWidget() is None
    page.table.choose([4])
    assert all(button.isEnabled() for button in buttons)
    page.up.click()
    page.down.click()
    page.top.click()
    page.remove.click()
    assert received == [[2, 4, 3], [2, 3, 4], [4, 2, 3], ("leave", 4)]
    assert page.table.selected_waiting_runs() == [4]
    page.show_rows([])
    assert page.stack.currentWidget() is page.empty
    assert (page.line.text(), page.remove.isEnabled()) == ("0 training, 0 waiting", False)
    page.show_rows([TRAINS])
    assert page.stack.currentWidget() is page.table


def test_the_menu_of_a_waiting_run(page: QueuePage) -> None:
    received = heard(page)
    page.show_machines([("", "This computer"), ("r&d", "r&d")])
    page.table.choose([3, 4])
    for title in ("Move to the front of the queue", "Move to the end of the queue", "Remove from the queue"):
        popup = menu(page, 2)
        next(action for action in popup.actions() if action.text() == title).trigger()
        popup.close()
    popup = menu(page, 2)
    places = next(action for action in popup.actions() if action.text() == "Train on").menu()
    assert isinstance(places, QMenu)
    assert [action.text() for action in places.actions()] == ["This computer", "r&&d"]
    for place in places.actions():
        place.trigger()
    popup.close()
    assert received == [[3, 4, 2], [2, 3, 4], ("leave", 3, 4), ("", 3, 4), ("r&d", 3, 4)]


def test_a_run_is_dropped_before_a_row_on_it_or_at_the_end() -> None:
    model, order = QueueModel(), list[list[int]]()
    model.reordered.connect(lambda ids: order.append(list(ids)))
    model.show_rows([TRAINS, *WAITS])
    drags = Qt.ItemFlag.ItemIsDragEnabled
    assert [bool(model.flags(model.index(row, 0)) & drags) for row in range(4)] == [False, True, True, True]
    assert model.flags(QModelIndex()) == Qt.ItemFlag.ItemIsDropEnabled
    assert model.supportedDropActions() == Qt.DropAction.MoveAction
    dragged = model.mimeData([model.index(3, 0), model.index(3, 1)])
    assert model.mimeTypes() == dragged.formats()
    move, nowhere = Qt.DropAction.MoveAction, QModelIndex()
    assert not model.dropMimeData(dragged, move, -1, -1, model.index(1, 0))
    assert order == [[4, 2, 3]]
    model.dropMimeData(dragged, move, -1, -1, nowhere)
    model.dropMimeData(dragged, move, 0, 0, nowhere)
    assert order[1:] == [[2, 3, 4], [4, 2, 3]], "what trains stays before what waits"
    model.dropMimeData(QMimeData(), move, 0, 0, nowhere)
    model.move([0], 3)
    assert len(order) == 3, "neither another program's data nor a run that trains is moved"


def test_delete_keeps_runs_that_cannot_be_removed_from_here(qtbot: QtBot, page: QueuePage) -> None:
    page.show_rows([TRAINS, WAITS[0], replace(WAITS[1], refusal="It is queued on another computer.")])
    received = heard(page)
    page.table.choose([2, 3])
    qtbot.keyClick(page.table, Qt.Key.Key_Delete)
    assert received == []
    page.table.choose([2])
    qtbot.keyClick(page.table, Qt.Key.Key_Delete)
    assert received == [("leave", 2)]
