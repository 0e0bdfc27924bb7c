"""The window as a user meets it, in a home of its own, with programs in miniature for trainer, worker and demo data."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from PySide6.QtCore import QEvent, QProcess
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot
from sqlalchemy import Engine, create_engine
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

from core.spec.run.folder import RunDir
from sdgui.app.main_window import MainWindow
from sdgui.app.qt_types import create_qt_types
from sdgui.app.start import make_application, make_services
from sdgui.runs.demo import DemoData
from sdgui.runs.poller import Poller
from sdgui.store import database
from sdgui.store import engine as sqlite_engine
from sdgui.store.migration import upgrade
from sdgui.store.registry import server as registry_server
from tests.postgres import PostgresServer, postgres_server

HERE = Path(__file__).parent
OpenWindow = Callable[..., MainWindow]
PATIENCE = 120_000  # milliseconds; a worker loads torch first
POLLS = {  # a test need not wait as long as a user would not notice
    "sdgui.actions.report._RENEW_MS": 50,
    "sdgui.runs.chains._POLL_SECONDS": 0.05,
    "sdgui.runs.follower_thread._IDLE_INTERVAL": 4,
    "sdgui.runs.launcher._TICK_MS": 20,
    "sdgui.runs.live._CHECK_SECONDS": 0.05,
    "sdgui.runs.study_programs.POLL_SECONDS": 0.05,
    "sdgui.shared.registry_changes._POLL_SECONDS": 0.1,
}


@pytest.fixture(autouse=True)
def no_other_thread_collects() -> None:
    """As in the window, whose ``Collector`` a test of a part may be without."""
    gc.disable()


@pytest.fixture(autouse=True)
def no_poller_outlives_its_test() -> Iterator[None]:
    """A test of a part does not close what a window closes; a poller of a closed store would poll in vain for ever."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if isinstance(thread, Poller):
            thread.stop()


@pytest.fixture(scope="session")
def held_by_threads() -> list[tuple[threading.Thread, object]]:
    return []


