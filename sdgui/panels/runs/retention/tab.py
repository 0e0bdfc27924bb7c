"""The tab Retention: gain and retention of the overlaid runs, and the path of interpolated weights of the current run.

Flow: ``show_runs`` and the follower's signals -> ``RetentionPlot``; *Evaluate path* -> worker ``interpolate`` ->
``interpolation.json`` -> plot; *Use in Search* -> ``search_requested``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QStackedWidget, QWidget

from core.spec.run.model_names import InterpolatedName
from core.spec.run.weight_path import DEFAULT_STEPS
from sdgui.panels.runs.retention.plot import RetentionPlot, Trace
from sdgui.panels.runs.retention.points import (
    RETAINED_PREFIX,
    RunFiles,
    chosen_text,
    path_point,
    read_run,
    validation_points,
)
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.shared.failures import failure_message
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.shared.services import Services
from sdgui.store.records import RunLabel, StoreError
from sdgui.store.store import Store
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.formats import capitalize
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.message import Message, error, warning
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.widgets.style.theme import SPACE
from sdgui.worker.calls import WorkerCalls
from sdgui.worker.replies import Failure
from sdgui.worker.verbs import INTERPOLATE, EvaluatedPath

_EMPTY = (
    "No retained data",
    "Set Retained data (data.retain) in Define, for example to general: each validation then measures how much of the "
    "initial model is retained.",
)
_NO_GAIN = (
    "No validation data",
    "Set Validation data (data.val) in Define: it measures the gain at each validation.",
)
_TIP = (
    f"Measures gain and retention at {DEFAULT_STEPS + 1} points from the initial to the tuned weights of the best "
    "checkpoint"
)
_BUSY = "The path of a run is being evaluated."
_WAIT = "Reading the run folder…"


def read_files(store: Store, run_ids: Sequence[int]) -> dict[int, RunFiles]:
    """Read the files of runs; called in a thread."""
    return {run_id: read_run(run) for run_id, run in store.runs_by_id(run_ids).items()}


class RetentionTab(QWidget):
    """The plane, below a row about the current run's path. ``strip``: progress of the evaluation."""

    availability_changed = Signal(bool)  # whether a shown run has retained data
    search_requested = Signal(object)  # ModelChoice
    message_requested = Signal(Message)

    def __init__(self, services: Services, parent: QWidget) -> None:
        super().__init__(parent)
        self._services = services
        self._run_ids: tuple[int, ...] = ()
        self._run_id: int | None = None  # the current run
        self._labels: Mapping[int, RunLabel] = {}
        self._files: dict[int, RunFiles] = {}
        self._request = 0  # number of the last request for files
        self._calls: WorkerCalls | None = None  # of the path that is being evaluated
        self._tasks = BackgroundTasks(self)
        self.strip = ProgressStrip(self)
        self._stack = QStackedWidget(self)
        self.empty = EmptyState("ph.scales", *_EMPTY, parent=self._stack)
        page = QWidget(self._stack)
        self.evaluate = IconButton("ph.path", _TIP, text="Evaluate path", parent=page)
        self.line = ElidedLabel("", page, role="muted")
        self.search = IconButton(
            "ph.magnifying-glass", "Search with the chosen weights", text="Use in Search", parent=page
        )
        self.plot = RetentionPlot(page)
        row = hbox(self.evaluate, (self.line, 1), self.search)
        vbox(row, (self.plot, 1), into=page)
        self._stack.addWidget(self.empty)
        self._stack.addWidget(page)
        vbox((self._stack, 1), self.strip, into=self, margins=(0, SPACE, 0, 0))
        self.evaluate.clicked.connect(self._evaluate)
        self.search.clicked.connect(self._use_in_search)
        self.strip.cancelled.connect(self._cancel)
        services.follower.curves_changed.connect(self._on_history_changed)
        services.follower.curves_loaded.connect(
            lambda run_id: self._on_history_changed(run_id, frozenset({"evaluated"}))
        )
        self._show()

    # Display
    def show_runs(self, run_ids: Sequence[int], run_id: int | None) -> None:
        """Show the overlaid runs. ``run_id``: the current run, whose path can be evaluated."""
        self._run_ids, self._run_id = tuple(run_ids), run_id
        try:
            self._labels = self._services.store.run_labels(run_ids) if run_ids else {}
        except StoreError:  # a registry that is out of reach; it is reported elsewhere
            self._labels = {}
        self.availability_changed.emit(self.has_retained_data())
        self._show()
        self._read()

    def has_retained_data(self) -> bool:
        """Whether a shown run reports metrics on retained data."""
        histories = (self._services.follower.history(run_id) for run_id in self._run_ids)
        return any(
            name.startswith(RETAINED_PREFIX) for history in histories if history is not None for name in history.names
        )

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._show()
        self._read()

    def _on_history_changed(self, run_id: int, changed: frozenset[str]) -> None:
        if run_id in self._run_ids and "evaluated" in changed:
            self.availability_changed.emit(self.has_retained_data())
            self._show()

    def _read(self) -> None:
        """Read configs and paths in a thread, if the tab is visible."""
        if self.isVisible():
            self._request += 1
            store, run_ids = self._services.store, self._run_ids
            self._tasks.run(lambda: read_files(store, run_ids), partial(self._receive, self._request))

    def _receive(self, request: int, files: dict[int, RunFiles]) -> None:
        if request == self._request:  # otherwise newer ones are being read
            self._files = files
            self._show()

    def _show(self) -> None:
        """Draw the runs, if the tab is visible."""
        if not self.isVisible():
            return
        traces = [trace for run_id in self._ordered_runs() if (trace := self._trace(run_id)) is not None]
        self.empty.set_content(*(_NO_GAIN if self.has_retained_data() else _EMPTY))
        self._stack.setCurrentIndex(1 if traces else 0)
        self.plot.show_traces(traces, self._current().keep)
        self._show_row()

    def _ordered_runs(self) -> list[int]:
        """The shown runs, the current one first."""
        return sorted(self._run_ids, key=lambda run_id: run_id != self._run_id)

    def _current(self) -> RunFiles:
        """The files of the current run."""
        files = self._files.get(self._run_id) if self._run_id is not None else None
        return files or RunFiles(refusal=_WAIT)

    def _trace(self, run_id: int) -> Trace | None:
        """A run in the plane; None if it has no retained data."""
        path = self._files.get(run_id, RunFiles()).path
        validations = validation_points(self._services.follower.history(run_id))
        if not validations and path is None:
            return None
        label = self._labels.get(run_id) or RunLabel(f"run {run_id}", 0)
        if path is None:
            return Trace(label.name, label.color, validations)
        points = [path_point(path, point) for point in path.points]
        return Trace(label.name, label.color, validations, points, list(path.points).index(path.chosen))

    def _show_row(self) -> None:
        files = self._current()
        refusal = _BUSY if self._calls is not None else files.refusal
        text = files.problem or (chosen_text(files.path, files.best) if files.path is not None else refusal)
        self.line.setText(text)
        self.line.setToolTip(plain_tip(text))
        self.evaluate.setEnabled(not refusal)
        self.evaluate.set_tip(refusal or _TIP)
        self.search.setVisible(files.path is not None)

    # The path
    def _evaluate(self) -> None:
        run_id, files = self._run_id, self._current()
        if run_id is None or self._calls is not None:
            return
        if (model := self._model(run_id)) is None:
            return
        self.strip.start("Loading the model")
        self._calls = WorkerCalls(self._services.pool.client(model, self._name(run_id)), self)
        self._calls.progress.connect(
            lambda _purpose, activity, finished, total: self.strip.advance(finished, total, capitalize(activity))
        )
        self._calls.ask("path", INTERPOLATE, self._on_evaluated, self._on_failed, model=model, keep=files.keep)
        self._show_row()

    def _cancel(self) -> None:
        if self._calls is not None:
            self._calls.cancel("path")

    def _on_evaluated(self, answer: EvaluatedPath) -> None:
        self._end()
        if answer["notes"]:
            self.message_requested.emit(warning(answer["notes"][0], "\n".join(answer["notes"][1:])))
        self._read()

    def _on_failed(self, failure: Failure) -> None:
        self._end()
        self.message_requested.emit(failure_message(failure, "The evaluation of the path was cancelled."))

    def _end(self) -> None:
        if self._calls is not None:
            self._calls.close()
        self._calls = None
        self.strip.finish()
        self._show_row()

    def _use_in_search(self) -> None:
        path, run_id = self._current().path, self._run_id
        if path is None or run_id is None:
            return
        if (model := self._model(run_id)) is not None:
            name = str(InterpolatedName(model, "", path.alpha))
            self.search_requested.emit(ModelChoice(name, "", self._name(run_id), run_id))

    def _model(self, run_id: int) -> str | None:
        """The name of the run's best checkpoint; None, with a message, if the run cannot be read."""
        try:
            return f"{self._services.store.run(run_id).folder}@best"
        except StoreError as problem:
            self.message_requested.emit(error(str(problem)))
            return None

    def _name(self, run_id: int) -> str:
        return self._labels[run_id].name if run_id in self._labels else f"run {run_id}"
