"""The Data panel's figure: from a setting of the views that moves to all views of 12 images painted.

Flow: ``tests.benchmarks.window`` -> here -> the real window with the demo's images, each preset at 224 px in turn;
every kind of view that it has gets another smallest crop, as if typed -> form -> real worker -> canvas.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtWidgets import QApplication

from core.spec.children import environment
from core.spec.config import RunConfig
from core.spec.config.contradictions import problems
from core.spec.presets import PRESETS, preset_config
from sdgui.app.collecting import spare_collections
from sdgui.panels.data.layout import VIEWS
from sdgui.panels.data.panel import DataPanel
from sdgui.panels.data.views_page import ViewsPage
from sdgui.runs.program import core_command
from sdgui.shared.views.preview import MAX_IMAGES
from tests.benchmarks.window.windows import opened

REDRAW_LIMIT, TURN_LIMIT = 0.2, 0.05  # seconds
_KINDS = ("clean", "student", "local", "teacher")
_MOVES = (0.31, 0.43, 0.37)  # smallest crops, as shares of the largest
_WAIT = 120.0


@dataclass(frozen=True)
class ViewTimes:
    """Seconds."""

    preset: str  # the slowest
    redrawn: float  # its median, of the kind of view that takes longest
    slowest_turn: float  # of the window's thread in all of it, in processor time


def measure(app: QApplication, folder: Path) -> ViewTimes:
    """Move a setting of each kind of view of every preset a few times."""
    data = folder / "data"
    subprocess.run([*core_command(), "demo-data", str(data)], check=True, capture_output=True, env=environment())
    with opened(app, folder / "home") as window:
        spare_collections(window)
        panel = window.show_panel("data")
        assert isinstance(panel, DataPanel)
        panel.show_source(str(data / "train.csv"))
        turns: list[float] = []
        _until(app, lambda: panel.facts is not None, turns)
        panel.view.tabs.setCurrentIndex(VIEWS)
        page = panel.view.views
        _until(app, lambda: page.preview.views() is not None, turns)
        turns.clear()
        found = [
            (seconds, name)
            for number, (name, config) in enumerate(_distinct(str(data / "train.csv")).items())
            for seconds in _moved(app, page, number, config, turns)
        ]
        slowest, preset = max(found)
        return ViewTimes(preset, slowest, max(turns))


def _distinct(source: str) -> dict[str, RunConfig]:
    """The presets on ``source`` whose views are no other one's, but those that first need another model's weights."""
    presets = {name: _on(source, preset_config(name, "base")) for name in PRESETS}
    alike = {config.views.model_dump_json(): name for name, config in presets.items() if not problems(config)}
    return {name: presets[name] for name in alike.values()}


def _on(source: str, config: RunConfig) -> RunConfig:
    return config.model_copy(update={"data": config.data.model_copy(update={"train": source})})


def _moved(app: QApplication, page: ViewsPage, number: int, config: RunConfig, turns: list[float]) -> Iterator[float]:
    """Median seconds for each kind of view of ``config``, the ``number``-th; none is in the worker's memory."""
    _drawn(app, page, turns, lambda: page.take(config.name, config))
    for kind in _KINDS:
        view = getattr(config.views, kind)
        crops = [view.crop_max * (share + 0.001 * number) for share in _MOVES if view.count]
        times = [
            _drawn(app, page, turns, lambda crop=crop, kind=kind: page.form.set_value(f"views.{kind}.crop_min", crop))
            for crop in crops
        ]
        yield statistics.median(times or [0.0])


def _drawn(app: QApplication, page: ViewsPage, turns: list[float], move: Callable[..., None]) -> float:
    """Seconds from ``move`` to the painted views of all images."""
    before = page.preview.views()
    began = time.perf_counter()
    move()
    _until(app, lambda: page.preview.views() is not before, turns)
    page.preview.canvas.repaint()
    seconds = time.perf_counter() - began
    views = page.preview.views()
    assert views is not None
    assert len(views.images) == MAX_IMAGES
    _until(app, lambda: not page.preview.work.busy, turns)
    return seconds


def _until(app: QApplication, holds: Callable[..., bool], turns: list[float]) -> None:
    deadline = time.monotonic() + _WAIT
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("the Data panel did not draw the views")
        began = time.thread_time()
        app.processEvents()
        turns.append(time.thread_time() - began)
        time.sleep(0.001)
