"""Parts of the start by themselves: what is kept for the next launch, what is opened at once, the window alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PySide6.QtCore import QObject, QSettings, Signal
from PySide6.QtWidgets import QApplication, QMessageBox
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from core.spec.machines.machine import Machine
from sdgui.app import start
from sdgui.app.start import home_folder, keep_place, make_services, open_path, parse, window_alone
from sdgui.store.records import HERE, Place, StoreError


class Hosts(QObject):
    place_changed = Signal(object)

    def __init__(self, *names: str, broken: bool = False) -> None:
        super().__init__()
        self.place, self._names, self._broken = HERE, names, broken
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


def test_the_next_launch_trains_where_the_last_one_did_unless_that_is_gone(qapp: object, settings: QSettings) -> None:
    first = hosts("far")
    keep_place(first, settings)
    assert first.place == HERE
    first.set_place(Place("far", "0,1"))
    found = [hosts("far"), hosts("other"), hosts(broken=True)]
    for one in found:
        keep_place(one, settings)
    assert [one.place for one in found] == [Place("far", "0,1"), HERE, HERE]
    first.set_place(Place("", "2"))
    here = hosts()
    keep_place(here, settings)
    assert here.place == Place("", "2"), "this computer is never gone"


def test_how_many_run_at_once_is_a_number_of_one_or_more(settings: QSettings) -> None:
    assert start._at_once(settings) == 1
    for kept, number in (("3", 3), ("0", 1), ("-2", 1), ("many", 1)):
        settings.setValue("queue/at_once", kept)
        assert start._at_once(settings) == number


def test_services_of_a_home_are_those_of_its_settings(qapp: object, tmp_path: Path) -> None:
    first = make_services(tmp_path / "home")
    first.settings.setValue("queue/at_once", 4)
    first.settings.sync()
    again = make_services(tmp_path / "home")
    assert (first.launcher.limit, again.launcher.limit) == (1, 4)
    for one in (first, again):
        one.launcher.close()
        one.pool.close()
        one.store.close()


def test_what_is_named_at_the_start_is_imported_or_read(tmp_path: Path) -> None:
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
    parsed = parse([str(file), "--demo", "--home", "x"])
    assert (parsed.path, parsed.demo, parsed.home, parsed.rebuild) == (file, True, Path("x"), False)
    assert home_folder(None, demo=True) == home_folder(None, demo=False) / "demo"
    assert home_folder(Path("~/x"), demo=False) == Path.home() / "x"


def test_a_window_without_the_trainer_says_how_it_is_added(qapp: QApplication) -> None:
    message = window_alone()
    assert message.remedy is not None
    message.remedy.do()
    command = qapp.clipboard().text()
    assert command
    assert message.text.endswith(command)
    qapp.clipboard().clear()


def test_what_keeps_the_program_from_its_work_is_said_and_its_exit_status_is_one(
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


def test_why_the_window_does_not_open_is_shown_as_it_is_written(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[QMessageBox] = []
    monkeypatch.setattr(QMessageBox, "exec", lambda box: shown.append(box))
    start.refuse("The file <b>x</b> is newer.")
    assert [(box.text(), box.objectName(), box.icon()) for box in shown] == [
        ("The file <b>x</b> is newer.", "refused", QMessageBox.Icon.Critical)
    ]
    assert capsys.readouterr().err == "sdgui: The file <b>x</b> is newer.\n"
