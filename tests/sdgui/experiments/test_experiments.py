"""The tree: what is listed, renamed, filtered, described and put in the bin."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QLineEdit, QMessageBox
from pytestqt.qtbot import QtBot

from sdgui.app.main_window import MainWindow
from sdgui.experiments.filter import Role
from sdgui.panels.runs.panel import RunsPanel
from tests.sdgui.conftest import settle
from tests.sdgui.driving import trainable

OpenWindow = Callable[..., MainWindow]


@pytest.fixture
def window(open_window: OpenWindow) -> MainWindow:
    window = open_window("--steps", "2")
    for name in ("first", "second"):
        window.experiment_commands.add(trainable(), name)
        settle(window)
    return window


def names(window: MainWindow) -> list[str]:
    model = window.experiments.tree.model()
    return [str(model.index(row, 0).data()) for row in range(model.rowCount())]


def test_experiments_are_renamed_added_and_described_in_the_window(qtbot: QtBot, window: MainWindow) -> None:
    tree = window.experiments.tree
    tree.setFocus()
    qtbot.keyClick(tree, Qt.Key.Key_F2)
    editor = tree.viewport().findChild(QLineEdit)
    assert editor is not None
    editor.setText("third")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: names(window)[1:] == ["third", "first"])
    window.save_config()
    settle(window)
    assert names(window)[1:] == ["third", "first"]
    stored = window.services.store.experiments()[-1].config
    assert stored is not None
    assert stored.name == "third"

    window.experiments.filter_box.setText("first")
    window.experiment_commands.add(trainable(), "fourth")
    settle(window)
    first, third, added = (one.id for one in window.services.store.experiments())
    assert window.selection.experiment_id == added, "selected though the filter would hide it"
    assert window.experiments.filter_box.text() == ""

    sheet = window.dialogs.sheet
    window.experiments.select_experiment(first)
    window.window_actions["describe"].trigger()
    sheet.tags.setText("of the first")
    window.experiments.select_experiment(third)  # as a run that was just launched is selected
    window.window_actions["describe"].trigger()  # the sheet is still open: what was typed is kept first
    assert sheet.tags.text() == ""
    sheet.note.setPlainText("of the third")
    window.experiments.select_experiment(first)
    sheet.hide()
    settle(window)
    described = [(one.tags, one.note) for one in window.services.store.experiments()]
    assert described == [(("of the first",), ""), ((), "of the third"), ((), "")]
    assert window.experiments.tree.currentIndex().data(Role.TAGS) == "#of the first"

    window.window_actions["changes"].trigger()
    activity = window.dialogs.activity
    qtbot.waitUntil(lambda: activity.list.topLevelItemCount() > 0)
    top = activity.list.topLevelItem(0)
    assert top is not None
    assert (top.text(1), top.text(3)) == (window.services.store.user, "first")
    activity.close()


def test_the_table_lists_the_runs_of_the_selection(qtbot: QtBot, window: MainWindow) -> None:
    store, experiments = window.services.store, window.experiments
    first, second = (experiment.id for experiment in store.experiments())
    runs = {experiment: [store.add_run(experiment).id for _ in range(2)] for experiment in (first, second)}
    third = store.add_experiment(trainable(), "third").id
    window.reload()
    panel = window.show_panel("runs")
    assert isinstance(panel, RunsPanel)

    def listed() -> list[int]:
        return panel.view.table.model.rows.run_ids()

    for experiment in (first, second):
        experiments.select_experiment(experiment)
        qtbot.waitUntil(lambda experiment=experiment: listed() == runs[experiment][::-1])
    experiments.select_experiment(third)
    qtbot.waitUntil(lambda: panel._stack.currentWidget() is panel.empty)
    experiments.select(experiments.model.all_index())
    qtbot.waitUntil(lambda: len(listed()) == 4)
    assert window.selection.experiment_id is None
    experiments.select_run(runs[first][0])
    assert (window.selection.experiment_id, experiments.selected_ids(), len(listed())) == (first, (None, None), 4)
    table = panel.view.table
    for _ in range(2):  # an experiment that is selected itself leaves no row current, so a row can be chosen again
        experiments.select_experiment(first)
        qtbot.waitUntil(lambda: len(listed()) == 2)
        assert (window.selection.run_id, table.view.selected_runs()) == (None, [])
        table.view.setCurrentIndex(table.model.index(0, 0))
        assert window.selection.run_id == runs[first][1]


def test_runs_in_the_bin_can_be_restored_and_emptying_asks_first(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = window.services.store
    run = store.add_run(store.experiments()[-1].id)
    run.dir.create()
    run.dir.config.write_text(trainable().to_json(), encoding="utf-8")
    store.mark_failed(run.id, "It ended.")
    window.reload()
    panel = window.show_panel("runs")
    assert isinstance(panel, RunsPanel)
    table = panel.view.table

    def delete() -> None:
        qtbot.waitUntil(lambda: table.model.rowCount() == 1)
        table.view.setCurrentIndex(table.model.index(0, 0))
        table.view.setFocus()
        window.window_actions["rows_delete"].trigger()
        settle(window)
        assert window.services.store.runs() == []

    delete()
    window.bar.press_remedy()
    settle(window)
    assert [each.id for each in window.services.store.runs()] == [run.id]
    delete()
    answers = [QMessageBox.StandardButton.Cancel, QMessageBox.StandardButton.Yes]
    monkeypatch.setattr(QMessageBox, "question", lambda *_args: answers.pop(0))
    window.window_actions["empty_bin"].trigger()
    assert run.folder.exists()
    delete_run = window.services.store.delete_run
    threads: list[threading.Thread] = []

    def noted(*args: Any, **options: Any) -> None:
        threads.append(threading.current_thread())
        delete_run(*args, **options)

    monkeypatch.setattr(window.services.store, "delete_run", noted)
    window.window_actions["empty_bin"].trigger()
    window.window_actions["empty_bin"].trigger()  # nothing is asked about what is being removed
    qtbot.waitUntil(lambda: window.bar.text == "The bin is empty.")
    assert not run.folder.exists()
    assert window.services.store.runs(deleted=True) == []
    assert threads[0] is not threading.main_thread()


def test_logs_of_another_tool_become_runs(qtbot: QtBot, window: MainWindow, tmp_path: Path) -> None:
    logs = tmp_path / "lightning"
    logs.mkdir()
    window.experiment_commands.import_run(logs)
    qtbot.waitUntil(lambda: "contains no run of another tool" in window.bar.text, timeout=60_000)
    (logs / "metrics.csv").write_text("step,loss\n1,0.5\n2,0.25\n")
    dropped = QMimeData()
    dropped.setUrls([QUrl.fromLocalFile(str(logs))])
    button, keys = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
    entering = QDragEnterEvent(QPoint(5, 5), Qt.DropAction.CopyAction, dropped, button, keys)
    QApplication.sendEvent(window.experiments, entering)
    assert entering.isAccepted()
    dropping = QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, dropped, button, keys)
    QApplication.sendEvent(window.experiments, dropping)
    qtbot.waitUntil(lambda: "Imported 1 run from" in window.bar.text, timeout=60_000)
    qtbot.waitUntil(lambda: len(window.services.store.runs()) == 1, timeout=60_000)
    (run,) = window.services.store.runs()
    qtbot.waitUntil(lambda: window.services.store.run(run.id).step == 2, timeout=60_000)
