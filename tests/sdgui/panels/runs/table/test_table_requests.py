"""What the table asks of the store, and what becomes of answers that come late or to another question."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtWidgets import QApplication

from sdgui.panels.runs.table.layout import NAME, TableLayout
from sdgui.panels.runs.table.model import WAITING
from sdgui.panels.runs.table.part import RunTable
from sdgui.panels.runs.table.reader import CellsOfRun, cells_of
from sdgui.store.run_table.fields import Catalogue, Field, fact
from sdgui.store.store import Store
from tests.sdgui.panels.runs.table.tabling import settle, shown
from tests.sdgui.store.run_table.listing import TEACHER

RATE = "optim.learning_rate"


def test_a_group_opened_twice_has_its_runs_once(table: RunTable) -> None:
    table.show_layout(table.arrangement.grouped_by(RATE))
    settle(table)
    inserted: list[tuple[int, int]] = []
    table.model.rowsInserted.connect(lambda _parent, first, last: inserted.append((first, last)))
    for _ in range(2):
        table.model.toggle_group(table.model.index(0, 0))
    settle(table)
    assert (inserted, table.model.rowCount()) == ([(1, 3)], 6)


def test_cells_requested_during_a_read_are_read_afterwards(table: RunTable) -> None:
    table.hide()
    table.model.forget_all()
    table.reader.reading = True
    last = table.model.index(8, 0)
    assert last.data() == WAITING
    QApplication.processEvents()
    table.reader.reading = False
    table.reader.cells_read.emit(list(table.model.fields), {})
    settle(table)
    assert last.data() == "rate 0.0001 · run 1"


def test_cells_read_for_another_grouping_are_not_shown(table: RunTable, filled: tuple[Store, list[int]]) -> None:
    table.show_layout(table.arrangement.with_columns(["seed"]).grouped_by(RATE))
    settle(table)
    names = shown(table, NAME)
    late = {run_id: CellsOfRun("late", ("late", 9)) for run_id in filled[1]}
    table.reader.cells_read.emit(list(table.model.fields), late)
    assert shown(table, NAME) == names


def test_a_deleted_run_is_skipped(filled: tuple[Store, list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    store, ids = filled
    labels = store.run_labels
    monkeypatch.setattr(store, "run_labels", lambda runs: labels([run for run in runs if run != ids[0]]))
    assert list(cells_of(store, ids[:2], [fact("state")])) == [ids[1]]


def test_metrics_at_a_step_are_read_wherever_the_table_uses_them(
    table: RunTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[set[Field]] = []
    monkeypatch.setattr(table.reader, "fill_steps", lambda fields: requests.append(set(fields)))
    column, sort, group, condition = (f"at({TEACHER}, {step})" for step in (1, 2, 3, 4))
    table.show_layout(TableLayout(f"{condition} > 10% or seed = 1", (column,), ((sort, True),), (group,)))
    settle(table)
    assert {column, sort, group, condition} <= {field.name for field in requests[-1]}


def test_one_run_has_no_differences_and_the_listed_ones_are_compared(table: RunTable) -> None:
    table.view.selectRow(0)
    table.bar.differing.click()
    settle(table)
    assert {"seed", RATE} <= {field.name for field in table.model.fields}


def test_an_external_selection_is_not_announced_and_the_former_one_is_announced_again(
    table: RunTable, filled: tuple[Store, list[int]]
) -> None:
    received: list[int] = []
    table.run_chosen.connect(received.append)
    first, second = filled[1][2], filled[1][5]
    rows = table.model.rows
    table.view.setCurrentIndex(table.model.index(rows.row_of(first), 0))
    table.choose(second)
    assert (received, table.chosen_runs()) == ([first], [second])
    table.view.setCurrentIndex(table.model.index(rows.row_of(first), 0))
    assert received == [first, first]


def test_a_column_without_values_stays_when_others_are_moved(table: RunTable) -> None:
    table.show_layout(TableLayout(columns=("val/later", "seed", RATE)))
    settle(table)
    assert [field.name for field in table.model.fields] == [NAME, "seed", RATE]
    table.view.horizontalHeader().moveSection(2, 1)
    settle(table)
    assert table.arrangement.columns == (RATE, "seed", "val/later")


def test_names_are_completed_in_an_invalid_filter(table: RunTable) -> None:
    table.bar.filter.catalogue = Catalogue()
    table.show_layout(replace(table.arrangement, filter="tga:paper"))
    settle(table)
    assert table.bar.filter.accessibleDescription() != ""
    assert TEACHER in table.bar.filter.catalogue.metrics
