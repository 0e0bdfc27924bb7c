"""The window driven by keys, as a user and as people's scripts do."""

from __future__ import annotations

import gc
import re
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QApplication,
    QLineEdit,
    QMessageBox,
    QPlainTextEdit,
    QTabBar,
    QWidget,
)
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState
from sdgui.app.main_window import MainWindow
from sdgui.app.start import home_folder, main, spare_collections
from sdgui.experiments.tree_model import Role
from sdgui.panels.define.panel import DefinePanel
from sdgui.panels.watch.panel import WatchPanel
from sdgui.store.store import Store
from tests.sdgui.conftest import settle

OpenWindow = Callable[..., MainWindow]
CTRL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier


def press(qtbot: QtBot, window: MainWindow, key: Qt.Key, modifier: Qt.KeyboardModifier = CTRL) -> None:
    window.activateWindow()
    qtbot.keyClick(QApplication.focusWidget() or window, key, modifier)


def add(window: MainWindow, name: str = "clip") -> int:
    window.experiment_commands.add(preset_config("clip", "tiny"), name)
    settle(window)
    assert window.selection.experiment_id is not None
    return window.selection.experiment_id


def test_the_database_is_rebuilt_from_the_run_folders(open_window: OpenWindow, qtbot: QtBot, home: Path) -> None:
    window = open_window()
    experiment = window.services.store.experiment(add(window))
    assert experiment.config is not None
    for name in ("good", "bad"):
        folder = RunDir(window.services.store.runs_folder / name)
        folder.create()
        folder.config.write_text(experiment.config.to_json())
    folder.events.mkdir()
    window.book["rebuild"].trigger()
    assert "Reading every run folder" in window.bar.text
    qtbot.waitUntil(lambda: "could not be read" in window.bar.text)
    assert "The database lists 1 run; 1 run folder could not be read" in window.bar.text
    assert "bad/events.jsonl is a folder" in window.bar.text
    assert [run.folder.name for run in window.services.store.runs()] == ["good"]
    assert [run.folder.name for run in window.experiments.model.runs()] == ["good"]