@pytest.fixture(autouse=True)
def threads_release_in_the_main_thread(
    held_by_threads: list[tuple[threading.Thread, object]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """The last reference to a ``QObject`` of a test is not a thread's: deleting its timers there crashes Qt."""
    start = threading.Thread.start

    def remember(thread: threading.Thread) -> None:
        held_by_threads.append((thread, getattr(thread, "_target", None)))
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", remember)
    yield
    held_by_threads[:] = [(thread, target) for thread, target in held_by_threads if thread.is_alive()]


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as its revisions leave it, before anything is in it."""
    path = tmp_path_factory.mktemp("new") / "sdgui.db"
    upgrade(path, database.MIGRATIONS)
    database._use_write_ahead_log(path)
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def frequent_polls() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for constant, value in POLLS.items():
            patch.setattr(constant, value)
        yield


@pytest.fixture(scope="session", autouse=True)
def statements_compiled_once() -> Iterator[None]:
    """The engines of all tests share SQLAlchemy's compiled statements: compiling them takes longer than many a test."""
    compiled = LRUCache[Any, Any](2000)

    def sharing(*arguments: Any, **options: Any) -> Engine:
        engine = create_engine(*arguments, **options)
        engine._compiled_cache = compiled
        return engine

    with pytest.MonkeyPatch.context() as patch:
        for dialect in (SQLiteDialect_pysqlite, PGDialect_psycopg):  # the key holds the engine's own dialect
            patch.setattr(dialect, "__eq__", lambda self, other: type(self) is type(other))
            patch.setattr(dialect, "__hash__", lambda self: hash(type(self)))
        for module in (sqlite_engine, registry_server):
            patch.setattr(module, "create_engine", sharing)
        yield


@pytest.fixture(autouse=True)
def made_from_a_copy(new_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new database is copied: running its revisions for each test takes longer than most tests."""
    migrate = database._migrate

    def copy_or_migrate(path: Path, version: str | None, scripts: Path) -> None:
        if version is None and scripts == database.MIGRATIONS and not path.exists():
            with suppress(OSError):  # where there can be none, the revisions say so
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(new_database, path)
                return
        migrate(path, version, scripts)

    monkeypatch.setattr(database, "_migrate", copy_or_migrate)


class PatientBot(QtBot):
    """Waits as long as a busy machine may need: no test is about how soon something happens.

    It keeps the widgets that pytest-qt will close. When the last reference to one is a function connected to a child's
    signal, the child's deletion would delete the widget, and with it the child again.
    """

    def __init__(self, request: pytest.FixtureRequest) -> None:
        super().__init__(request)
        self._kept: list[QWidget] = []

    def addWidget(self, widget: QWidget, **more: Any) -> None:
        self._kept.append(widget)
        super().addWidget(widget, **more)

    def waitUntil(self, callback: Callable[[], bool | None], *, timeout: int = PATIENCE) -> None:
        super().waitUntil(callback, timeout=max(timeout, PATIENCE))

    def waitSignal(self, signal: Any, *, timeout: int = PATIENCE, raising: bool | None = None, **more: Any) -> Any:
        if raising is not False:  # what must not come is not waited for
            timeout = max(timeout, PATIENCE)
        return super().waitSignal(signal, timeout=timeout, raising=raising, **more)


@pytest.fixture(scope="session", autouse=True)
def _empty_clipboard() -> Iterator[None]:
    """Qt would delete a copied QMimeData after Python has ended, and crash."""
    yield
    if (application := QApplication.instance()) is not None:
        QApplication.clipboard().clear()
        application.processEvents()


@pytest.fixture
def qtbot(qapp: QApplication, request: pytest.FixtureRequest) -> Iterator[QtBot]:
    """pytest-qt's, with patience; no window outlives the test: a change of theme would style them all anew."""
    create_qt_types()
    yield PatientBot(request)
    for window in qapp.topLevelWidgets():
        if isinstance(window, MainWindow):
            window.services.follower.close()
            qapp.sendPostedEvents()  # what it told last is heard while the window is there
            window.deleteLater()
    qapp.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)


def program(name: str, *options: str) -> list[str]:
    """The command that starts one of the programs in miniature beside this file."""
    return [sys.executable, str(HERE / "start.py"), str(HERE / name), *options]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def open_window(qtbot: QtBot, home: Path) -> Iterator[OpenWindow]:
    """Opens a window on ``home`` (again, if called twice); no trainer outlives the test."""
    make_application()
    opened: list[MainWindow] = []

    def open_it(
        *trainer_options: str, demo_options: tuple[str, ...] = (), worker: str = "fake_worker.py"
    ) -> MainWindow:
        trainer = program("fake_trainer.py", *trainer_options)
        services = make_services(home, trainer, program(worker), program("fake_demo.py", *demo_options))
        assert isinstance(services.demo, DemoData)
        window = MainWindow(services)
        opened.append(window)
        window.show()
        services.follower.start()
        window.activateWindow()
        qtbot.waitUntil(lambda: window.isActiveWindow() and bool(window.panels))
        return window

    yield open_it
    for window in opened:
        leave(window, qtbot)
    for status in home.glob("runs/*/status.json"):
        _end(RunDir(status.parent))


def settle(window: MainWindow) -> None:
    """Until everything that was submitted to the store is written and shown."""
    writer = window.services.writer
    while True:
        writer.wait()
        QApplication.processEvents()
        waiting = window._refresh_timer.isActive()
        if not writer.pending and not waiting and not window.run_commands._checks:
            return


def leave(window: MainWindow, qtbot: QtBot) -> None:
    """Close a window whose question about live runs is not the test's matter."""
    if not window.isVisible():
        return
    window.close_without_asking()
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=5000)
    qtbot.waitUntil(lambda: not window.services.pool.findChildren(QProcess), timeout=5000)


def _end(run: RunDir) -> None:
    status = run.read_status()
    if status is None or status.pid == os.getpid():  # logged by the test itself
        return
    try:
        process = psutil.Process(status.pid)
        if abs(process.create_time() - status.started) < 2.0:
            process.kill()
            process.wait(5)
    except psutil.NoSuchProcess:
        return
