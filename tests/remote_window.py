"""The window with runs on another machine, for ``tests.remote_figures``: a real one, offscreen, and real ssh."""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtWidgets import QApplication, QWidget

from core.spec.children import environment
from core.spec.machines.machine import Machine
from core.spec.presets import preset_config
from core.spec.run.events import EventReader, Metrics
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState
from sdgui.app.main_window import MainWindow
from sdgui.app.start import make_application, make_services, open_window
from sdgui.panels.runs.panel import RunsPanel
from sdgui.panels.runs.plots.canvas import PlotCanvas
from sdgui.panels.runs.plots.grid import PlotGrid
from sdgui.shared.services import Services
from sdgui.store.records import Place, Run
from tests.benchmarks.window.runs import Cost, measure

METRIC = "train/loss"


def event_to_screen(home: Path, machine: Machine, events: int) -> list[float]:
    """Seconds from each event's writing there to the end of the first paint here that shows its point."""
    app = make_application()
    window = open_window(home, demo=False)
    services = window.services
    try:
        run = _launch(services, machine, 1)[0]
        window.resize(1440, 2400)  # the curve of the loss is on the screen too
        window.reload()
        window.experiments.select_run(run.id)
        panel = window.show_panel("runs")
        assert isinstance(panel, RunsPanel)
        grid = panel.tabs.view.grid
        turn_until(app, lambda: len(grid.points(str(run.id), METRIC)[0]) > 0)
        turn_until(app, lambda: _points(_of_loss(grid)) > 12)  # the recall has a point in ten steps
        canvas = _of_loss(grid)
        assert canvas is not None
        seen = _Painted(canvas)
        reader = EventReader(run.dir.events)
        first = _points(canvas) + 3
        turn_until(app, lambda: len(seen.at) >= events)
        written = [event.time for event in reader.read_all() if isinstance(event, Metrics) and METRIC in event.values]
        late = [at - written[count - 1] for count, at in seen.shown(len(written)) if count > first]
        run.dir.ask("stop")
        turn_until(app, lambda: services.store.run(run.id).state in (RunState.STOPPED, RunState.DONE))
        return late
    finally:
        _close(services)
        window.hide()


def _of_loss(grid: PlotGrid) -> PlotCanvas | None:
    """The canvas of the loss, once it is on the screen: the one with a point a step."""
    canvases = [canvas for canvas in grid.findChildren(PlotCanvas) if canvas.isVisible()]
    return max(canvases, key=_points, default=None)


def _points(canvas: PlotCanvas | None) -> int:
    return max((len(series) for series in canvas.series()), default=0) if canvas is not None else 0


class _Painted(QObject):
    """When the points of a canvas were on the screen: ``at`` is (points, time) of each paint that showed more."""

    def __init__(self, canvas: PlotCanvas) -> None:
        super().__init__(canvas)
        self.at: list[tuple[int, float]] = []
        self._canvas, self._redrawn = canvas, 0
        canvas.redrawn.connect(self._note)
        self._viewport: QWidget = canvas.scene().views()[0].viewport()
        self._viewport.installEventFilter(self)

    def _note(self) -> None:
        self._redrawn = _points(self._canvas)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint and watched is self._viewport:
            count = self._redrawn
            QTimer.singleShot(0, self, lambda: self._shown(count))  # after this paint
        return False

    def _shown(self, count: int) -> None:
        if not self.at or count > self.at[-1][0]:
            self.at.append((count, time.time()))

    def shown(self, most: int) -> Iterator[tuple[int, float]]:
        """Each point, by its number from 1, with the time of the paint that showed it first."""
        before = 0
        for count, at in self.at:
            for number in range(before + 1, min(count, most) + 1):
                yield number, at
            before = max(before, count)


def killed_windows(home: Path, machine: Machine, times: int, runs: int) -> tuple[list[Run], list[float], float]:
    """The window, a program of its own, is killed at random moments while runs are alive elsewhere.

    The runs, how long each window lived, and the seconds in which a last one showed all of them as running.
    """
    app = make_application()
    services = make_services(home)
    found = _launch(services, machine, runs)
    _close(services)
    draw, lived = random.Random(2), []
    for _ in range(times):
        began = time.monotonic()
        command = [sys.executable, "-P", "-m", "sdgui", "--home", str(home)]
        window = subprocess.Popen(command, env=environment() | {"QT_QPA_PLATFORM": "offscreen"})
        time.sleep(draw.uniform(0.5, 9.0))
        assert window.poll() is None, "the window did not start"
        window.send_signal(signal.SIGKILL)
        window.wait()
        lived.append(time.monotonic() - began)
    with opened(home) as last:
        before = {run.id: _steps(run.dir) for run in found}
        began = time.perf_counter()
        store = last.services.store
        turn_until(app, lambda: all(store.run(run.id).state is RunState.RUNNING for run in found))
        turn_until(app, lambda: all(_steps(run.dir) > before[run.id] for run in found))
        seconds = time.perf_counter() - began
        assert len(store.runs()) == runs, "each is listed once"
        for run in found:
            last.services.launcher.stop(run.id)
        turn_until(app, lambda: all(store.run(run.id).state is RunState.STOPPED for run in found))
    return found, lived, seconds


def many_alive(home: Path, machine: Machine) -> tuple[Cost, Cost]:
    """What 200 live runs cost the window, half of them followed on ``machine``: still, and all reporting."""
    return measure(make_application(), home, machine)


@contextmanager
def opened(home: Path) -> Iterator[MainWindow]:
    """A window of this process."""
    window = open_window(home, demo=False)
    try:
        yield window
    finally:
        _close(window.services)
        window.hide()


def _launch(services: Services, machine: Machine, runs: int) -> list[Run]:
    services.hosts.put(machine)
    config = preset_config("clip", "tiny")
    experiment = services.store.add_experiment(config).id
    found = [services.launcher.launch(experiment, place=Place(machine.name)) for _ in range(runs)]
    app = QApplication.instance()
    assert isinstance(app, QApplication)
    turn_until(app, lambda: all(run.dir.events.exists() for run in found))
    return found


def _steps(run: RunDir) -> int:
    return sum(isinstance(event, Metrics) for event in EventReader(run.events).read_all())


def _close(services: Services) -> None:
    for service in (services.follower, services.studies, services.launcher, services.hosts, services.store):
        service.close()


def turn_until(app: QApplication, holds: Callable[[], bool], seconds: float = 300.0) -> None:
    """Turns of the event loop, as an idle loop has them, until ``holds``."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come to pass"
        app.processEvents()
        time.sleep(0.001)


def spread(late: list[float]) -> str:
    """``median 110 ms, 95 % within 160, at most 190``."""
    ordered = sorted(1000 * one for one in late)
    return (
        f"median {statistics.median(ordered):.0f} ms, 95 % within {ordered[int(0.95 * len(ordered))]:.0f}, at most "
        f"{ordered[-1]:.0f} ({len(ordered)} events)"
    )


os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
