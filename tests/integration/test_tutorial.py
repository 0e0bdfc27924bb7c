"""The tutorial's commands, run one after another as they are printed, at size tiny and for one epoch; then the window
imports what they trained and searches it for the words that the page says.

Its buttons are clicked by tests/sdgui/app/test_tutorial_steps.py.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import QProcess
from pytestqt.qtbot import QtBot

from core.spec.children import environment
from core.spec.run.status import RunState
from sdgui.app.main_window import MainWindow
from sdgui.app.start import make_application, make_services
from sdgui.panels.search.panel import SearchPanel

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"


@pytest.mark.slow
def test_the_commands_of_the_tutorial_work_as_described(qtbot: QtBot, tmp_path: Path) -> None:
    text = TUTORIAL.read_text(encoding="utf-8")
    block = re.search(r"^## The same without the window\n+```sh\n(.*?)^```", text, re.M | re.S)
    assert block is not None
    printed = ""
    for line in block[1].splitlines():
        command = line.replace("--size demo", "--size tiny").replace("--set ", "--set optim.epochs=1 ")
        command = command.replace("sdgui-core", f'"{sys.executable}" -P -m core', 1)
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"
        printed = done.stdout
    found = printed.splitlines()
    assert len(found) == 4  # the heading and -k 3
    assert all("pairs/images/" in one for one in found[1:])
    words = re.search(r"Type `([^`]+)`: images are found as you type", text)
    assert words is not None
    _search_in_the_window(qtbot, tmp_path / "home", tmp_path / "runs" / "first", words[1])


def _search_in_the_window(qtbot: QtBot, home: Path, run: Path, words: str) -> None:
    make_application()
    window = MainWindow(make_services(home))
    window.show()
    try:
        qtbot.waitUntil(lambda: bool(window.panels), timeout=120_000)
        window.experiment_commands.import_run(run)
        qtbot.waitUntil(lambda: [one.state for one in window.services.store.runs()] == [RunState.DONE], timeout=120_000)
        panel = window.show_panel("search")
        assert isinstance(panel, SearchPanel)
        panel.use_run(window.services.store.runs()[0].id)
        qtbot.waitUntil(lambda: panel.sessions[0].facts is not None, timeout=300_000)
        qtbot.keyClicks(panel.view.query.line, words)
        qtbot.waitUntil(lambda: panel.queries.answered and bool(panel.view.sides[0].gallery.items()), timeout=120_000)
        assert all(Path(item.path).is_file() for item in panel.view.sides[0].gallery.items())
    finally:
        window.close_without_asking()
        qtbot.waitUntil(lambda: not window.services.pool.findChildren(QProcess), timeout=60_000)
