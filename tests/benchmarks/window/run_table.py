"""The Runs panel's figures: 10,000 runs in the table, 100 long curves in one plot, 2,000 lines over ten axes.

Flow: ``tests.benchmarks.window`` -> here. A store of 10,000 runs is filled once, without folders, which takes a minute.
Costs are processor time, so that a busy machine does not count: of the process for answers, which the window's thread
and the store's share, of the window's thread for its turns.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PySide6.QtCore import QSettings, QTimer
from PySide6.QtWidgets import QApplication

from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.panels.runs.plots.canvas import PlotCanvas
from sdgui.panels.runs.plots.series import Series
from sdgui.panels.runs.relations.axes import Axis, axis_of
from sdgui.panels.runs.table.run_table import RunTable
from sdgui.store.records import BestPoint, MetricSummary, Progress
from sdgui.store.run_table.fields import setting
from sdgui.store.run_table.queries import RunQuery
from sdgui.store.run_table.step_values import StepValue
from sdgui.store.store import Store
from sdgui.widgets.relations.parallel import ParallelCoordinates

RUNS, CURVES, POINTS, LINES = 10_000, 100, 100_000, 2_000
OPEN_LIMIT, FILTER_LIMIT, GROUP_LIMIT, SCROLL_LIMIT = 0.3, 0.1, 0.2, 0.033  # seconds
TURN_LIMIT, PAN_LIMIT, BRUSH_LIMIT = 0.05, 1 / 30, 0.05
_AT_STEP = "at(val/teacher/mean_recall, 50)"
_AT = f"{_AT_STEP} > 0.4"
_FILTER = "optim.learning_rate < 1e-3 and val/teacher/R@1 > 0.4"


@dataclass(frozen=True)
class TableFigures:
    """Seconds. ``turn``: the longest turn of the window's thread meanwhile, of its own processor time."""

    opened: float
    filtered: float
    grouped: float
    at_step: float  # filtered and sorted by a metric at a step
    frame: float  # the slowest of a scroll
    turn: float


def fill(store: Store, number: int = RUNS) -> None:
    """Runs of 60 experiments, recipes by seeds, with 18 metrics each."""
    drawn = random.Random(0)
    base = preset_config("sd-clip", "tiny")
    experiments = []
    for rate, decay, seed in itertools.product((1e-4, 3e-4, 1e-3, 2e-3), (0.0, 0.1, 0.2), range(5)):
        optim = base.optim.model_copy(update={"learning_rate": rate, "weight_decay": decay})
        config = base.model_copy(update={"seed": seed, "optim": optim})
        experiments.append(store.add_experiment(config, f"rate {rate:g}, decay {decay:g}, seed {seed}").id)
    measures = [f"{way}_R@{k}" for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)]
    names = [f"val/{who}/{one}" for who in ("student", "teacher") for one in (*measures, "mean_recall")]
    names += ["train/loss", "train/lr", "train/grad_norm", "train/pairs_per_s"]
    for at in range(number):
        run = store.add_run(experiments[at % len(experiments)])
        metrics = {name: MetricSummary(drawn.random(), 100, drawn.random(), 50) for name in names}
        best = BestPoint("val/teacher/mean_recall", metrics["val/teacher/mean_recall"].best, 50)
        done = Progress(
            RunState.DONE,
            1,
            100,
            100,
            1e9 + at,
            1e9 + at + 60,
            "done",
            best=best,
            summaries=metrics,
            training_seconds=60,
        )
        store.record(run.id, done)
    _keep_steps(store, drawn)


def _keep_steps(store: Store, drawn: random.Random) -> None:
    """As if values at step 50 had been read from the run folders, which these runs do not have."""
    pair = "val/teacher/mean_recall", 50
    store.save_step_values({one: {pair: (StepValue(drawn.random(), 50), 1)} for one in store.run_ids(RunQuery())})


