"""The tabs below the run table: curves of the overlaid runs, events and samples of the current run.

Flow: the follower's signals -> ``CurveFeed`` -> plots, and -> event log and samples. The panel passes the selection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Qt, QTimer, Signal

from core.spec.run.status import RunState
from sdgui.panels.runs.feed import CurveFeed
from sdgui.panels.runs.figures.curves import plot_data
from sdgui.panels.runs.figures.dialog import PaperDialog
from sdgui.panels.runs.model import end_message
from sdgui.panels.runs.plots.arrangement import Arrangement
from sdgui.panels.runs.table.cells import group_title
from sdgui.panels.runs.table.reader import Listing, cells_of
from sdgui.panels.runs.view import RunsView
from sdgui.runs.history import RunHistory
from sdgui.runs.machines.colleagues import local_dir
from sdgui.runs.machines.remote_access import shown_samples
from sdgui.shared.services import Selection, Services
from sdgui.store.records import Run, StoreError
from sdgui.store.store import Store
from sdgui.widgets.message import Message, error

_ARRANGEMENT = "runs/plots"
_SHOWN = {"log", "samples", "checkpoints", "evaluated", "lifecycle"}  # changed parts that event log or samples show


class RunTabs(QObject):
    """The controller of the tabs below the table of ``runs_view``."""

    message_requested = Signal(Message)

    def __init__(self, services: Services, runs_view: RunsView, parent: QObject) -> None:
        super().__init__(parent)
        self._services, self._runs_view = services, runs_view
        self._selection = Selection()
        self._run: Run | None = None
        self._name = ""  # name of the current run
        self._shown_end: tuple[int, RunState] | None = None  # run id and state at the last call of ``_show_end``
        self._has_steps = False
        self._group_request = 0  # number of the last request for the runs' groups
        self.view = runs_view.tabs
        self.feed = CurveFeed(services.follower, self.view.grid, services.store.run_labels, self, self._find_run)
        self.view.grid.arrange(Arrangement.from_json(str(services.settings.value(_ARRANGEMENT, "{}"))))
        self.view.grid.arranged.connect(
            lambda arrangement: services.settings.setValue(_ARRANGEMENT, arrangement.to_json())
        )
        self.view.grid.toolbar.figure_requested.connect(self._open_figure_dialog)
        self._header_timer = QTimer(self, interval=1000)
        self._header_timer.timeout.connect(self._show_header)
        follower = services.follower
        follower.progress_changed.connect(self._on_progressed)
        follower.state_changed.connect(self._on_state_changed)
        follower.curves_changed.connect(self._on_history_changed)
        follower.curves_loaded.connect(lambda run_id: self._on_history_changed(run_id, frozenset({"log", "samples"})))
        services.time_travel.moved.connect(self._on_travelled)
        services.launcher.stopping.connect(lambda _run, _stopping: self._show_header())
        self.view.time.moved.connect(self._go_to_step)
        self.view.tabs.currentChanged.connect(lambda _tab: self._show_slider())

    # Display
    def select(self, selection: Selection) -> None:
        """Overlay the watched runs, and show header, events and samples of the current run."""
        self._selection = selection
        self.feed.watch(selection.watched)
        self._watch_colleagues(selection.watched)

        self.group_curves()
        self.view.board.show_runs(selection.watched)
        self.view.scatter.show_ticks()
        self.view.compare.show_runs(selection.watched)
        run_id = selection.current_run_id
        if run_id is None:
            run_id = next(iter(selection.watched), None)
        self.view.retention.show_runs(selection.watched, run_id)
        if run_id is None:
            self._show_none()
            return
        if self._run is None or self._run.id != run_id:
            self._read_run(run_id)
            self._show_history()

    def _show_none(self) -> None:
        """Show that no run is selected, and clear what was shown about the previous run."""
        self._run = self._shown_end = None
        self.view.bar.clear()
        self.view.header.show_none()
        self.view.remote_strip.show_run(None)
        self.view.grid.empty.set_content("No curves", "Select a run, or tick several to compare their curves.")
        self._show_history()

    def group_curves(self) -> None:
        """Draw each group of the table as one curve: the mean with its interval."""
        listing, watched = self._runs_view.table.model.listing, self._selection.watched
        self._group_request += 1
        if listing is None or not listing.query.group_by or len(watched) < 2:
            self.view.grid.grouping.set_groups({})
            return
        self._runs_view.table.reader.run(
            lambda: groups_of(self._services.store, listing, watched), partial(self._show_groups, self._group_request)
        )

    def _show_groups(self, number: int, groups: tuple[Mapping[str, str], Mapping[str, int]]) -> None:
        if number == self._group_request:  # otherwise the selection has changed in the meantime
            self.view.grid.grouping.set_groups(*groups)

    def refresh(self) -> None:
        """Update names and the current run after a change in the store."""
        self.feed.update_names()
        if self._run is not None:
            self._read_run(self._run.id)

    def _open_figure_dialog(self) -> None:
        dialog = PaperDialog(plot_data(self.view.grid), self._services.settings, self.view.grid)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.show()

    def on_enter(self) -> None:
        """Update when the panel is shown."""
        self._header_timer.start()
        self._show_header()

    def on_leave(self) -> None:
        """Stop updating while another panel is shown."""
        self._header_timer.stop()

    def _find_run(self, folder: Path) -> int | None:
        try:
            run = self._services.store.run_in(folder)
        except (StoreError, ValueError):  # unreachable, or an invalid folder name
            return None
        return None if run is None else run.id

    def _read_run(self, run_id: int) -> None:
        try:
            self._run, labels = self._services.store.run(run_id), self._services.store.run_labels([run_id])
            self._name = labels[run_id].name if run_id in labels else ""
        except StoreError as problem:
            self._run = None
            self.message_requested.emit(error(str(problem)))
            return
        self._show_header()
        self._show_end()

    def _show_header(self) -> None:
        if self._run is None:
            return
        history = self._services.follower.history(self._run.id)
        start = history.starts[-1] if history is not None and history.starts else None
        progress = self._services.follower.progress(self._run.id)
        stopping = self._services.launcher.stops().get(self._run.id)
        if progress is not None and progress.state.alive:
            self.view.grid.empty.set_content("No steps yet", f"{progress.doing or 'starting'}…".capitalize())
        else:
            self.view.grid.empty.set_content("No curves", "This run has not reported any steps.")
        self.view.remote_strip.show_run(self._run)
        self.view.header.show_run(self._name, self._run, progress, start, stopping)

    def _watch_colleagues(self, run_ids: Sequence[int]) -> None:
        """Fetch the curves of colleagues' runs from the machines that train them."""
        store = self._services.store
        if store.shared:
            with suppress(StoreError):
                runs = store.runs_by_id(run_ids)
                self._services.hosts.colleagues.watch([run for run in runs.values() if not run.is_local])

    def _show_history(self) -> None:
        history = self._history()
        self.view.log.show_history(history)
        samples = history.samples if history is not None else ()
        if self._run is not None and samples:
            home = self._services.store.home
            samples = shown_samples(home, local_dir(home, self._run), samples)
        folder = self._run.folder if self._run is not None else Path()
        self.view.samples.show_samples(samples, folder, self._services.time_travel.step(folder))
        self._show_steps(history)

    # Time travel
    def _show_steps(self, history: RunHistory | None) -> None:
        """Offer the steps with samples or a checkpoint; select the newest unless the user chose another step."""
        slider = self.view.time
        steps: set[int] = set()
        if history is not None:
            steps = {event.step for event in history.samples} | {event.step for event in history.checkpoints}
        self._has_steps = len(steps) > 1
        self._show_slider()
        if self._run is None or not steps:
            self.view.grid.pin_step(None)
            return
        chosen_step = self._services.time_travel.step(self._run.folder)
        slider.set_steps(sorted(steps), max(steps) if chosen_step is None else chosen_step)
        self.view.grid.pin_step(chosen_step)

    def _show_slider(self) -> None:
        """Show the slider if there are steps to choose from; the tab Side by side has one of its own."""
        tabs = self.view.tabs
        self.view.time.setVisible(self._has_steps and tabs.currentWidget() is not self.view.board)

    def _go_to_step(self, step: int) -> None:
        if self._run is not None:
            self._services.time_travel.go(self._run.folder, step)

    def _on_travelled(self, folder: Path, step: int) -> None:
        """Move crosshair and samples to a step of the run in ``folder``, chosen in this or another panel."""
        if self._run is None or folder != self._run.folder:
            return
        slider = self.view.time
        if slider.steps and slider.step() != step:
            slider.set_steps(slider.steps, step)
        self.view.samples.go_to_step(step)
        self.view.grid.pin_step(step)

    def _history(self) -> RunHistory | None:
        return self._services.follower.history(self._run.id) if self._run is not None else None

    # Events
    def _on_progressed(self, run_id: int, _progress: object) -> None:
        if self._run is not None and run_id == self._run.id and self.view.isVisible():
            self._show_header()

    def _on_state_changed(self, run_id: int, _state: object) -> None:
        if self._run is not None and run_id == self._run.id:
            self._read_run(run_id)

    def _on_history_changed(self, run_id: int, changed: frozenset[str]) -> None:
        if self._run is not None and run_id == self._run.id and changed & _SHOWN:
            self._show_history()
            if "lifecycle" in changed:
                self._show_end()

    def _show_end(self) -> None:
        """Show once why a run failed, was interrupted or stopped reporting."""
        run = self._run
        if run is None:
            return
        state = self._services.follower.state(run.id) or run.state
        if self._shown_end == (run.id, state):
            return
        self._shown_end = (run.id, state)
        terminal = history.terminal if (history := self._history()) is not None else None
        message = end_message(run, state, self._services.follower.progress(run.id), terminal)
        if message is not None:
            self.view.bar.show_message(message)
        else:
            self.view.bar.clear()


def groups_of(store: Store, listing: Listing, run_ids: Sequence[int]) -> tuple[dict[str, str], dict[str, int]]:
    """Run key -> group title, and title -> palette index of the group's newest run."""
    query = listing.query
    keys, newest = store.group_keys(query, run_ids), {group.keys: group.newest for group in listing.rows.groups or ()}
    labels = store.run_labels([newest[run_key] for run_key in keys.values() if run_key in newest])
    groups, colors = dict[str, str](), dict[str, int]()
    for run_id, cells in cells_of(store, run_ids, query.group_by).items():
        title = groups[str(run_id)] = group_title(query.group_by, cells.values, cells.name)
        label = labels.get(newest.get(keys.get(run_id, ()), -1))
        colors[title] = label.color if label is not None else cells.color
    return groups, colors
