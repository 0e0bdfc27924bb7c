"""Passes run histories to the plots: requests the curves of watched runs and delivers new points.

Flow: follower -> ``curves_changed`` -> (batched for some ms) -> ``PlotGrid``. New points are appended; after a resume,
which voids earlier points, the whole curve is replaced. A run that continues or forks another run also gets the curves
of its ancestors, up to the step at which the run started, as one paler curve that ends in the run's first point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PySide6.QtCore import QElapsedTimer, QObject, QTimer

from core.spec.run.events import MAX_STEP
from sdgui.panels.runs.plots.charts import ancestors_key
from sdgui.panels.runs.plots.grid import PlotGrid
from sdgui.runs.follower import Follower
from sdgui.store.records import RunLabel, StoreError

_BATCH_MS = 30  # changes within this time cause one redraw
_TIME_SLICE_MS = 25  # maximum time per turn; other events are handled in between
Labels = Callable[[Sequence[int]], Mapping[int, RunLabel]]  # run ids -> labels by run id
FindRun = Callable[[Path], int | None]  # folder -> id of its run, None if unknown
_MAX_ANCESTORS = 20
# changed parts of a history that are not metrics
_NO_METRICS = frozenset({"log", "samples", "checkpoints", "evaluated", "lifecycle"})


@dataclass
class _PlottedRun:
    """The plotted state of a run. ``points``: metric -> number of plotted points, step of the last one.

    ``starts``: how often the run was started or resumed when its points were plotted; ``ancestors``: (run id, step) of
    the runs that it continues, nearest first; later points of an ancestor are not plotted.
    """

    starts: int = 0
    points: dict[str, tuple[int, float]] = field(default_factory=dict)
    ancestors: list[tuple[int, int]] = field(default_factory=list)


class CurveFeed(QObject):
    """Keeps the plots up to date with the histories of the watched runs."""

    def __init__(
        self,
        follower: Follower,
        grid: PlotGrid,
        labels: Labels,
        parent: QObject | None = None,
        find_run: FindRun = lambda folder: None,
    ) -> None:
        super().__init__(parent)
        self._follower, self._grid, self._labels, self._find_run = follower, grid, labels, find_run
        self._plotted_runs: dict[int, _PlottedRun] = {}  # run id -> what is plotted of the run
        self._held_ancestors: set[int] = set()  # unwatched runs whose histories are kept for their descendants
        self._waiting: dict[tuple[int, str, bool], None] = {}  # run id, metric, whether to plot the ancestors' curve
        self._has_obsolete_plots = False  # plots of a run that is no longer shown may remain
        self._timer = QTimer(self, singleShot=True, interval=_BATCH_MS)
        self._timer.timeout.connect(self._flush)
        follower.curves_changed.connect(self._on_changed)
        follower.curves_loaded.connect(self._on_loaded)

    def watch(self, run_ids: tuple[int, ...]) -> None:
        """Overlay exactly these runs."""
        for gone in [run_id for run_id in self._plotted_runs if run_id not in run_ids]:
            del self._plotted_runs[gone]
            self._has_obsolete_plots = True
            self._waiting = {key: None for key in self._waiting if key[0] != gone}
            self._grid.remove_run(str(gone))
            self._grid.remove_run(ancestors_key(str(gone)))
            self._held_ancestors.add(gone)  # ``_find_ancestors`` below releases it, unless it is still needed
        added = [run_id for run_id in run_ids if run_id not in self._plotted_runs]
        for run_id in added:
            self._plotted_runs[run_id] = _PlottedRun()
        self._update_labels(added)
        for run_id in added:
            self._follower.show(run_id)
            self._on_loaded(run_id)
        self._find_ancestors()
        self._remove_obsolete_plots()

    def update_names(self) -> None:
        """Update the names of runs after an experiment was renamed."""
        self._update_labels(list(self._plotted_runs))

    def _update_labels(self, run_ids: list[int]) -> None:
        """Name these runs and their ancestors in the legend, which is hidden while it has only one entry."""
        ancestors = {ancestor for run_id in run_ids for ancestor, _ in self._plotted_runs[run_id].ancestors}
        try:
            labels = self._labels(sorted({*run_ids, *ancestors})) if run_ids else {}
        except StoreError:  # a registry that is out of reach; it is reported elsewhere
            labels = {}
        for run_id in run_ids:
            label = labels.get(run_id) or RunLabel(f"run {run_id}", 0)
            self._grid.set_run(str(run_id), label.name, label.color)
            if parents := [parent for parent, _ in self._plotted_runs[run_id].ancestors]:
                names = [labels[parent].name if parent in labels else f"run {parent}" for parent in parents]
                text = f"{' ← '.join(names)} (parent{'s' if len(names) > 1 else ''})"
                self._grid.set_run(ancestors_key(str(run_id)), text, label.color)
            else:
                self._grid.remove_run(ancestors_key(str(run_id)))
        self._grid.legend.setVisible(len(self._grid.runs()) > 1)

    def _on_loaded(self, run_id: int) -> None:
        history = self._follower.history(run_id)
        if history is not None:
            self._on_changed(run_id, frozenset({*history.names, "lifecycle"}))

    def _on_changed(self, run_id: int, changed: frozenset[str]) -> None:
        if "lifecycle" in changed:
            self._find_ancestors()
        for child, plotted in self._plotted_runs.items():
            is_own = child == run_id
            if is_own or any(ancestor == run_id for ancestor, _ in plotted.ancestors):
                for metric in changed - _NO_METRICS:
                    self._waiting[child, metric, not is_own] = None
        if self._waiting and not self._timer.isActive():
            self._timer.start()

    def _flush(self) -> None:
        """Plot waiting points for one time slice; the others follow in the next turn of the event loop."""
        clock = QElapsedTimer()
        clock.start()
        while self._waiting:
            run_id, metric, is_ancestral = next(iter(self._waiting))
            del self._waiting[run_id, metric, is_ancestral]
            (self._plot_ancestors if is_ancestral else self._plot_curve)(run_id, metric)
            if clock.elapsed() > _TIME_SLICE_MS and self._waiting:
                self._timer.start()
                return
        self._remove_obsolete_plots()

    def _remove_obsolete_plots(self) -> None:
        """Remove plots of metrics that none of the watched runs has, once all watched curves are loaded."""
        metrics = {metric for run in self._plotted_runs.values() for metric in run.points}
        if self._has_obsolete_plots and metrics and not self._waiting:
            self._has_obsolete_plots = False
            self._grid.set_metrics(sorted(metrics))

    def _plot_curve(self, run_id: int, metric: str) -> None:
        history = self._follower.history(run_id)
        if history is None:
            return
        plotted, curve, starts = self._plotted_runs[run_id], history.curve(metric), len(history.starts)
        if starts != plotted.starts:
            plotted.starts = starts
            plotted.points.clear()
        count, last = plotted.points.get(metric, (0, 0.0))
        key, total = str(run_id), len(curve.steps)
        if 0 < count <= total and curve.steps[count - 1] == last:  # the plotted points have not changed
            if total > count:
                new = slice(count, total)
                self._grid.append(key, metric, curve.steps[new], curve.values[new], curve.seconds[new])
        else:
            self._grid.set_points(key, metric, curve.steps, curve.values, curve.seconds)
        if total:
            if metric not in plotted.points and plotted.ancestors:
                self._waiting[run_id, metric, True] = None
            plotted.points[metric] = (total, float(curve.steps[-1]))

    # Ancestors
    def _find_ancestors(self) -> None:
        """Update the ancestors of the watched runs; their histories are kept, those of former ancestors released."""
        needed: set[int] = set()
        for run_id, plotted in self._plotted_runs.items():
            ancestors = self._ancestors_of(run_id)
            needed |= {ancestor for ancestor, _ in ancestors}
            if ancestors != plotted.ancestors:
                plotted.ancestors = ancestors
                self._update_labels([run_id])
                self._waiting |= dict.fromkeys((run_id, metric, True) for metric in plotted.points)
        released = self._held_ancestors - needed - self._plotted_runs.keys()
        added, self._held_ancestors = needed - self._held_ancestors, needed
        for ancestor in released:
            self._follower.hide(ancestor)
        for ancestor in added:
            self._follower.show(ancestor)
            self._on_loaded(ancestor)  # finds the parent of the ancestor
        if self._waiting and not self._timer.isActive():
            self._timer.start()

    def _ancestors_of(self, run_id: int) -> list[tuple[int, int]]:
        """The ``ancestors`` of a `_PlottedRun`. A watched ancestor ends the list, since it has a curve of its own."""
        ancestors: list[tuple[int, int]] = []
        limit, known = MAX_STEP, set(self._plotted_runs)
        while len(ancestors) < _MAX_ANCESTORS:
            history = self._follower.history(run_id)
            parent = history.starts[0].parent if history is not None and history.starts else {}
            folder, step = parent.get("folder"), parent.get("step")
            if parent.get("kind") not in ("continue", "fork") or not isinstance(folder, str) or type(step) is not int:
                break
            parent_id = self._find_run(Path(folder))
            if parent_id is None or parent_id in known:
                break
            run_id, limit = parent_id, min(limit, step)
            known.add(run_id)
            ancestors.append((run_id, limit))
        return ancestors

    def _plot_ancestors(self, run_id: int, metric: str) -> None:
        """Plot the points of the ancestors, then the run's first point, so that both curves meet.

        Times of ancestors are negative: seconds before the start of the run, as if the runs followed without a pause.
        """
        plotted, own = self._plotted_runs[run_id], self._follower.history(run_id)
        if own is None or metric not in plotted.points or not plotted.ancestors:
            return
        own_curve = own.curve(metric)
        joint = np.stack([own_curve.steps[:1], own_curve.values[:1], own_curve.seconds[:1]])
        parts, start = [joint], 0.0
        for ancestor, last_step in plotted.ancestors:
            history = self._follower.history(ancestor)
            curve = history.curve(metric) if history is not None else None
            count = int(np.searchsorted(curve.steps, last_step, "right")) if curve is not None else 0
            if curve is not None and count:
                seconds = curve.seconds[:count] - curve.seconds[count - 1] + start
                start = float(seconds[0])
                parts.insert(0, np.stack([curve.steps[:count], curve.values[:count], seconds]))
        steps, values, seconds = np.concatenate(parts, axis=1)
        self._grid.set_points(ancestors_key(str(run_id)), metric, steps, values, seconds)
