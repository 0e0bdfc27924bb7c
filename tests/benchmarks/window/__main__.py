"""``python -m tests.benchmarks.window [--json]``: the speed of the window, against its limits and plain pyqtgraph.

Rows as of ``python -m core bench``. Where there is no peer, ``peer`` is the limit, and the ratio is limit over ours.
Needs a display, or ``QT_QPA_PLATFORM=offscreen``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyqtgraph as pg
from PySide6.QtWidgets import QApplication

from core.bench.results import BenchResult, print_results, result
from core.spec.files import write_whole
from core.spec.presets import preset_config
from core.spec.run.events import EventWriter, Metrics, RunStarted
from core.spec.run.status import own_status
from sdgui.app.start import make_application
from sdgui.panels.runs.panel import RunsPanel
from sdgui.panels.runs.plots.canvas import PlotCanvas
from sdgui.panels.runs.plots.grid import PlotGrid
from sdgui.panels.runs.plots.series import Series
from tests.benchmarks.window import confusion as bench_confusion
from tests.benchmarks.window import panels as bench_panels
from tests.benchmarks.window import run_table as bench_table
from tests.benchmarks.window import runs as bench_runs
from tests.benchmarks.window import search as bench_search
from tests.benchmarks.window.gallery import FIRST_PAINT_LIMIT, FRAME_LIMIT, measure
from tests.benchmarks.window.windows import opened

START_LIMIT, EVENT_LIMIT, REDRAW_LIMIT = 1.5, 0.3, 0.06  # seconds
CURVES, POINTS = 10, 100_000

_START = """
import sys, time, psutil
from pathlib import Path
from sdgui.app.start import make_application, open_window
app = make_application()
window = open_window(Path(sys.argv[1]), demo=False)
while not window.windowHandle().isExposed():
    app.processEvents()
