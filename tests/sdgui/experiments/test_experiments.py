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

from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState, process_alive
from sdgui.app.main_window import MainWindow
from sdgui.experiments.tree_model import Role
from sdgui.panels.define.panel import DefinePanel
from sdgui.panels.runs.panel import RunsPanel
from sdgui.store.records import Run
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


def trained(qtbot: QtBot, window: MainWindow, runs: int) -> None:
    """Launch the chosen experiment until it has ``runs`` finished runs."""
    for number in range(1, runs + 1):
        window.window_actions["launch"].trigger()
        expected = [RunState.DONE] * number
        qtbot.waitUntil(
            lambda expected=expected: [r.state for r in window.services.store.runs()] == expected, timeout=15000
        )
    qtbot.waitUntil(lambda: " finished" in window.bar.text)  # the last run's, or that of one that was heard of later


def gone(qtbot: QtBot, window: MainWindow) -> None:
    """Wait until no trainer lingers; one takes a moment to go after its last word."""
    statuses = [run.dir.read_status() for run in window.services.store.runs()]
    qtbot.waitUntil(lambda: not any(status and process_alive(status) for status in statuses), timeout=10000)


def test_f2_renames_in_place_and_the_form_follows(qtbot: QtBot, window: MainWindow) -> None:
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


def test_a_new_experiment_is_selected_though_the_filter_would_hide_it(window: MainWindow) -> None:
    window.experiments.filter_box.setText("first")
    window.experiment_commands.add(trainable(), "third")
    settle(window)
    added = next(one for one in window.services.store.experiments() if one.name == "third")
    assert window.selection.experiment_id == added.id
    assert window.experiments.filter_box.text() == ""


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
    assert (window.selection.experiment_id, experiments.row(), len(listed())) == (first, (None, None), 4)
    table = panel.view.table
    for _ in range(2):  # an experiment that is selected itself leaves no row current, so a row can be chosen again
        experiments.select_experiment(first)
        qtbot.waitUntil(lambda: len(listed()) == 2)
        assert (window.selection.run_id, table.chosen_runs()) == (None, [])
        table.view.setCurrentIndex(table.model.index(0, 0))
        assert window.selection.run_id == runs[first][1]


def test_tags_and_note_are_saved_when_the_sheet_closes_and_dropped_on_escape(qtbot: QtBot, window: MainWindow) -> None:
    sheet = window.dialogs.sheet
    window.window_actions["describe"].trigger()
    sheet.tags.setText("a, #b, a,")
    sheet.note.setPlainText("because")
    sheet.hide()
    settle(window)
    experiment = window.services.store.experiments()[-1]
    assert (experiment.tags, experiment.note) == (("a", "b"), "because")
    assert window.experiments.tree.currentIndex().data(Role.TAGS) == "#a #b"
    window.window_actions["describe"].trigger()
    assert sheet.tags.text() == "a, b"
    sheet.tags.setText("c")
    qtbot.keyClick(sheet, Qt.Key.Key_Escape)
    assert window.services.store.experiments()[-1].tags == ("a", "b")


def test_tags_and_note_are_saved_to_where_they_were_typed(window: MainWindow) -> None:
    first, second = (one.id for one in window.services.store.experiments())
    sheet = window.dialogs.sheet
    window.experiments.select_experiment(first)
    window.window_actions["describe"].trigger()
    sheet.tags.setText("of the first")
    window.experiments.select_experiment(second)  # as a run that was just launched is selected
    window.window_actions["describe"].trigger()  # the sheet is still open: what was typed is kept first
    assert sheet.tags.text() == ""
    sheet.note.setPlainText("of the second")
    window.experiments.select_experiment(first)
    sheet.hide()
    settle(window)
    found = [(one.tags, one.note) for one in window.services.store.experiments()]
    assert found == [(("of the first",), ""), ((), "of the second")]


def test_a_launched_config_is_frozen_and_can_be_copied(qtbot: QtBot, window: MainWindow) -> None:
    trained(qtbot, window, 1)
    run = window.services.store.runs()[0]
    define = window.show_panel("define")
    window.experiments.select_run(run.id)
    assert isinstance(define, DefinePanel)
    assert "Read-only" in define.bar.text
    define.bar.press_remedy()
    settle(window)
    assert names(window)[1] == "second 2"
    assert window.selection.run_id is None
    assert len(window.services.store.runs()) == 1


def test_runs_in_the_bin_can_be_restored_and_emptying_asks_first(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(qtbot, window, 1)
    gone(qtbot, window)
    run = window.services.store.runs()[0]
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


def test_a_run_is_imported_in_a_background_thread(
    qtbot: QtBot, window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = window.services.store
    import_run = store.import_run
    threads: list[threading.Thread] = []

    def noted(folder: Path) -> Run:
        threads.append(threading.current_thread())
        return import_run(folder)

    monkeypatch.setattr(store, "import_run", noted)
    window.experiment_commands.import_run(tmp_path / "none")
    qtbot.waitUntil(lambda: "is not a readable run folder" in window.bar.text)
    run = RunDir(tmp_path / "elsewhere")
    run.path.mkdir()
    run.config.write_text(preset_config("clip", "tiny").model_copy(update={"name": "far"}).to_json(), encoding="utf-8")
    window.experiment_commands.import_run(run.path)
    assert "Reading" in window.bar.text
    qtbot.waitUntil(lambda: "Imported" in window.bar.text)
    assert [one.folder for one in store.runs()] == [run.path]
    settle(window)
    assert window.selection.experiment_id == store.runs()[0].experiment_id
    assert threading.main_thread() not in threads


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


def test_emptying_the_bin_names_the_folders_that_stay(
    qtbot: QtBot, window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def question(_parent: object, _title: str, text: str, *_buttons: object) -> QMessageBox.StandardButton:
        asked.append(text)
        return QMessageBox.StandardButton.Yes

    monkeypatch.setattr(QMessageBox, "question", question)
    far = RunDir(tmp_path / "colleague" / "run")
    far.create()
    far.config.write_text(preset_config("coca", "tiny").to_json(), encoding="utf-8")
    window.experiment_commands.import_run(far.path)
    qtbot.waitUntil(lambda: "Imported" in window.bar.text)
    settle(window)
    window.window_actions["delete"].trigger()
    settle(window)
    window.window_actions["empty_bin"].trigger()
    assert asked == ["Permanently delete 1 experiment? Folders of studies and of imported runs are kept."]
    qtbot.waitUntil(lambda: window.bar.text == "The bin is empty.")
    assert far.config.is_file()
    assert window.services.store.experiments(deleted=True) == []
