"""The table as it is used: filter, groups, order, ticks, columns, saved views, edits of many."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from PySide6.QtCore import QModelIndex, QPoint, QSettings, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QStyledItemDelegate
from pytestqt.qtbot import QtBot

from core.spec.run.status import RunState
from sdgui.panels.runs.table import commands as commanding
from sdgui.panels.runs.table.cells import title_of
from sdgui.panels.runs.table.columns import ColumnChooser
from sdgui.panels.runs.table.commands import TableCommands
from sdgui.panels.runs.table.layout import NAME_COLUMN, TableLayout
from sdgui.panels.runs.table.run_table import RunTable
from sdgui.panels.runs.table.saved_views import SavedViews
from sdgui.panels.runs.table.value_column import ValueDelegate
from sdgui.store.records import BestPoint, Progress
from sdgui.store.run_table.fields import Field, metric
from sdgui.store.store import Store
from tests.sdgui.panels.runs.table.tabling import settle, shown
from tests.sdgui.store.run_table.listing import TEACHER, fill
from tests.sdgui.store.run_table.test_step_values import RECALL as AT_RECALL
from tests.sdgui.store.run_table.test_step_values import grown

RATE, RECALL = "optim.learning_rate", "val/teacher/R@1"


def test_typing_filters_and_an_error_has_its_position(qtbot: QtBot, table: RunTable) -> None:
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
    assert table.bar.number.text().startswith("Filter not applied: ")
    assert "did you mean tag" in table.bar.number.text()
    box.selectAll()
    qtbot.keyClicks(box, "tag:paper")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    settle(table)
    assert (box.accessibleDescription(), table.model.rowCount()) == ("", 2)
    assert table.bar.number.text() == "2 runs"


def test_cells_are_painted_as_by_the_style_with_one_question_to_the_model(table: RunTable) -> None:
    table.view.selectRow(1)
    table.view.setColumnWidth(5, 60)  # elided
    settle(table)
    ours = table.view.viewport().grab().toImage()
    table.view.setItemDelegate(QStyledItemDelegate(table))
    assert table.view.viewport().grab().toImage() == ours
    table.show_layout(table.current_layout.grouped_by(RATE))
    settle(table)
    assert table.model.listing is not None
    assert table.model.listing.rows.groups
    styled = table.view.viewport().grab().toImage()
    table.view.setItemDelegate(ValueDelegate(table.model, table))
    assert table.view.viewport().grab().toImage() == styled


def test_headings_of_numbers_are_right_aligned_like_the_numbers(table: RunTable) -> None:
    table.show_layout(table.current_layout.with_columns(["seed", "state", "duration", "created"]))
    settle(table)
    role, model = Qt.ItemDataRole.TextAlignmentRole, table.model
    sides = {
        model.headerData(column, Qt.Orientation.Horizontal): (
            model.headerData(column, Qt.Orientation.Horizontal, int(role)) & Qt.AlignmentFlag.AlignRight,
            model.index(0, column).data(role) & Qt.AlignmentFlag.AlignRight,
        )
        for column in range(model.columnCount())
    }
    right, left = (Qt.AlignmentFlag.AlignRight,) * 2, (Qt.AlignmentFlag(0),) * 2
    assert (sides["Run"], sides["State"]) == (left, left)
    assert (sides["Duration"], sides["Created"]) == (right, right)
    assert sides["seed"] == right, "a setting whose values are numbers"


def test_cells_that_are_painted_again_while_they_are_read_are_read_once(
    table: RunTable, filled: tuple[Store, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[int]] = []
    read_cells = table.reader.read_cells

    def count(run_ids: list[int], fields: list[Field]) -> None:
        read.append(sorted(run_ids))
        read_cells(run_ids, fields)

    monkeypatch.setattr(table.reader, "read_cells", count)
    table.model.forget_all()
    for _ in range(2):
        table.view.viewport().grab()
        table.model._read_requested()
    settle(table)
    assert read == [sorted(filled[1])]
    table.model.forget_all()
    table.view.viewport().grab()
    table.model._read_requested()
    table.model.forget(filled[1][:1])  # a run that changes while it is read is read again
    settle(table)
    assert read[1:] == [sorted(filled[1]), filled[1][:1]]


def test_a_run_that_changes_while_the_table_is_hidden_is_read_when_shown(
    qtbot: QtBot, table: RunTable, filled: tuple[Store, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[set[int]] = []
    monkeypatch.setattr(table.model, "forget", lambda runs: read.append(set(runs)))
    table._live_timer.setInterval(0)
    table.hide()
    table.progressed(filled[1][0])
    qtbot.waitUntil(lambda: not table._live_timer.isActive())
    assert read == []
    table.show()
    qtbot.waitUntil(lambda: read == [{filled[1][0]}])


def test_groups_show_means_and_open_by_keys(qtbot: QtBot, table: RunTable) -> None:
    table.show_layout(table.current_layout.with_columns(["seed", RECALL]).grouped_by(RATE).sorted_by(RECALL))
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
    assert len(table.view.selected_runs()) == 3, "the runs of the group that is selected"
    qtbot.keyClick(table.view, Qt.Key.Key_Left)
    assert table.model.rowCount() == 3


def test_a_metric_at_a_step_is_read_from_the_folders_and_filters(qtbot: QtBot, tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    runs = [grown(store, 0.2, 0.62), grown(store, 0.3, 0.4)]
    table = RunTable(store, QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(table)
    table.resize(1000, 400)
    table.show()
    name = f"at({AT_RECALL}, 20)"
    table.show_layout(TableLayout(columns=(name,), filter=f"{name} > 50%"))
    qtbot.waitUntil(lambda: table.model.rowCount() == 1)
    settle(table)
    assert table.view.model().row(table.model.index(0, 0)).run_id == runs[0].id
    assert shown(table, name) == ["62.0"]
    table.show_layout(TableLayout(columns=(name,), group_by=(name,)))
    settle(table)
    table.model.index(0, 0).data()
    settle(table)
    titles = {str(table.model.index(row, 0).data()) for row in range(table.model.rowCount())}
    assert titles == {
        "Teacher image → text R@1 at 20, %: 60 to 65 · 1 run",
        "Teacher image → text R@1 at 20, %: 40 to 45 · 1 run",
    }
    store.close()


def test_only_differing_columns(table: RunTable) -> None:
    table.view.selectAll()
    table.bar.differing.click()
    settle(table)
    names = [field.name for field in table.model.fields]
    assert {"seed", RATE} <= set(names)
    assert "preset" not in names, "all are of one preset"
    assert "state" in names, "facts of runs stay"


def test_columns_are_chosen_moved_and_saved(qtbot: QtBot, table: RunTable, tmp_path: Path) -> None:
    table.choose_columns(QPoint(0, 0))
    chooser = table.findChild(ColumnChooser)
    assert chooser is not None
    assert chooser.frameWidth() > 0, "its edge is seen over the table"
    chooser.search.setText("mean weight_decay")
    assert all(chooser.list.item(row).isHidden() for row in range(chooser.list.count()))
    chooser.search.setText("weight_decay")
    row = next(row for row in range(chooser.list.count()) if not chooser.list.item(row).isHidden())
    chooser.list.item(row).setCheckState(Qt.CheckState.Checked)
    QApplication.processEvents()
    settle(table)
    assert table.model.fields[-1].name == "optim.weight_decay"
    chooser.at_step.choose(metric(TEACHER))
    chooser.at_step.edit.setText("9")
    QTest.mouseClick(chooser.at_step.add, Qt.MouseButton.LeftButton)
    QApplication.processEvents()
    settle(table)
    assert table.current_layout.columns[-1] == f"at({TEACHER}, 9)"
    assert title_of(table.model.fields[-1]).endswith("R@1 at 9, %")
    before = chooser.chosen()
    chooser.list.model().moveRow(QModelIndex(), 0, QModelIndex(), 2)  # as it is dragged
    QApplication.processEvents()
    settle(table)
    assert table.current_layout.columns == chooser.chosen() == (before[1], before[0], *before[2:])
    chooser.list.model().moveRow(QModelIndex(), 1, QModelIndex(), 0)
    QApplication.processEvents()
    settle(table)
    table.show_layout(table.current_layout.with_columns(table.current_layout.columns[:-1]))
    settle(table)
    chooser.hide()
    table.view.horizontalHeader().moveSection(len(table.model.fields) - 1, 1)
    qtbot.waitUntil(lambda: table.current_layout.columns[0] == "optim.weight_decay")
    settle(table)
    again = SavedViews(QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat))
    assert again.current().columns == table.current_layout.columns


def test_rows_are_copied_sorted_by_a_heading_and_filtered_to_a_cell(qtbot: QtBot, table: RunTable) -> None:
    shown(table, "seed")
    table.view.selectRow(1)
    qtbot.keyClick(table.view, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    head, row = QGuiApplication.clipboard().text().splitlines()
    assert head.split("\t")[0] == "Run"
    assert row.split("\t")[0] == "rate 0.002 · run 1"
    column = [field.name for field in table.model.fields].index("seed")
    table.view.horizontalHeader().sectionClicked.emit(column)
    settle(table)
    assert shown(table, "seed") == sorted(shown(table, "seed"))
    table.view.horizontalHeader().sectionClicked.emit(column)
    settle(table)
    assert shown(table, "seed") == sorted(shown(table, "seed"), reverse=True)
    table.view._frozen.horizontalHeader().sectionClicked.emit(0)  # the names stand in a view of their own
    settle(table)
    assert table.current_layout.sort[0][0] == NAME_COLUMN
    rate = shown(table, RATE)[0]
    table.view.setCurrentIndex(table.model.index(0, [field.name for field in table.model.fields].index(RATE)))
    table.add_to_filter(table.filter_text_of_cell())
    settle(table)
    assert (table.bar.filter.text(), table.model.rowCount()) == (f"{RATE} = {rate}", 3)


def test_ticking_a_group_ticks_its_runs_and_at_most_200_are_overlaid(
    qtbot: QtBot, table: RunTable, filled: tuple[Store, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = filled[1]
    services = SimpleNamespace(store=filled[0])
    commands = TableCommands(table, services)  # type: ignore[arg-type]  # what writes is not asked
    requests: list[frozenset[int]] = []
    received: list[str] = []
    commands.ticks_requested.connect(requests.append)
    commands.message_requested.connect(lambda message: received.append(message.text))
    table.show_layout(table.current_layout.grouped_by(RATE).sorted_by(RECALL))
    settle(table)
    assert table.model.rows.run_ids() == []
    states = [Qt.CheckState.PartiallyChecked, Qt.CheckState.Checked]
    for ticked, state in zip((ids[6:7], ids[6:9]), states, strict=True):
        table.set_ticks(ticked)
        settle(table)
        assert table.model.index(0, 0).data(Qt.ItemDataRole.CheckStateRole) == state
        assert table.model.index(1, 0).data(Qt.ItemDataRole.CheckStateRole) == Qt.CheckState.Unchecked
        head = table.model.index(0, 0)
        box = table.view.names.tick_rect(table.view.visualRect(head), head).center()
        qtbot.mouseClick(table.view._frozen.viewport(), Qt.MouseButton.LeftButton, pos=box)
        settle(table)
    assert requests == [frozenset(ids[6:9]), frozenset()], "the best group: its other runs too, and then none"
    monkeypatch.setattr(commanding, "MAX_TICKED", 4)
    table.set_ticks(ids[:3])
    commands.tick(ids[2:6], True)
    assert requests[-1] == frozenset(ids[:4]), "those that were there stay"
    assert "first 4 of 6 runs" in received[-1]
    commands.tick(ids[1:3], False)
    assert requests[-1] == frozenset(ids[:1])


def test_another_condition_narrows_the_filter_as_a_whole(table: RunTable) -> None:
    table.show_layout(replace(table.current_layout, filter="seed = 0 OR seed = 1"))
    table.add_to_filter(f"{RATE} = 0.001")
    settle(table)
    assert shown(table, "seed") == ["1", "0"]
    table.show_layout(replace(table.current_layout, filter="seed = 0"))
    table.add_to_filter("")
    table.add_to_filter(f"{RATE} >= 0.001")
    settle(table)
    assert len(shown(table, "seed")) == 2


def test_the_selection_survives_reloaded_rows(table: RunTable, filled: tuple[Store, list[int]]) -> None:
    """In another order, or without the chosen run, which is then not emitted again."""
    received: list[int] = []
    table.run_chosen.connect(received.append)
    run_id = filled[1][4]
    table.view.setCurrentIndex(table.model.index(table.model.rows.row_of(run_id), 0))
    for layout in (table.current_layout.sorted_by("seed"), replace(table.current_layout, filter="seed = 1")):
        table.show_layout(layout)
        settle(table)
        assert table.model.row(table.view.currentIndex()).run_id == run_id
    table.show_layout(replace(table.current_layout, filter="seed = 2"))
    table.show_layout(replace(table.current_layout, filter="seed = 0"))  # the answer to the former is not shown
    listed: list[int] = []
    table.listed.connect(lambda listing: listed.append(listing.rows.total()))
    settle(table)
    assert shown(table, "seed") == ["0", "0", "0"]
    assert (received, listed) == ([run_id], [3])


def test_rows_follow_active_runs(qtbot: QtBot, tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    runs = fill(store)
    table = RunTable(store, QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(table)
    table.resize(1000, 400)
    table.show()
    table.start()
    settle(table)
    table._live_timer.setInterval(0)

    def report(run_id: int, recall: float, state: RunState) -> None:
        store.record(
            run_id,
            Progress(
                state,
                offset=int(recall * 1000),
                step=10,
                total_steps=20,
                best=BestPoint("val/student/mean_recall", recall, 10),
            ),
        )
        table.progressed(run_id)
        qtbot.waitUntil(lambda: not table._live_timer.isActive())
        settle(table)

    for run_id in runs:
        report(run_id, 0.1, RunState.RUNNING)
    table.show_layout(replace(table.current_layout, group_by=("experiment",), columns=("metric", "state")))
    settle(table)
    closed = table.model.rowCount()
    table.model.toggle_group(table.model.index(0, 0))
    settle(table)
    open_rows = table.model.rowCount()
    assert open_rows > closed
    assert shown(table, "metric")[0].startswith("10.0")
    resets: list[None] = []
    table.model.modelReset.connect(lambda: resets.append(None))
    for run_id in runs:
        report(run_id, 0.9, RunState.RUNNING)
    assert shown(table, "metric")[0].startswith("90.0"), "the mean of a group follows its runs"
    assert (table.model.rowCount(), resets) == (open_rows, []), "an open group stays open and nothing jumps"
    table.show_layout(replace(table.current_layout, group_by=(), filter="state = running"))
    settle(table)
    assert table.model.rowCount() == len(runs)
    table.bar.filter.setText("state = done")
    table.bar.filter._pause.stop()
    report(runs[0], 0.95, RunState.DONE)
    assert table.bar.filter.text() == "state = done", "what is being typed stays"
    assert table.model.rowCount() == len(runs) - 1, "a run that ended is no longer among those that run"
    store.close()


def test_the_state_of_a_run_says_that_its_folder_is_missing(qtbot: QtBot, tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    run_id = fill(store)[0]
    run = store.run(run_id)
    assert run is not None
    run.folder.mkdir(parents=True, exist_ok=True)
    store.record(run_id, Progress(RunState.DONE, offset=10, step=20, total_steps=20))
    table = RunTable(store, QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(table)
    table.show()
    table.start()
    settle(table)
    table.show_layout(replace(table.current_layout, columns=("state",), filter="state = done"))
    settle(table)
    row = table.model.rows.row_of(run_id)
    assert row is not None
    assert shown(table, "state")[row] == "done"
    table._live_timer.setInterval(0)
    run.folder.rename(tmp_path / "moved")
    table.progressed(run_id)
    qtbot.waitUntil(lambda: not table._live_timer.isActive())
    assert shown(table, "state")[row] == "folder missing"
    store.close()
