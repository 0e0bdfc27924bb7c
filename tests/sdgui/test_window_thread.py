"""The window's own thread: nothing is written to the store in it, and what changed is all that it reads again."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from sqlalchemy.orm import Session

from core.spec.run.folder import RunDir
from core.spec.run.status import RunState, process_alive
from sdgui.app.main_window import MainWindow
from sdgui.experiments.tree_model import ExperimentModel
from sdgui.panels.define.panel import DefinePanel
from sdgui.panels.runs.panel import RunsPanel
from sdgui.shared.pickers.entries import run_entries
from sdgui.store.records import StoreUnavailableError
from sdgui.store.sessions import Sessions
from sdgui.store.store import Store
from sdgui.store.tables import RunRow
from tests.sdgui.conftest import settle
from tests.sdgui.driving import trainable

OpenWindow = Callable[..., MainWindow]
HELD_SECONDS = 0.5


@contextmanager
def held(database: Path) -> Iterator[None]:
    """Another program writes to the database and keeps it locked."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """In which threads the store was written to since the list was cleared."""
    threads: list[threading.Thread] = []
    for name in ("_write", "_write_one_run"):
        begin = getattr(Sessions, name)

        @contextmanager
        def noted(self: Sessions, begin: Callable[[Sessions], Any] = begin) -> Iterator[Session]:
            threads.append(threading.current_thread())
            with begin(self) as session:
                yield session

        monkeypatch.setattr(Sessions, name, noted)
    return threads


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the window's thread read of all runs, and how often the tree was read whole."""
    found: list[str] = []
    for owner, name in ((Store, "runs"), (ExperimentModel, "reload"), (ExperimentModel, "refresh")):
        real = getattr(owner, name)

        def noted(self: Any, *what: Any, real: Any = real, name: str = name, **more: Any) -> Any:
            if threading.current_thread() is threading.main_thread() and not (name == "runs" and what):
                found.append(name)
            return real(self, *what, **more)

        monkeypatch.setattr(owner, name, noted)
    return found


def with_runs(home: Path, experiments: int, each: int) -> None:
    """A home of runs that are done, with their folders."""
    store = Store.open(home)
    config = trainable()
    names = [store.add_experiment(config, f"experiment {number}").id for number in range(experiments)]
    with store._write() as session:
        for experiment in names:
            for number in range(each):
                key = f"{experiment:04d}{number:04d}"
                folder = RunDir(store.runs_folder / f"run-{key}")
                folder.create()
                folder.config.write_text("{}")
                session.add(
                    RunRow(
                        experiment_id=experiment, key=key, folder=folder.path.name, digest=config.digest(),
                        created=time.time(), state=RunState.DONE.value, ending="done", failure="", note="",
                        best_metric="", color=0,
                    )
                )  # fmt: skip
    store.close()


def test_nothing_is_written_in_the_main_thread(
    qtbot: QtBot, open_window: OpenWindow, writes: list[threading.Thread], reads: list[str]
) -> None:
    window = open_window("--steps", "3")
    commands, store = window.experiment_commands, window.services.store
    settle(window)
    commands.add(trainable(), "one")
    settle(window)
    one = store.experiments()[0].id
    commands.duplicate(one)
    commands.rename(one, "another")
    commands.describe(one, None, ["tag"], "note")
    settle(window)
    window.experiments.select_experiment(one)
    define = window.panels["define"]
    assert isinstance(define, DefinePanel)
    define.form.set_value("seed", 5)
    define.save()
    settle(window)
    reads.clear()
    window.window_actions["launch"].trigger()
    settle(window)
    assert not {"runs", "reload"} & set(reads), "a launch reads one run"
    assert reads.count("refresh") <= 2
    qtbot.waitUntil(lambda: [run.state for run in store.runs()] == [RunState.DONE])
    window.window_actions["queue"].trigger()
    settle(window)
    qtbot.waitUntil(lambda: [run.state for run in store.runs()] == [RunState.DONE] * 2)
    statuses = [run.dir.read_status() for run in store.runs()]
    qtbot.waitUntil(lambda: not any(status and process_alive(status) for status in statuses))
    panel = window.show_panel("runs")
    assert isinstance(panel, RunsPanel)
    qtbot.waitUntil(lambda: panel.view.table.model.rowCount() == 2)
    panel.view.table.view.selectRow(1)
    panel.commands.delete()
    settle(window)
    window.bar.press_remedy()  # undo
    settle(window)
    commands.delete(one)
    settle(window)
    commands.add(trainable("blip"), "two stages")
    settle(window)
    window.window_actions["launch"].trigger()
    settle(window)
    staged = store.experiments()[-1].id
    qtbot.waitUntil(lambda: [run.state for run in store.runs(staged)] == [RunState.DONE] * 2)
    qtbot.waitUntil(lambda: len(window.experiments.model.runs_of(staged)) == 2)
    assert "chains" in {thread.name for thread in writes}
    assert len(writes) > 12
    assert threading.main_thread() not in writes


