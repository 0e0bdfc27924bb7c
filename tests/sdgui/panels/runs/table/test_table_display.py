"""The table as it is seen: names, ticks, widths, what stays chosen and what is read again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtGui import QColor
from pytestqt.qtbot import QtBot

from sdgui.panels.runs.table.layout import NAME, TableLayout
from sdgui.panels.runs.table.part import RunTable
from sdgui.panels.runs.table.view import NAME_WIDTH
from sdgui.store.records import StoreError
from sdgui.store.store import Store
from sdgui.widgets.style.theme import SPACE, theme
from tests.sdgui.panels.runs.table.tabling import settle, shown
from tests.sdgui.store.run_table.listing import TEACHER

RATE = "optim.learning_rate"


def test_selected_rows_stay_selected_after_a_reload(table: RunTable, filled: tuple[Store, list[int]]) -> None:
    newest, view = filled[1][::-1], table.view
    received: list[int] = []
    table.run_chosen.connect(received.append)
    flags = view.selectionModel().SelectionFlag
    view.setCurrentIndex(table.model.index(5, 0))
    for row in (1, 2, 7):
        view.selectionModel().select(table.model.index(row, 0), flags.Select | flags.Rows)
    selected = [newest[row] for row in (1, 2, 5, 7)]
    assert table.chosen_runs() == selected
    table.refresh()
    settle(table)
    assert (table.chosen_runs(), view.chosen_rows()) == (selected, [1, 2, 5, 7])
    assert (view.currentIndex().row(), received) == (5, [newest[5]])
    assert len(view.selectionModel().selectedRows()) == 4, "whole rows"
    table.show_layout(replace(table.arrangement, filter="seed = 1"))
    settle(table)
    assert table.chosen_runs() == [run_id for run_id in selected if run_id in table.model.rows.run_ids()]
    assert table.chosen_runs() != []


def test_a_changed_run_is_read_again_and_read_errors_are_shown(
    table: RunTable, filled: tuple[Store, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, newest = filled[0], filled[1][-1]
    before = shown(table, "note")[0]
    store.note_run(newest, "seen")
    table.model.forget([newest, 99])
    assert list(table.model._requested) == [newest], "cells of rows out of view are not requested"
    settle(table)
    assert shown(table, "note")[0] == "seen"
    store.note_run(newest, before)
    received: list[str] = []
    table.failed.connect(received.append)

    def locked(*_: object) -> None:
        raise StoreError("The database is locked.")

    with monkeypatch.context() as broken:
        broken.setattr(store, "run_cells", locked)
        table.model.forget([newest])
        settle(table)
    assert (received, table.reader.reading) == (["The database is locked."], False)


def test_ticks_arrows_and_the_current_row_are_visible(
    qtbot: QtBot, table: RunTable, filled: tuple[Store, list[int]]
) -> None:
    names = table.view._frozen
    shown(table, "seed")

    def drawn(row: int, of_arrow: bool = False) -> list[QColor]:
        index = table.model.index(row, 0)
        cell = names.visualRect(index)
        rect = table.view.names.arrow_rect(cell) if of_arrow else table.view.names.tick_rect(cell, index)
        image = names.viewport().grab(rect).toImage()
        return [image.pixelColor(x, y) for y in range(image.height()) for x in range(image.width())]

    bare, other = drawn(0), drawn(1)
    assert len({color.name() for color in bare}) > 1, "an empty box has an edge"
    cell = names.visualRect(table.model.index(0, 0))
    indent = table.view.names.tick_rect(cell, table.model.index(0, 0)).left() - cell.left()
    assert indent < 2 * SPACE, "a run of no group is not indented"
    changed: list[int] = []
    table.model.dataChanged.connect(lambda _first, last: changed.append(last.row()))
    table.set_ticks([filled[1][-1]])
    assert changed == [table.model.rowCount() - 1], "every tick is drawn again"
    ticked = drawn(0)
    assert theme().run_color(filled[1][-1] - 1).name() in {color.name() for color in ticked}, (
        "a full one has the run's colour"
    )
    surface = theme().color("surface").name()
    inner = [(x, y) for y in range(3, 13) for x in range(3, 13)]
    mark = [(x, y) for x, y in inner if ticked[16 * y + x].name() == surface]
    (left, left_y), (low, low_y), (right, right_y) = min(mark), max(mark, key=lambda point: point[1]), max(mark)
    assert left < low < right, f"and a tick in it: {mark}"
    assert low_y > left_y > right_y
    assert drawn(1) == other
    before = names.viewport().grab().toImage()
    table.view.setFocus()
    table.view.setCurrentIndex(table.model.index(3, 0))
    selected = names.viewport().grab().toImage()
    assert selected != before, "what is chosen is seen"
    table.show_layout(table.arrangement.grouped_by(RATE))
    settle(table)
    shown(table, NAME)
    closed = drawn(0, of_arrow=True)
    table.model.toggle_group(table.model.index(0, 0))
    settle(table)
    assert drawn(0, of_arrow=True) != closed, "the arrow says which way"


def test_the_names_are_in_a_frozen_column_of_its_own_width(qtbot: QtBot, table: RunTable) -> None:
    names, view = table.view._frozen, table.view
    for columns in (("seed",), ("seed", RATE, "preset")):
        table.show_layout(TableLayout(columns=columns))
        settle(table)
        assert [names.isColumnHidden(column) for column in range(len(columns) + 1)] == [False, *[True] * len(columns)]
    assert (view.columnWidth(0), names.columnWidth(0), names.width()) == (NAME_WIDTH,) * 3
    view.horizontalHeader().resizeSection(0, 150)
    assert (names.columnWidth(0), names.width()) == (150, 150)
    names.horizontalHeader().resizeSection(0, 180)
    assert (view.columnWidth(0), names.width()) == (180, 180)
    table.resize(900, 300)
    assert names.height() == view.viewport().height() + view.horizontalHeader().height()
    widths = [view.columnWidth(column) for column in range(1, 4)]
    assert widths[0] == widths[2] == 11 * SPACE < widths[1] <= 28 * SPACE
    table.show_layout(TableLayout(columns=("state", TEACHER)))
    settle(table)
    assert (view.columnWidth(1), view.columnWidth(2) >= 16 * SPACE) == (15 * SPACE, True)


def test_a_cell_becomes_the_filter_of_its_runs(table: RunTable, filled: tuple[Store, list[int]]) -> None:
    columns = ("preset", "tag", TEACHER, "seed", "data.shuffle_captions", "note", "created")
    table.show_layout(TableLayout(columns=columns))
    settle(table)
    shown(table, "seed")

    def text(run: int, column: str) -> str:
        row = table.model.rows.row_of(filled[1][run])
        index = [field.name for field in table.model.fields].index(column)
        table.view.setCurrentIndex(table.model.index(row, index))
        return table.filter_text_of_cell()

    assert text(8, "preset") == 'preset = "sd-clip"'
    assert text(0, "tag") == 'tag:"paper" tag:"Zürich"'
    assert text(1, "tag") == ""
    assert text(8, TEACHER) == f"{TEACHER} >= 0.42"
    assert text(8, "seed") == "seed = 2"
    created = text(8, "created")
    assert created == f'created = "{table.view.currentIndex().data()}"'
    assert len(created) == len('created = "2026-01-31 12:00"')
    table.show_layout(table.arrangement.grouped_by("seed"))
    settle(table)
    table.view.setCurrentIndex(table.model.index(0, 1))
    assert table.filter_text_of_cell() == "", "of a group"