def measure_table(app: QApplication, home: Path) -> TableFigures:
    """Open, filter, group and scroll."""
    store = Store.open(home)
    fill(store)
    table = RunTable(store, QSettings(str(home / "window.ini"), QSettings.Format.IniFormat))
    table.resize(1400, 700)
    table.show()
    app.processEvents()
    turns = [0.0]
    opened = _answer(app, table, turns, table.start)
    plain = table.current_layout
    filtered = _answer(app, table, turns, lambda: table.bar.filter.setText(_FILTER), lambda: table.bar.filter.apply())
    _answer(app, table, turns, lambda: table.show_layout(plain))
    grouped = _answer(app, table, turns, lambda: table.show_layout(plain.grouped_by("optim.weight_decay", "preset")))
    _answer(app, table, turns, lambda: table.show_layout(plain))
    at_step = _answer(
        app, table, turns, lambda: table.show_layout(replace(plain, filter=_AT, sort=((_AT_STEP, True),)))
    )
    _answer(app, table, turns, lambda: table.show_layout(plain))
    frame = _scroll(app, table, turns)
    table.close()
    store.close()
    return TableFigures(opened, filtered, grouped, at_step, frame, max(turns))


def _answer(app: QApplication, table: RunTable, turns: list[float], *ask: Callable[[], object]) -> float:
    """Processor seconds, of all threads, from the question until the rows are shown with their cells."""
    shown: list[bool] = []

    def show(_listing: object) -> None:
        table.view.viewport().update()
        QTimer.singleShot(0, lambda: shown.append(True))  # once it was painted, and so has asked for its cells

    note = table.listed.connect(show)
    began = time.process_time()
    for one in ask:
        one()
    while not shown or table.reader.reading or table.model.is_loading:
        own = time.thread_time()
        app.processEvents()
        turns.append(time.thread_time() - own)
        time.sleep(0.005)  # an idle loop costs little of what is counted
    app.processEvents()  # paints the cells, which the next answer would otherwise pay for
    seconds = time.process_time() - began
    table.listed.disconnect(note)
    return seconds


def _scroll(app: QApplication, table: RunTable, turns: list[float]) -> float:
    bar, slowest = table.view.verticalScrollBar(), 0.0
    for step in range(120):
        own = time.thread_time()
        bar.setValue(bar.maximum() * step // 120)
        app.processEvents()
        spent = time.thread_time() - own
        slowest = max(slowest, spent)
        turns.append(spent)
        time.sleep(0.002)
    return slowest


def measure_plot(app: QApplication) -> float:
    """Median processor seconds of a frame while 100 curves of 100,000 points are panned and zoomed, antialiased."""
    drawn = np.random.default_rng(0)
    canvas = PlotCanvas()
    canvas.resize(1200, 600)
    canvas.show()
    x = np.arange(float(POINTS))
    for number in range(CURVES):
        one = Series(str(number), color=number)
        one.replace(x, 3 * np.exp(-x / 3e4) + drawn.normal(0, 0.1, POINTS))
        canvas.put(one)
    app.processEvents()
    canvas.redraw()
    pans = [(500.0 * at, 40_000 + 500.0 * at) for at in range(30)]
    zooms = [(50_000 - 50_000 * 0.9**at, 50_000 + 50_000 * 0.9**at) for at in range(30)]
    frames = []
    for low, high in (*pans, *zooms):
        own = time.process_time()
        canvas.show_x(low, high)
        canvas.redraw()
        canvas.repaint()
        frames.append(time.process_time() - own)
    canvas.close()
    return float(np.median(frames))


def measure_brush(app: QApplication) -> float:
    """The slowest processor seconds of a frame while one brushes 2,000 lines over ten axes."""
    drawn = np.random.default_rng(0)
    names = ["optim.learning_rate", "optim.weight_decay", "seed", "optim.epochs", "optim.beta1", "optim.beta2"]
    names += ["teacher.momentum", "noise.self_confidence", "optim.warmup", "optim.batch_size"]
    axes = [axis_of(setting(name), drawn.uniform(0.5, 1.0, LINES).tolist()) for name in names]
    lines = ParallelCoordinates()
    lines.resize(1200, 500)
    lines.show()
    lines.show_axes([axis for axis in axes if isinstance(axis, Axis)], [str(one) for one in range(LINES)])
    app.processEvents()
    lines.set_brush(0, (0.0, 0.01))
    lines.grab()
    slowest = 0.0
    for step in range(40):
        own = time.process_time()
        lines.set_brush(step % 3, (0.0, 0.2 + step / 50))
        lines.repaint()
        slowest = max(slowest, time.process_time() - own)
    lines.close()
    return slowest
