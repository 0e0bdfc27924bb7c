"""Passes run histories to the plots: requests the curves of watched runs and delivers new points.

Flow: tailer -> ``curves_changed`` -> (gathered for a moment) -> ``PlotGrid``. Points that only follow the shown ones
are appended; after a resume, whose start voids points, the curve is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from PySide6.QtCore import QElapsedTimer, QObject, QTimer

from sdgui.panels.runs.plots.grid import PlotGrid
from sdgui.runs.tailer import Tailer
from sdgui.store.records import RunLabel

_GATHER = 30  # ms; several changes of one moment are one redraw
_AT_ONCE = 25  # ms of work before the window gets its turn
Labels = Callable[[Sequence[int]], Mapping[int, RunLabel]]  # of runs
_NO_METRICS = frozenset({"log", "samples", "checkpoints", "evaluated", "lifecycle"})


@dataclass
class _PlottedRun:
    """What the plots hold of a run: number of points and last step by metric, and the number of starts at that time."""

    starts: int = 0
    points: dict[str, tuple[int, float]] = field(default_factory=dict)


class CurveFeed(QObject):
    """Keeps the grid's runs and points equal to the watched runs' histories."""

    def __init__(self, tailer: Tailer, grid: PlotGrid, labels: Labels, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._tailer, self._grid, self._labels = tailer, grid, labels
        self._plotted_runs: dict[int, _PlottedRun] = {}
        self._waiting: dict[tuple[int, str], None] = {}  # in the order in which they changed
        self._left_over = False  # whether plots of a run that is no longer shown may be left
        self._timer = QTimer(self, singleShot=True, interval=_GATHER)
        self._timer.timeout.connect(self._flush)
        tailer.curves_changed.connect(self._changed)
        tailer.curves_loaded.connect(self._loaded)

    def watch(self, run_ids: tuple[int, ...]) -> None:
        """Overlay these runs and no others."""
        for gone in [run_id for run_id in self._plotted_runs if run_id not in run_ids]:
            del self._plotted_runs[gone]
            self._left_over = True
            self._waiting = {key: None for key in self._waiting if key[0] != gone}
            self._grid.remove_run(str(gone))
            self._tailer.hide(gone)
        self._grid.legend.setVisible(len(run_ids) > 1)  # one run needs none, and its plots get the room
        added = [run_id for run_id in run_ids if run_id not in self._plotted_runs]
        for run_id in added:
            self._plotted_runs[run_id] = _PlottedRun()
        self._call(added)
        for run_id in added:
            self._tailer.show(run_id)
            self._loaded(run_id)
        self._drop_left_over()

    def rename(self) -> None:
        """An experiment was renamed."""
        self._call(list(self._plotted_runs))

    def _call(self, run_ids: list[int]) -> None:
        labels = self._labels(run_ids) if run_ids else {}
        for run_id in run_ids:
            label = labels.get(run_id) or RunLabel(f"run {run_id}", 0)
            self._grid.set_run(str(run_id), label.name, label.color)

    def close(self) -> None:
        """Stop following all curves."""
        self.watch(())

    def _loaded(self, run_id: int) -> None:
        history = self._tailer.history(run_id)
        if history is not None:
            self._changed(run_id, frozenset(history.names))

    def _changed(self, run_id: int, changed: frozenset[str]) -> None:
        if run_id not in self._plotted_runs:
            return
        for metric in changed - _NO_METRICS:
            self._waiting[run_id, metric] = None
        if self._waiting and not self._timer.isActive():
            self._timer.start()

    def _flush(self) -> None:
        """Hand over waiting points for a few milliseconds; the rest in the next turn of the event loop."""
        clock = QElapsedTimer()
        clock.start()
        while self._waiting:
            run_id, metric = next(iter(self._waiting))
            del self._waiting[run_id, metric]
            self._hand_over(run_id, metric)
            if clock.elapsed() > _AT_ONCE and self._waiting:
                self._timer.start()
                return
        self._drop_left_over()

    def _drop_left_over(self) -> None:
        """Remove plots of metrics that only runs no longer shown had, once all of the others' curves are here."""
        metrics = {metric for run in self._plotted_runs.values() for metric in run.points}
        if self._left_over and metrics and not self._waiting:
            self._left_over = False
            self._grid.set_metrics(sorted(metrics))

    def _hand_over(self, run_id: int, metric: str) -> None:
        history = self._tailer.history(run_id)
        if history is None:
            return
        plotted, curve, starts = self._plotted_runs[run_id], history.curve(metric), len(history.starts)
        if starts != plotted.starts:
            plotted.starts = starts
            plotted.points.clear()
        count, last = plotted.points.get(metric, (0, 0.0))
        key, total = str(run_id), len(curve.steps)
        if 0 < count <= total and curve.steps[count - 1] == last:
            if total > count:
                new = slice(count, total)
                self._grid.append(key, metric, curve.steps[new], curve.values[new], curve.seconds[new])
        else:
            self._grid.set_points(key, metric, curve.steps, curve.values, curve.seconds)
        if total:
            plotted.points[metric] = (total, float(curve.steps[-1]))
