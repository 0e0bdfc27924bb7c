"""The Search panel's figures: from a key press to the repainted results, on the demo's held-out images.

Flow: ``tests.benchmarks.window`` -> here -> the real window and a real worker over the demo's architecture; its weights
are random, since time does not depend on them. The longest turn of the event loop meanwhile is measured too.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from core.spec.children import environment
from sdgui.app.collecting import freeze_permanent_objects
from sdgui.panels.search.panel import SearchPanel
from sdgui.panels.search.tabs.map_canvas import MapCanvas
from sdgui.runs.program import core_command
from sdgui.shared.pickers.entries import ModelChoice
from tests.benchmarks.window.windows import opened

KEY_LIMIT, TURN_LIMIT, MAP_LIMIT = 0.15, 0.05, 0.033  # seconds
_MODEL = "open_clip:sd-demo,"
_WORDS = "woman with red hair and a heart"
_WAIT = 600.0


@dataclass(frozen=True)
class SearchTimes:
    """Seconds."""

    one: float  # median, one model
    two: float  # median, until both of two models have answered
    slowest_turn: float  # of the event loop


def measure(app: QApplication, folder: Path) -> SearchTimes:
    """Type a query letter by letter, with one model and with two."""
    home = folder / "home"
    data = home / "demo-data"
    home.mkdir(parents=True)
    subprocess.run([*core_command(), "demo-data", str(data)], check=True, capture_output=True, env=environment())
    with opened(app, home) as window:
        freeze_permanent_objects(window)
        window.experiment_commands.add_demo("search")  # finds its data made
        panel = window.show_panel("search")
        assert isinstance(panel, SearchPanel)
        one, turns = _type(app, panel, data / "val.csv", compare=False)
        two, more = _type(app, panel, data / "val.csv", compare=True)
        window.services.demo.cancel()
    return SearchTimes(statistics.median(one), statistics.median(two), max(turns + more))


def measure_map(app: QApplication, points: int = 100_000) -> float:
    """The slowest processor seconds of a frame while a map of so many points is panned and zoomed."""
    drawn = np.random.default_rng(0)
    canvas = MapCanvas()
    canvas.resize(1200, 800)
    canvas.show()
    canvas.set_points(drawn.normal(size=(points, 2)), drawn.integers(0, 8, points).tolist(), points * 3 // 4)
    app.processEvents()
    slowest = 0.0
    for step in range(60):
        began = time.process_time()
        canvas.move_view(0.01, 0.005, 0.98 if step % 2 else 1.0)
        app.processEvents()
        slowest = max(slowest, time.process_time() - began)
    canvas.close()
    return slowest


def _type(app: QApplication, panel: SearchPanel, source: Path, compare: bool) -> tuple[list[float], list[float]]:
    """Seconds from each key to the painted results of all models, and of each turn of the event loop."""
    bar = panel.view.source
    bar.compare.setChecked(compare)
    for side in range(2 if compare else 1):
        bar.pickers[side].set_choice(ModelChoice(_MODEL, "", "sd-demo"))
    bar.collection.search_folder(str(source))
    panel.open(-1)
    sessions = panel.sessions[: 2 if compare else 1]
    _until(app, lambda: all(session.facts is not None and not session.opening for session in sessions), [])
    panel.view.query.line.clear()
    panel.view.query.line.setFocus(Qt.FocusReason.OtherFocusReason)
    times: list[float] = []
    turns: list[float] = []
    for letter in _WORDS:
        before = panel.queries.number
        began = time.perf_counter()
        QTest.keyClicks(panel.view.query.line, letter)
        _until(app, lambda before=before: panel.queries.number > before and panel.queries.answered, turns)
        for found in panel.view.sides:
            found.gallery.view.viewport().repaint()
        times.append(time.perf_counter() - began)
        _until(app, lambda: not panel.view.sides[0].gallery.thumbnails.pending(), turns)
    return times[3:], turns  # the first keys warm caches up


def _until(app: QApplication, holds: Callable[..., bool], turns: list[float]) -> None:
    deadline = time.monotonic() + _WAIT
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("the Search panel did not answer")
        began = time.perf_counter()
        app.processEvents()
        turns.append(time.perf_counter() - began)
        time.sleep(0.001)
