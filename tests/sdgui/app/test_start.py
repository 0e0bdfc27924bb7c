"""Starting the program: which home, which database, what is loaded."""

from __future__ import annotations

import gc
import os
import re
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PySide6.QtCore import QObject, QSettings, QTimer, Signal
from PySide6.QtWidgets import (
    QApplication,
    QMessageBox,
)
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from core.spec.machines.machine import Machine
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from sdgui.app import start
from sdgui.app.collecting import freeze_permanent_objects
from sdgui.app.start import home_folder, keep_place, main, make_parser, make_services, no_trainer_message, open_path
from sdgui.store.records import THIS_COMPUTER, Place, StoreError
from sdgui.store.store import Store
from tests.sdgui.driving import OpenWindow


def test_a_damaged_database_is_rebuilt_by_a_command(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store.open(home)
    folder = RunDir(store.runs_folder / "good")
    folder.create()
    folder.config.write_text(preset_config("clip", "tiny").to_json())
    bad = RunDir(store.runs_folder / "bad")
    bad.create()
    bad.config.write_text("{")
    store.close()
    store.local_file.write_bytes(b"no database" * 1000)
    assert main(["--home", str(home), "--rebuild"]) == 0
    said = capsys.readouterr()
    assert "runs listed: 1, run folders that could not be read: 1." in said.out
    assert str(bad.path) in said.err
    assert list(home.glob("sdgui.db.damaged-*"))
    again = Store.open(home)
    assert [run.folder.name for run in again.runs()] == ["good"]
    again.close()


def test_a_newer_database_is_refused_with_a_message(
    qtbot: QtBot, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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


def test_a_built_panel_is_frozen_for_the_garbage_collector(open_window: OpenWindow) -> None:
    window = open_window()
    try:
        freeze_permanent_objects(window)
        young = [window]
        assert any(one is young for one in gc.get_objects())
        window.show_panel("clean")
        assert not any(one is young for one in gc.get_objects())  # frozen with the place
    finally:
        gc.unfreeze()


def test_the_window_opens_every_panel_without_torch(home: Path) -> None:
    program = textwrap.dedent("""
        import sys, threading
        from pathlib import Path
        from sdgui.app.start import make_application, open_window
        from sdgui.panels.registry import PANELS
        app = make_application()
        window = open_window(Path(sys.argv[1]), demo=False)
        while not window.panels:
            app.processEvents()
        for thread in threading.enumerate():
            if thread.name == "panels":
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


class Hosts(QObject):
    place_changed = Signal(object)

    def __init__(self, *names: str, broken: bool = False) -> None:
        super().__init__()
        self.place, self._names, self._broken = THIS_COMPUTER, names, broken
        self.machines = SimpleNamespace(list=self)

    def machines_there(self) -> list[Machine]:
        if self._broken:
            raise UserError("The list cannot be read.")
        return [Machine(name=name, host="x") for name in self._names]

    def set_place(self, place: Place) -> None:
        self.place = place
        self.place_changed.emit(place)


def hosts(*names: str, broken: bool = False) -> Any:
    made = Hosts(*names, broken=broken)
    made.machines = SimpleNamespace(list=SimpleNamespace(machines=made.machines_there))
    return made


@pytest.fixture
def settings(tmp_path: Path) -> QSettings:
    return QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat)


def test_the_next_launch_uses_the_last_machine_unless_it_is_gone(qapp: object, settings: QSettings) -> None:
    first = hosts("far")
    keep_place(first, settings)
    assert first.place == THIS_COMPUTER
    first.set_place(Place("far", "0,1"))
    found = [hosts("far"), hosts("other"), hosts(broken=True)]
    for one in found:
        keep_place(one, settings)
    assert [one.place for one in found] == [Place("far", "0,1"), THIS_COMPUTER, THIS_COMPUTER]
    first.set_place(Place("", "2"))
    here = hosts()
    keep_place(here, settings)
    assert here.place == Place("", "2"), "this computer is never gone"


def test_the_limit_of_concurrent_runs_is_at_least_one(settings: QSettings) -> None:
    assert start._parallel_runs(settings) == 1
    for kept, number in (("3", 3), ("0", 1), ("-2", 1), ("many", 1)):
        settings.setValue("queue/at_once", kept)
        assert start._parallel_runs(settings) == number


def test_services_of_a_home_use_its_settings(qapp: object, tmp_path: Path) -> None:
    first = make_services(tmp_path / "home")
    first.settings.setValue("queue/at_once", 4)
    first.settings.sync()
    again = make_services(tmp_path / "home")
    assert (first.launcher.limit, again.launcher.limit) == (1, 4)
    for one in (first, again):
        one.launcher.close()
        one.pool.close()
        one.store.close()


def test_paths_on_the_command_line_are_imported_or_read(tmp_path: Path) -> None:
    done: list[tuple[str, Path]] = []
    commands = SimpleNamespace(
        import_run=lambda path: done.append(("import", path)), new_from_file=lambda path: done.append(("new", path))
    )
    window = cast(Any, SimpleNamespace(experiment_commands=commands))
    file = tmp_path / "a.json"
    file.touch()
    open_path(window, tmp_path)
    open_path(window, file)
    assert done == [("import", tmp_path), ("new", file)]
    parsed = make_parser().parse_args([str(file), "--demo", "--home", "x"])
    assert (parsed.path, parsed.demo, parsed.home, parsed.rebuild) == (file, True, Path("x"), False)
    assert home_folder(None, demo=True) == home_folder(None, demo=False) / "demo"
    assert home_folder(Path("~/x"), demo=False) == Path.home() / "x"


def test_a_window_without_the_trainer_shows_how_to_install_it(qapp: QApplication) -> None:
    message = no_trainer_message()
    assert message.remedy is not None
    message.remedy.do()
    command = qapp.clipboard().text()
    assert command
    assert message.text.endswith(command)
    qapp.clipboard().clear()


def test_startup_errors_are_reported_with_exit_status_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fails(*_: object) -> None:
        raise StoreError("It cannot be reached.")

    def unwritable() -> None:
        raise UserError("There is no room.")

    monkeypatch.setattr(start, "upgrade_registry", fails)
    monkeypatch.setattr(start.Store, "rebuild", fails)
    monkeypatch.setattr(start, "install_desktop", unwritable)
    address = "postgresql+psycopg://ann@lab/registry"
    assert start.main(["--upgrade-registry", "--registry", address]) == 1
    assert start.main(["--rebuild", "--home", str(tmp_path)]) == 1
    assert start.main(["--install-desktop"]) == 1
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "sdgui: It cannot be reached.", "sdgui: It cannot be reached.", "sdgui: There is no room."
    ]  # fmt: skip
    assert said.out == ""
    monkeypatch.setattr(start, "upgrade_registry", lambda *_: ("0001", "0002"))
    assert start.main(["--upgrade-registry", "--registry", address]) == 0
    assert capsys.readouterr().out.endswith("version 0001 -> 0002.\n")


def test_startup_errors_are_shown_as_plain_text(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[QMessageBox] = []
    monkeypatch.setattr(QMessageBox, "exec", lambda box: shown.append(box))
    start.refuse("The file <b>x</b> is newer.")
    assert [(box.text(), box.objectName(), box.icon()) for box in shown] == [
        ("The file <b>x</b> is newer.", "refused", QMessageBox.Icon.Critical)
    ]
    assert capsys.readouterr().err == "sdgui: The file <b>x</b> is newer.\n"


ROOT = Path(__file__).parents[3]


def start_hidden(path: Path, **variables: str) -> str:
    """What ``sdgui`` says on stderr, with ``path`` before all packages; its exit status is 1."""
    hidden = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-m", "sdgui", "--home", str(path / "home")],
        cwd=ROOT, env=hidden | {"PYTHONPATH": str(path)} | variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert not (path / "home").exists()
    return done.stderr


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("ModuleNotFoundError(\"No module named 'PySide6'\", name='PySide6')", "install it with: "),
        ("ImportError('libEGL.so.1: cannot open shared object file')", "sdgui-core doctor names the packages"),
    ],
    ids=["not installed", "a library is missing"],
)
def test_without_qt(tmp_path: Path, raised: str, said: str) -> None:
    (tmp_path / "PySide6").mkdir()
    (tmp_path / "PySide6" / "__init__.py").write_text(f"raise {raised}\n")
    told = start_hidden(tmp_path)
    assert told.startswith("sdgui: the window cannot be loaded (")
    assert said in told
    assert len(told.splitlines()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="X11")
@pytest.mark.parametrize("display", ["", ":4321"], ids=["none", "unreachable"])
def test_without_a_screen(tmp_path: Path, display: str) -> None:
    told = start_hidden(tmp_path, QT_QPA_PLATFORM="xcb", **({"DISPLAY": display} if display else {}))
    assert told.startswith("sdgui: the window cannot open, because Qt finds no display (")
    assert "ssh -X" in told
    assert len(told.splitlines()) == 1