app.processEvents()
seconds = time.time() - psutil.Process().create_time()
assert "torch" not in sys.modules, "the window loaded torch"
window.services.follower.close()
window.services.store.close()
print(seconds, flush=True)
import os; os._exit(0)
"""


def run() -> list[BenchResult]:
    """All rows; takes about a minute."""
    with tempfile.TemporaryDirectory(prefix="sdgui-bench-") as folder:
        start = window_start(Path(folder) / "start")
        app = make_application()
        event = event_to_curve(app, Path(folder) / "live")
        ours, plain = redraw(app)
        gallery = measure(app, Path(folder) / "gallery")
        search = bench_search.measure(app, Path(folder) / "search")
        confusion = bench_confusion.measure(app)
        panels = bench_panels.measure(app, Path(folder) / "panels")
        still, busy = bench_runs.measure(app, Path(folder) / "runs")
        table = bench_table.measure_table(app, Path(folder) / "table")
        pan, brush = bench_table.measure_plot(app), bench_table.measure_brush(app)
        dots = bench_search.measure_map(app)
    return [
        _within("window shown, from process start", start, START_LIMIT),
        _within("event on disk to curve on screen, slowest of 20", event, EVENT_LIMIT),
        _within("redraw of 10 curves x 100k points", ours, REDRAW_LIMIT),
        result("  against plain pyqtgraph", 1e3 * ours, 1e3 * plain, "ms", plain / ours, 1.0),
        _within("first paint of 100k images", gallery.first_paint, FIRST_PAINT_LIMIT),
        _within("longest frame of a scroll, thumbnails loading", gallery.slowest_frame, FRAME_LIMIT),
        _within("all of 100k images selected", gallery.select_all, FIRST_PAINT_LIMIT),
        _within("confusion matrix of 1,000 classes drawn", confusion.drawn, bench_confusion.DRAWN_LIMIT),
        _within("  the same with every cell filled", confusion.filled, bench_confusion.DRAWN_LIMIT),
        _within("  longest frame of zooming into it", confusion.slowest_zoom, bench_confusion.FRAME_LIMIT),
        _within("key press to results, demo images", search.one, bench_search.KEY_LIMIT),
        _within("  the same of two models side by side", search.two, bench_search.KEY_LIMIT),
        _within("  longest turn of the event loop meanwhile", search.slowest_turn, bench_search.TURN_LIMIT),
        _within("slowest frame of a map of 100k points, panned and zoomed", dots, bench_search.MAP_LIMIT),
        _within("200 live runs: longest turn of the window's thread", still.turn, bench_runs.TURN_LIMIT),
        _share("  its share of a core when nothing changes", still.share, bench_runs.SHARE_LIMIT),
        _within("  longest turn, a step of each every 2 s", busy.turn, bench_runs.TURN_LIMIT),
        _within("10,000 runs opened", table.opened, bench_table.OPEN_LIMIT),
        _within("  filtered by an expression", table.filtered, bench_table.FILTER_LIMIT),
        _within("  grouped by two settings", table.grouped, bench_table.GROUP_LIMIT),
        _within("  filtered and sorted by a metric at a step", table.at_step, bench_table.FILTER_LIMIT),
        _within("  slowest frame of a scroll", table.frame, bench_table.SCROLL_LIMIT),
        _within("  longest turn of the window's thread meanwhile", table.turn, bench_table.TURN_LIMIT),
        _within("frame of 100 curves x 100k points, panned and zoomed", pan, bench_table.PAN_LIMIT),
        _within("slowest frame of brushing 2,000 lines x 10 axes", brush, bench_table.BRUSH_LIMIT),
        *(_within(f"longest turn, {name} first shown", turn, bench_panels.TURN_LIMIT) for name, turn in panels.items()),
    ]


def _share(name: str, share: float, limit: float) -> BenchResult:
    return result(name, 100 * share, 100 * limit, "%", limit / share, 1.0)


def _within(name: str, seconds: float, limit: float) -> BenchResult:
    return result(name, 1e3 * seconds, 1e3 * limit, "ms", limit / seconds, 1.0)


def window_start(home: Path, rounds: int = 5) -> float:
    """Median seconds from process start to the exposed window, after one start that makes the database."""
    times = []
    for _ in range(rounds + 1):
        command = [sys.executable, "-c", _START, str(home)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
        times.append(float(done.stdout.split()[-1]))
    return statistics.median(times[1:])


def event_to_curve(app: QApplication, home: Path, rounds: int = 20) -> float:
    """Most seconds from a written event to the repainted plot that shows its point, over ``rounds`` events."""
    with opened(app, home) as window:
        store = window.services.store
        config = preset_config("clip", "tiny")
        made = store.add_run(store.add_experiment(config).id)
        made.dir.create()
        write_whole(made.dir.config, config.to_json().encode())
        made.dir.write_status(own_status(doing="training"))
        writer = EventWriter(made.dir.events)
        writer.write(RunStarted(step=0, total_steps=rounds, config_digest=config.digest()))
        writer.write(Metrics(step=1, values={"train/loss": 1.0}))
        window.reload()
        window.experiments.select_run(made.id)
        window.show_panel("runs")
        runs_panel = window.panels["runs"]
        assert isinstance(runs_panel, RunsPanel)
        grid = runs_panel.tabs.view.grid
        key = str(made.id)
        _until(app, lambda: len(grid.points(key, "train/loss")[0]) == 1 and bool(_canvases(grid)))
        drawn = [0]  # points of the longest curve at the last redraw

        def note(canvas: PlotCanvas) -> None:
            drawn[0] = max([drawn[0], *(len(one) for one in canvas.series())])

        for canvas in _canvases(grid):
            canvas.redrawn.connect(partial(note, canvas))
        slowest = 0.0
        for step in range(2, rounds + 2):
            time.sleep(0.037)  # so that events fall anywhere between two polls
            began = time.perf_counter()
            writer.write(Metrics(step=step, values={"train/loss": 1.0 / step}))
            _until(app, lambda count=step: drawn[0] == count)
            app.processEvents()  # paints what was redrawn
            slowest = max(slowest, time.perf_counter() - began)
        writer.close()
        return slowest


def _canvases(grid: PlotGrid) -> list[PlotCanvas]:
    """Canvases with curves."""
    return [canvas for canvas in grid.findChildren(PlotCanvas) if canvas.series()]


def _until(app: QApplication, holds: Callable[..., bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("the window did not show the event")
        app.processEvents()
        time.sleep(0.001)


def redraw(app: QApplication, rounds: int = 15) -> tuple[float, float]:
    """Median seconds of one redraw with all data in view: our plot and plain pyqtgraph, in turn."""
    generator = np.random.default_rng(0)
    x = np.arange(POINTS, dtype=float)
    curves = [generator.normal(index, 0.3, POINTS) for index in range(CURVES)]
    ours, plain = PlotCanvas(), pg.PlotWidget()
    items = []
    for index, y in enumerate(curves):
        series = Series(str(index), str(index), index)
        series.replace(x, y)
        ours.put(series)
        items.append(plain.plot(x, y))
    for widget in (ours, plain):
        widget.resize(1200, 800)
        widget.show()
        app.processEvents()
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        began = time.perf_counter()
        ours.redraw()
        app.processEvents()
        seconds[0].append(time.perf_counter() - began)
        began = time.perf_counter()
        for item, y in zip(items, curves, strict=True):
            item.setData(x, y)
        app.processEvents()
        seconds[1].append(time.perf_counter() - began)
    for widget in (ours, plain):
        widget.close()
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows; 0 when every limit holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.window", description="Measure the window.")
    parser.add_argument("--json", action="store_true", help="a list of results on stdout")
    parsed = parser.parse_args(arguments)
    return print_results(run(), parsed.json)


if __name__ == "__main__":
    sys.exit(main())
