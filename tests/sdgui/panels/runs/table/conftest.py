"""The table over nine runs whose settings and metrics are known."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QSettings
from pytestqt.qtbot import QtBot

from sdgui.panels.runs.table.run_table import RunTable
from sdgui.store.store import Store
from tests.sdgui.panels.runs.table.tabling import settle


@pytest.fixture
def table(qtbot: QtBot, filled: tuple[Store, list[int]], tmp_path: Path) -> RunTable:
    table = RunTable(filled[0], QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(table)
    table.resize(1000, 400)
    table.show()
    table.start()
    settle(table)
    return table
