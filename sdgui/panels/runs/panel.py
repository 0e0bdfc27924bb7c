"""Runs: the curves of the ticked runs and the current one; the current run's events, samples, end or failure.

Flow: the tailer's signals arrive here; curves go through ``CurveFeed`` to the plots, sentences to the log.
"""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QSplitter, QStackedWidget, QTabWidget, QVBoxLayout, QWidget

from core.spec.run.status import RunState
from sdgui.panels.runs.elsewhere import ElsewhereStrip
from sdgui.panels.runs.event_log import EventLog
from sdgui.panels.runs.feed import CurveFeed
from sdgui.panels.runs.header import RunHeader
from sdgui.panels.runs.model import end_message
from sdgui.panels.runs.plots.grid import PlotGrid
from sdgui.panels.runs.samples import SamplesView
from sdgui.runs.history import RunHistory
from sdgui.runs.machines.elsewhere import shown_samples
from sdgui.shared.experiment_head import ExperimentHead
from sdgui.shared.panel import Panel
from sdgui.shared.services import Selection, Services
from sdgui.store.records import Run, StoreError
from sdgui.widgets.actions import Actions
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.late_parts import home_of
from sdgui.widgets.message import Message
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.style.theme import SPACE

_EMPTY = ("No run yet", "Launch the experiment to see its curves here.")
_NO_EXPERIMENT = ("No experiment yet", "An experiment says what is trained and how; its runs are shown here.")

_SHOWN = {"log", "samples", "checkpoints", "evaluated", "lifecycle"}