def test_a_damaged_database_is_rebuilt_by_a_command(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store.open(home)
    folder = RunDir(store.runs_folder / "good")
    folder.create()
    folder.config.write_text(preset_config("clip", "tiny").to_json())
    bad = RunDir(store.runs_folder / "bad")
    bad.create()
    bad.config.write_text("{")
    store.close()
    store.database.write_bytes(b"no database" * 1000)
    assert main(["--home", str(home), "--rebuild"]) == 0
    said = capsys.readouterr()
    assert "runs listed: 1, run folders that could not be read: 1." in said.out
    assert str(bad.path) in said.err
    assert list(home.glob("sdgui.db.damaged-*"))
    again = Store.open(home)
    assert [run.folder.name for run in again.runs()] == ["good"]
    again.close()


def states(window: MainWindow) -> list[RunState]:
    return [run.state for run in window.services.store.runs()]


def question(window: MainWindow) -> QMessageBox:
    box = window.findChild(QMessageBox, "closing")
    assert box is not None
    return box


def click(qtbot: QtBot, box: QMessageBox, text: str) -> None:
    button = next(each for each in box.buttons() if text in each.text().replace("&", ""))
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_the_first_start_says_what_the_window_is_for_and_offers_the_demo(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window()
    assert window.welcome.isVisible()
    assert not window.book["launch"].isEnabled()
    press(qtbot, window, Qt.Key.Key_D, CTRL | SHIFT)
    qtbot.waitUntil(lambda: window.services.demo.complete)
    assert not window.welcome.isVisible()
    assert window.header.title.text() == "sd-clip demo"
    assert [e.name for e in window.services.store.experiments()] == ["clip demo", "sd-clip demo"]
    window.start_demo()
    settle(window)
    assert len(window.services.store.experiments()) == 2


def test_ctrl_enter_trains_and_the_curve_arrives(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window("--steps", "30")
    add(window)
    press(qtbot, window, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: states(window) == [RunState.DONE], timeout=15000)
    watch = window.panels["watch"]
    assert isinstance(watch, WatchPanel)
    assert watch.isVisible()
    run = window.services.store.runs()[0]
    qtbot.waitUntil(lambda: watch.grid.metrics() != [] and len(watch.grid.points(str(run.id), "train/loss")[0]) == 30)
    steps, values = watch.grid.points(str(run.id), "train/loss")
    assert list(steps) == list(range(1, 31))
    assert values[9] == pytest.approx(0.4)
    index = window.experiments.model.run_index(run.id)
    qtbot.waitUntil(lambda: "Done" in index.data(Role.DETAIL))
    assert index.data(Role.BEST) == "96.8 %"
    assert "finished" in window.bar.text
    assert any(
        "Ended at step 30" in str(watch.log.model().index(row, 0).data()) for row in range(watch.log.model().rowCount())
    )


def test_a_failure_shows_its_message_and_the_end_of_stderr(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window("--steps", "20", "--fail-at", "5")
    add(window)
    press(qtbot, window, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: states(window) == [RunState.FAILED], timeout=15000)
    watch = window.panels["watch"]
    assert isinstance(watch, WatchPanel)
    qtbot.waitUntil(lambda: "It broke at step 5." in watch.bar.text)
    details = watch.bar.findChild(QPlainTextEdit)
    assert details is not None
    assert "Traceback: it broke" in details.toPlainText()
    qtbot.waitUntil(window.book["resume"].isEnabled)


def test_pause_and_resume_go_on_along_the_same_steps(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window("--steps", "60", "--delay", "0.03")
    add(window)
    press(qtbot, window, Qt.Key.Key_Return)
    qtbot.waitUntil(
        lambda: window.services.store.runs() != [] and window.services.store.runs()[0].step >= 5, timeout=15000
    )
    press(qtbot, window, Qt.Key.Key_P)
    qtbot.waitUntil(lambda: states(window) == [RunState.PAUSED], timeout=15000)
    qtbot.waitUntil(lambda: window.book["resume"].isEnabled())
    press(qtbot, window, Qt.Key.Key_R)
    qtbot.waitUntil(lambda: states(window) == [RunState.DONE], timeout=15000)
    watch, run = window.panels["watch"], window.services.store.runs()[0]
    assert isinstance(watch, WatchPanel)
    qtbot.waitUntil(lambda: list(watch.grid.points(str(run.id), "train/loss")[0]) == list(range(1, 61)))


def test_a_queued_run_starts_when_the_other_ends(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window("--steps", "60", "--delay", "0.03")
    add(window)
    press(qtbot, window, Qt.Key.Key_Return)
    press(qtbot, window, Qt.Key.Key_Return, CTRL | SHIFT)
    settle(window)
    assert "Queued" in window.bar.text
    assert states(window)[1] == RunState.QUEUED
    assert "1 queued" in window.status.runs.text()
    qtbot.waitUntil(lambda: states(window) == [RunState.DONE, RunState.DONE], timeout=20000)


def test_stopping_escalates_in_view(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window("--steps", "2000", "--delay", "0.02", "--deaf")
    add(window)
    press(qtbot, window, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: states(window) == [RunState.RUNNING], timeout=15000)
    press(qtbot, window, Qt.Key.Key_Period)
    watch = window.panels["watch"]
    assert isinstance(watch, WatchPanel)
    qtbot.waitUntil(lambda: "Asked to stop" in watch.header.stopping.text())
    assert window.book["stop"].text() == "&End now"
    press(qtbot, window, Qt.Key.Key_Period)
    qtbot.waitUntil(lambda: window.book["stop"].text() == "&Kill")
    press(qtbot, window, Qt.Key.Key_Period)
    qtbot.waitUntil(lambda: not states(window)[0].alive, timeout=15000)


def test_closing_asks_once_and_a_kept_run_is_found_again(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window("--steps", "150", "--delay", "0.02")
    add(window)
    press(qtbot, window, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: states(window) == [RunState.RUNNING], timeout=15000)
    run = window.services.store.runs()[0]
    window.close()
    assert window.isVisible()
    box = question(window)
    assert box.defaultButton().text() == "&Keep training"
    click(qtbot, box, "Cancel")
    assert window.isVisible()
    qtbot.waitUntil(lambda: window.findChild(QMessageBox, "closing") is None)
    window.close()
    qtbot.keyClick(question(window), Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: not window.isVisible())
    again = open_window("--steps", "150", "--delay", "0.02")
    assert again.selection.run_id == run.id
    assert again.panel == "watch"
    qtbot.waitUntil(lambda: again.services.tailer.state(run.id) == RunState.RUNNING, timeout=10000)
    qtbot.waitUntil(lambda: states(again) == [RunState.DONE], timeout=20000)
    watch = again.panels["watch"]
    assert isinstance(watch, WatchPanel)
    qtbot.waitUntil(lambda: list(watch.grid.points(str(run.id), "train/loss")[0]) == list(range(1, 151)))


def test_closing_may_stop_the_run(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window("--steps", "2000", "--delay", "0.02")
    add(window)
    press(qtbot, window, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: states(window) == [RunState.RUNNING], timeout=15000)
    window.close()
    click(qtbot, question(window), "Stop and close")
    qtbot.waitUntil(lambda: not window.isVisible())
    again = open_window()
    qtbot.waitUntil(lambda: states(again) == [RunState.STOPPED], timeout=15000)


def test_a_launch_waits_for_the_demo_data(qtbot: QtBot, open_window: OpenWindow, tmp_path: Path) -> None:
    window = open_window("--steps", "3", demo_options=("--until", str(tmp_path / "go")))
    window.start_demo()
    settle(window)
    press(qtbot, window, Qt.Key.Key_Return)
    settle(window)
    assert "still being made" in window.bar.text
    assert not window.book["launch"].isEnabled()
    assert window.services.store.runs() == []
    (tmp_path / "go").touch()
    qtbot.waitUntil(lambda: states(window) == [RunState.DONE], timeout=15000)
    assert window.services.demo.complete


def test_an_experiment_deleted_while_its_launch_waits_is_not_trained(
    qtbot: QtBot, open_window: OpenWindow, tmp_path: Path
) -> None:
    window = open_window("--steps", "3", demo_options=("--until", str(tmp_path / "go")))
    window.start_demo()
    settle(window)
    press(qtbot, window, Qt.Key.Key_Return)
    settle(window)
    with qtbot.waitSignal(window.services.demo.ready):
        window.acts.delete()
        settle(window)
        (tmp_path / "go").touch()
    settle(window)
    assert window.services.store.runs() == []


def test_demo_data_that_cannot_be_made_says_why(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window(demo_options=("--fail",))
    window.start_demo()
    settle(window)
    press(qtbot, window, Qt.Key.Key_Return)
    settle(window)
    qtbot.waitUntil(lambda: "the disk is full; free some space." in window.bar.text, timeout=10000)
    assert window.services.store.runs() == []
    assert window.book["launch"].isEnabled()


def test_a_wrong_field_keeps_the_experiment_from_being_launched(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window()
    experiment = add(window)
    define = window.panels["define"]
    assert isinstance(define, DefinePanel)
    draft = define.form.draft()
    define.form.set_draft(draft | {"optim.batch_size": "none"})
    press(qtbot, window, Qt.Key.Key_Return)
    assert window.services.store.runs() == []
    assert "Batch size" in define.bar.text
    define.form.set_draft(draft | {"optim.batch_size": "24"})
    assert define.save()
    settle(window)
    stored = window.services.store.experiment(experiment).config
    assert stored is not None
    assert stored.optim.batch_size == 24


def test_what_does_not_validate_yet_is_there_after_a_restart(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window()
    add(window)
    define = window.panels["define"]
    assert isinstance(define, DefinePanel)
    define.form.set_draft(define.form.draft() | {"optim.batch_size": "25x"})
    window.close()
    again = open_window().panels["define"]
    assert isinstance(again, DefinePanel)
    assert again.form.draft()["optim.batch_size"] == "25x"


def test_deleting_can_be_undone(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window()
    experiment = add(window)
    window.experiments.tree.setFocus()
    press(qtbot, window, Qt.Key.Key_Delete, Qt.KeyboardModifier.NoModifier)
    settle(window)
    assert window.services.store.experiments() == []
    assert window.welcome.isVisible()
    window.pages.setCurrentIndex(1)
    window.bar.press_remedy()
    settle(window)
    assert [each.id for each in window.services.store.experiments()] == [experiment]


def test_keys_find_settings_and_problems_from_a_field(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window()
    add(window)
    define = window.panels["define"]
    assert isinstance(define, DefinePanel)
    form = define.form

    def in_field(name: str) -> bool:
        return form.row(name).editor.control.hasFocus()

    form.focus_field("seed")
    qtbot.waitUntil(lambda: in_field("seed"))
    press(qtbot, window, Qt.Key.Key_F)
    assert form._search.hasFocus()
    form.set_draft({"seed": "x"})
    press(qtbot, window, Qt.Key.Key_F8, Qt.KeyboardModifier.NoModifier)
    assert in_field("seed")
    press(qtbot, window, Qt.Key.Key_E)
    assert window.experiments.tree.hasFocus()


def test_the_palette_finds_actions_experiments_and_places(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window()
    add(window, "first one")
    add(window, "second")
    palette = window.acts.palette_popup
    press(qtbot, window, Qt.Key.Key_K)
    qtbot.keyClicks(palette.line, "first")
    qtbot.keyClick(palette.line, Qt.Key.Key_Return)
    assert window.header.title.text() == "first one"
    press(qtbot, window, Qt.Key.Key_K)
    qtbot.keyClicks(palette.line, "search")
    qtbot.keyClick(palette.line, Qt.Key.Key_Return)
    assert window.panel == "search"
    press(qtbot, window, Qt.Key.Key_K)
    qtbot.keyClicks(palette.line, "duplicate")
    qtbot.keyClick(palette.line, Qt.Key.Key_Return)
    settle(window)
    assert "first one copy" in [each.name for each in window.services.store.experiments()]


def test_every_action_has_keys_of_its_own_and_says_what_it_does(open_window: OpenWindow) -> None:
    window = open_window()
    keys = [key.toString() for action in window.book for key in action.shortcuts()]
    assert len(keys) == len(set(keys))
    for action in window.book:
        assert not action.shortcut().isEmpty(), action.text()
        assert action.statusTip(), action.text()
        assert action.toolTip().startswith(action.statusTip())


def test_every_button_has_an_accessible_name(open_window: OpenWindow) -> None:
    window = open_window()
    add(window)
    qts_own = (QLineEdit, QTabBar, QAbstractItemView)  # clear buttons, arrows of tabs, corners of tables
    own: set[QAbstractButton] = set()
    for place in ("define", "watch", "search"):
        window.show_panel(place)
        own |= {each for each in window.findChildren(QAbstractButton) if each.isVisible()}
    own = {each for each in own if not isinstance(each.parent(), qts_own)}
    assert len(own) > 10
    assert [_path(each) for each in own if not (each.accessibleName() or each.text())] == []


def _path(widget: QWidget | None) -> str:
    names: list[str] = []
    while widget is not None:
        names.append(type(widget).__name__)
        widget = widget.parentWidget()
    return " < ".join(names)


def test_the_window_remembers_choice_ticks_and_place(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window("--steps", "2")
    add(window, "a")
    press(qtbot, window, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: states(window) == [RunState.DONE], timeout=15000)
    press(qtbot, window, Qt.Key.Key_T, CTRL | SHIFT)
    run = window.services.store.runs()[0].id
    add(window, "b")
    window.show_panel("search")
    window.close()
    again = open_window()
    assert again.selection.ticked == (run,)
    assert again.header.title.text() == "b"
    assert again.panel == "search"


def test_a_newer_database_is_refused_in_words(qtbot: QtBot, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store.open(home).close()
    with closing(sqlite3.connect(home / "sdgui.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    shown: list[str] = []

    def close_it() -> None:
        box = next(
            each for each in QApplication.topLevelWidgets() if isinstance(each, QMessageBox) and each.isVisible()
        )
        shown.append(box.text())
        box.close()

    QTimer.singleShot(500, close_it)
    assert main(["--home", str(home)]) == 1
    assert shown
    assert re.search("newer", shown[0])
    assert shown[0] in capsys.readouterr().err


def test_a_place_that_is_built_is_no_longer_looked_through_for_garbage(open_window: OpenWindow) -> None:
    window = open_window()
    try:
        spare_collections(window)
        before = gc.get_freeze_count()
        window.show_panel("noise")
        assert gc.get_freeze_count() > before > 0
    finally:
        gc.unfreeze()


def test_the_demo_has_a_home_of_its_own() -> None:
    assert home_folder(None, demo=True) != home_folder(None, demo=False)
    assert home_folder(Path("x"), demo=True) == Path("x").absolute()


def test_the_window_opens_every_place_without_torch(home: Path) -> None:
    program = textwrap.dedent("""
        import sys, threading
        from pathlib import Path
        from sdgui.__main__ import make_application, open_window
        from sdgui.panels.registry import PANELS
        app = make_application()
        window = open_window(Path(sys.argv[1]), demo=False)
        app.processEvents()
        for thread in threading.enumerate():
            if thread.name == "places":
                thread.join()
        assert {spec.module for spec in PANELS} <= sys.modules.keys(), "loaded before they are shown"
        for spec in PANELS:
            window.show_panel(spec.name)
            app.processEvents()
        window.close()
        window.services.store.close()
        print([name for name in ("torch", "open_clip", "torchvision") if name in sys.modules])
    """)
    done = subprocess.run([sys.executable, "-c", program, str(home)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert "Traceback" not in done.stderr