def test_the_window_stays_responsive_while_another_locks_the_database(
    qtbot: QtBot, open_window: OpenWindow, home: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is typed and asked for meanwhile comes to the store once the other has let go."""
    monkeypatch.setattr("sdgui.store.engine.BUSY_SECONDS", 120.0)  # a busy machine may take longer than 10 s
    with_runs(home, experiments=4, each=10)
    window = open_window("--steps", "2")
    store, model = window.services.store, window.experiments.model
    assert len(model.runs()) == 40
    for place in ("runs", "search", "define"):
        window.show_panel(place)
    qtbot.waitUntil(lambda: all(window.services.follower.progress(run.id) for run in model.runs()))
    settle(window)
    reads.clear()
    slowest, began = 0.0, time.perf_counter()  # work of a turn in seconds, waiting for a processor left out
    first = model.experiment_ids()[-1]
    actions: list[Callable[[], object]] = [
        lambda: window.experiment_commands.rename(first, "renamed"),
        lambda: window.experiment_commands.describe(first, None, ["tag"], "note"),
        lambda: window.experiment_commands.describe(first, model.runs_of(first)[0], ["best"], ""),
        lambda: window.experiments.select_experiment(first),
        lambda: window.window_actions["launch"].trigger(),
        lambda: window.window_actions["queue"].trigger(),
        lambda: window.experiment_commands.add(trainable(), "added"),
    ]
    with held(store.local_file):
        while actions or time.perf_counter() - began < HELD_SECONDS:
            turn = time.thread_time()
            if actions:
                actions.pop(0)()
            QApplication.processEvents()
            slowest = max(slowest, time.thread_time() - turn)
            time.sleep(0.005)
        assert store.experiment(first).name != "renamed", "the other still holds the database"
        assert window.services.writer.pending > 0
    while window.services.writer.pending:
        turn = time.thread_time()
        QApplication.processEvents()
        slowest = max(slowest, time.thread_time() - turn)
        time.sleep(0.005)
    print(f"slowest turn: {1e3 * slowest:.0f} ms")
    settle(window)
    experiment = store.experiment(first)
    assert (experiment.name, experiment.tags, experiment.note) == ("renamed", ("tag",), "note")
    assert [one.name for one in store.experiments()][-1] == "added"
    assert len(store.runs(first)) == 12
    assert model.rowCount() == 6, "with the row of all runs"
    assert model.experiment_index(first).data() == "renamed"
    assert "runs" not in reads
    assert "reload" not in reads


def test_a_config_that_cannot_be_saved_stays_in_the_form_and_is_not_launched(
    qtbot: QtBot, open_window: OpenWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = open_window()
    window.experiment_commands.add(trainable(), "one")
    settle(window)
    store, define = window.services.store, window.panels["define"]
    one = store.experiments()[0].id
    assert isinstance(define, DefinePanel)

    def refuse(*_: Any) -> None:
        raise StoreUnavailableError("The database is locked by another program. Close it and try again.")

    with monkeypatch.context() as patch:
        patch.setattr(store, "edit_experiment", refuse)
        define.form.set_value("seed", 77)
        window.window_actions["launch"].trigger()
        settle(window)
        assert store.runs() == [], "the config in the store is not the one in the form"
        assert "could not be saved" in window.bar.text
        assert "locked by another program" in define.bar.text
        assert define.form.draft()["seed"] == "77"
        draft = window.services.settings.value(f"drafts/{one}")
        assert '"seed": "77"' in str(draft), "kept even if the window ends now"
    define.bar.press_remedy()
    settle(window)
    config = store.experiment(one).config
    assert config is not None
    assert config.seed == 77
    assert window.services.settings.value(f"drafts/{one}") is None


def test_another_experiment_is_shown_with_its_edits_while_its_save_waits(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window()
    for name in ("one", "two"):
        window.experiment_commands.add(trainable(), name)
        settle(window)
    store, define = window.services.store, window.panels["define"]
    one, two = (each.id for each in store.experiments())
    assert isinstance(define, DefinePanel)
    window.experiments.select_experiment(one)
    with held(store.local_file):
        define.form.set_value("seed", 41)
        window.experiments.select_experiment(two)
        window.experiments.select_experiment(one)
        assert define.form.draft()["seed"] == "41"
        window.refresh()
        assert define.form.draft()["seed"] == "41"
    settle(window)
    config = store.experiment(one).config
    assert config is not None
    assert config.seed == 41


def test_the_window_closes_after_the_last_write(qtbot: QtBot, open_window: OpenWindow, home: Path) -> None:
    window = open_window()
    window.experiment_commands.add(trainable(), "one")
    settle(window)
    one = window.services.store.experiments()[0].id
    with held(window.services.store.local_file):
        window.experiment_commands.describe(one, None, ["last"], "words")
        window.close()
        assert window.isVisible()
        assert "Saving the last changes" in window.bar.text
    qtbot.waitUntil(lambda: not window.isVisible())
    assert Store.open(home).experiment(one).note == "words"


def test_every_run_is_named_by_its_number_in_its_experiment(tmp_path: Path) -> None:
    with_runs(tmp_path / "home", experiments=2, each=3)
    store = Store.open(tmp_path / "home")
    titles = [entry.title for entry in run_entries(store, "search")]
    store.close()
    assert titles == [f"experiment {number} · run {run}" for number in (1, 0) for run in (3, 2, 1)]
