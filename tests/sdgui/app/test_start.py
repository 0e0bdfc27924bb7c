"""Starting the program: which home, which database, what is loaded."""

from __future__ import annotations

import gc
import re
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import (
    QApplication,
    QMessageBox,
)
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from sdgui.app.collecting import spare_collections
from sdgui.app.start import home_folder, main
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
    store.database.write_bytes(b"no database" * 1000)
    assert main(["--home", str(home), "--rebuild"]) == 0
    said = capsys.readouterr()
    assert "runs listed: 1, run folders that could not be read: 1." in said.out
    assert str(bad.path) in said.err
    assert list(home.glob("sdgui.db.damaged-*"))
    again = Store.open(home)
    assert [run.folder.name for run in again.runs()] == ["good"]
    again.close()


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
        young = [window]
        assert any(one is young for one in gc.get_objects())
        window.show_panel("clean")
        assert not any(one is young for one in gc.get_objects())  # frozen with the place
    finally:
        gc.unfreeze()


def test_the_demo_has_a_home_of_its_own() -> None:
    assert home_folder(None, demo=True) != home_folder(None, demo=False)
    assert home_folder(Path("x"), demo=True) == Path("x").absolute()


def test_the_window_opens_every_place_without_torch(home: Path) -> None:
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