class RunsPanel(Panel):
    """Header, message bar, plots, and below them the tabs of events and samples."""

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self._selection = Selection()
        self._actions: Actions | None = None
        self._run: Run | None = None
        self._shown_end: tuple[int, RunState] | None = None
        self._arrange()
        self.feed = CurveFeed(services.tailer, self.grid, services.store.run_labels, self)
        self._second = QTimer(self, interval=1000)
        self._second.timeout.connect(self._show_header)
        tailer = services.tailer
        tailer.progress_changed.connect(self._progressed)
        tailer.state_changed.connect(self._state_changed)
        tailer.curves_changed.connect(self._history_changed)
        tailer.curves_loaded.connect(lambda run_id: self._history_changed(run_id, frozenset({"log", "samples"})))
        services.launcher.stopping.connect(lambda _run, _stopping: self._show_header())
        state = services.settings.value("runs/split")
        if state is not None:
            self.split.restoreState(state)

    def _arrange(self) -> None:
        self._stack = QStackedWidget(self)
        self.empty = EmptyState("ph.chart-line", *_EMPTY, parent=self._stack)
        self._stack.addWidget(self.empty)
        self._stack.addWidget(self._body())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._stack)

    def _body(self) -> QWidget:
        """Built from the outside in: a widget that is given another parent is styled again, with all its children."""
        body = QWidget(self._stack)
        self.head = ExperimentHead(self._services, body)
        self.header = RunHeader(body)
        self.elsewhere = ElsewhereStrip(self._services.hosts, body)
        self.bar = MessageBar(body)
        self.split = QSplitter(Qt.Orientation.Vertical, body)
        self.grid = PlotGrid(self.split)
        self.tabs = QTabWidget(self.split)
        self.tabs.setDocumentMode(True)
        self.log = EventLog(home_of(self.tabs))
        self.samples = SamplesView(home_of(self.tabs))
        self.tabs.addTab(self.log, "E&vents")
        self.tabs.addTab(self.samples, "&Samples")
        self.split.setStretchFactor(0, 4)
        self.split.setStretchFactor(1, 1)
        self.split.setSizes([480, 136])
        layout = QVBoxLayout(body)
        layout.setContentsMargins(2 * SPACE, SPACE, 2 * SPACE, SPACE)
        layout.setSpacing(SPACE)
        layout.addWidget(self.head)
        layout.addWidget(self.header)
        layout.addWidget(self.elsewhere)
        layout.addWidget(self.bar)
        layout.addWidget(self.split, 1)
        return body

    def set_actions(self, actions: Actions) -> None:
        """The buttons of the header and of the empty state."""
        self.head.set_actions(actions)
        self.header.set_actions(actions)
        self._actions = actions
        self._show_empty()
        self.empty.activated.connect(lambda: actions[self._next_step()].trigger())

    def _next_step(self) -> str:
        return "launch" if self._selection.experiment_id is not None else "new"

    def _show_empty(self) -> None:
        """What is missing before there are curves, and the action that mends it."""
        if self._actions is not None:
            step = self._next_step()
            texts, title = (_EMPTY, "Launch") if step == "launch" else (_NO_EXPERIMENT, "New experiment")
            self.empty.set_content(*texts, title, self._actions[step].shortcut().toString())

    # What is shown
    def select(self, selection: Selection) -> None:
        """Overlay the watched runs; head, events and samples are the current run's."""
        self._selection = selection
        self.head.show_experiment(selection.experiment_id)
        self._show_empty()
        self._stack.setCurrentIndex(1 if selection.watched else 0)
        self.feed.watch(selection.watched)
        run_id = selection.current_run if selection.current_run is not None else next(iter(selection.watched), None)
        if run_id is None:
            self._run = None
            return
        if self._run is None or self._run.id != run_id:
            self._read_run(run_id)
            self._show_history()

    def refresh(self) -> None:
        self.feed.rename()
        self.head.show_experiment(self._selection.experiment_id)
        if self._run is not None:
            self._read_run(self._run.id)

    def entered(self) -> None:
        self._second.start()
        self._show_header()

    def left(self) -> None:
        self._second.stop()
        self._services.settings.setValue("runs/split", self.split.saveState())

    def _read_run(self, run_id: int) -> None:
        try:
            self._run = self._services.store.run(run_id)
        except StoreError as error:
            self._run = None
            self.message_requested.emit(Message("error", str(error)))
            return
        self._show_header()
        self._show_end()

    def _show_header(self) -> None:
        if self._run is None:
            return
        history = self._services.tailer.history(self._run.id)
        start = history.starts[-1] if history is not None and history.starts else None
        progress = self._services.tailer.progress(self._run.id)
        stopping = self._services.launcher.stops().get(self._run.id)
        if progress is not None and progress.state.alive:
            self.grid.empty.set_content("No steps yet", f"{progress.doing or 'starting'}…".capitalize())
        else:
            self.grid.empty.set_content("No curves", "This run has not reported any steps.")
        label = self._services.store.run_labels([self._run.id]).get(self._run.id)
        worked = history.worked if history is not None and history.terminal is not None else None
        self.elsewhere.show_run(self._run)
        self.header.show_run(label.name if label else "", self._run, progress, start, stopping, worked)

    def _show_history(self) -> None:
        history = self._history()
        self.log.show_history(history)
        samples = history.samples if history is not None else ()
        if self._run is not None and samples:
            samples = shown_samples(self._services.store.home, self._run.dir, samples)
        self.samples.show_samples(samples)

    def _history(self) -> RunHistory | None:
        return self._services.tailer.history(self._run.id) if self._run is not None else None

    # What happens
    def _progressed(self, run_id: int, _progress: object) -> None:
        if self._run is not None and run_id == self._run.id and self.isVisible():
            self._show_header()

    def _state_changed(self, run_id: int, _state: object) -> None:
        if self._run is not None and run_id == self._run.id:
            self._read_run(run_id)

    def _history_changed(self, run_id: int, changed: frozenset[str]) -> None:
        if self._run is not None and run_id == self._run.id and changed & _SHOWN:
            self._show_history()
            if "lifecycle" in changed:
                self._show_end()

    def _show_end(self) -> None:
        """Show once why a run failed, was interrupted or lost contact."""
        run = self._run
        if run is None:
            return
        state = self._services.tailer.state(run.id) or run.state
        if self._shown_end == (run.id, state):
            return
        self._shown_end = (run.id, state)
        terminal = history.terminal if (history := self._history()) is not None else None
        message = end_message(run, state, self._services.tailer.progress(run.id), terminal)
        if message is not None:
            self.bar.show_message(message)
        else:
            self.bar.clear()
