"""The Search panel over a worker in miniature, and what tests do with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtGui import QColor, QImage
from pytestqt.qtbot import QtBot

from core.spec.files import write_whole
from core.spec.presets import preset_config
from sdgui.app.main_window import MainWindow
from sdgui.app.start import make_application, make_services
from sdgui.panels.search.panel import SearchPanel
from sdgui.shared.services import Services
from sdgui.worker.pool import WorkerPool
from tests.sdgui.conftest import leave, program
from tests.sdgui.panels.scripted_workers import Workers, services_in

OpenSearch = Callable[..., SearchPanel]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images, and where the worker writes down what it was asked."""
    (tmp_path / "work" / "images").mkdir(parents=True)
    for number in range(6):
        image = QImage(8, 8, QImage.Format.Format_RGB32)
        image.fill(QColor.fromHsv(number * 40, 200, 200))
        image.save(str(tmp_path / "work" / "images" / f"{number}.png"))
    return tmp_path / "work"


@pytest.fixture
def open_search(qtbot: QtBot, home: Path, folder: Path) -> Iterator[OpenSearch]:
    """The place over a run with a student and a teacher; opened again on the same home when called twice."""
    make_application()
    windows: list[MainWindow] = []

    def open_it(checkpoint: bool = True, wait: bool = True) -> SearchPanel:
        command = program("fake_search_worker.py", str(folder))
        services = make_services(home, program("fake_trainer.py"), command, program("fake_demo.py"))
        window = MainWindow(services)
        windows.append(window)
        if not services.store.runs():
            _make_run(window, checkpoint)
        window.show()
        window.activateWindow()
        qtbot.waitUntil(lambda: window.isActiveWindow() and bool(window.panels))
        place = window.show_panel("search")
        assert isinstance(place, SearchPanel)
        if checkpoint and wait:
            qtbot.waitUntil(lambda: place.sessions[0].facts is not None, timeout=10000)
            waited = place.sessions[1]
            qtbot.waitUntil(lambda: waited.facts is not None or not place.view.source.comparing, timeout=10000)
        return place

    yield open_it
    for window in windows:
        leave(window, qtbot)
        window.services.store.close()


@pytest.fixture
def services(qtbot: QtBot, tmp_path: Path) -> Iterator[Services]:
    with services_in(tmp_path / "home", program("fake_worker.py")) as made:
        yield made


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Workers:
    """Workers that answer when the test says so, in place of all others."""
    found = Workers()
    monkeypatch.setattr(WorkerPool, "client", lambda _self, key, title="": found.client(key, title))
    return found


def _make_run(window: MainWindow, checkpoint: bool) -> None:
    store = window.services.store
    config = preset_config("sd-clip", "tiny")
    run = store.add_run(store.add_experiment(config, "shapes").id)
    run.dir.create()
    write_whole(run.dir.config, config.to_json().encode())
    if checkpoint:
        add_checkpoint(run.dir.checkpoints / "step-00000003")
    window.reload()


def add_checkpoint(place: Path) -> None:
    place.mkdir(parents=True)
    for name in ("checkpoint.json", "student.safetensors", "teacher.safetensors"):
        (place / name).write_text("{}", encoding="utf-8")


def requests(folder: Path, do: str = "search_query") -> list[dict[str, Any]]:
    lines = (folder / "requests.jsonl").read_text(encoding="utf-8").splitlines()
    return [one for one in map(json.loads, lines) if one["do"] == do]


def type_words(qtbot: QtBot, search: SearchPanel, words: str) -> None:
    search.focus_search()
    search.view.query.line.clear()
    qtbot.keyClicks(search.view.query.line, words)
    answered(qtbot, search, words)


def answered(qtbot: QtBot, search: SearchPanel, words: str = "") -> None:
    def there() -> bool:
        return all(side.answer is not None and (not words or side.query.words == words) for side in search.view.sides)

    qtbot.waitUntil(there, timeout=10000)


def leave_place(search: SearchPanel) -> None:
    window = search.window()
    assert isinstance(window, MainWindow)
    window.close_without_asking()
