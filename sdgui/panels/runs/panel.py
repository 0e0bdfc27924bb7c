"""The Runs panel: a table of the selected experiments' runs; below it, the curves of the ticked runs, and the events
and samples of the current run.

Flow: selecting or ticking a row -> the window -> a new ``Selection`` -> header, table and tabs.
"""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QStackedWidget, QWidget

from sdgui.panels.runs.table.commands import TableCommands
from sdgui.panels.runs.table.reader import Listing
from sdgui.panels.runs.tabs import RunTabs
from sdgui.panels.runs.view import RunsView
from sdgui.shared.panel import Panel
from sdgui.shared.services import Selection, Services
from sdgui.widgets.actions import Actions
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.layouts.splits import remember_sizes
from sdgui.widgets.message import error

_EMPTY = ("No runs yet", "Launch the experiment to see its curves here.")
_NEXT_STEPS = {  # action -> title, text and button of the empty state
    "launch": (*_EMPTY, "Launch"),
    "study": ("No runs yet", "Start the study to see the curves of its runs here.", "Show the study"),
    "new": (
        "No runs yet",
        "An experiment is a config. Each launch creates a run, and its curves are shown here.",
        "New experiment",
    ),
}


class RunsPanel(Panel):
    """Connects the header and table (``view``), the tabs below (``tabs``) and the window."""

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self._selection = Selection()
        self._actions: Actions | None = None
        self._has_started = False
        self._fitted_experiments: frozenset[int] | None = None  # the table was fitted to their runs
        self._must_fit = True  # fit the table to its rows when they are listed
        self._stack = QStackedWidget(self)
        self.empty = EmptyState("ph.chart-line", *_EMPTY, parent=self._stack)
        self.view = RunsView(services, self._stack)
        self._stack.addWidget(self.empty)
        self._stack.addWidget(self.view)
        vbox(self._stack, into=self)
        self.commands = TableCommands(self.view.table, services, self)
        self.tabs = RunTabs(services, self.view, self)
        self.progress = (self.tabs.view.retention.strip,)
        services.follower.progress_changed.connect(self._on_progressed)
        services.follower.state_changed.connect(self._on_progressed)
        self._connect_table()
        self._connect_tabs()
        self.view.fits_table = services.settings.value("runs/halves") is None  # otherwise the user chose the height
        remember_sizes(self.view.split, services.settings, "runs/halves")

    def _connect_tabs(self) -> None:
        tabs = self.tabs
        tabs.message_requested.connect(self.message_requested)
        for relation in (tabs.view.scatter, tabs.view.parallel):
            relation.run_chosen.connect(self.select_requested)
        tabs.view.parallel.filter_requested.connect(self.view.table.add_to_filter)
        tabs.view.retention.message_requested.connect(self.message_requested)
        tabs.view.retention.search_requested.connect(lambda choice: self.model_requested.emit("search", choice))
        tabs.view.parallel.ticks_requested.connect(lambda runs: self.commands.tick(runs, True))

    def _connect_table(self) -> None:
        table, commands = self.view.table, self.commands
        commands.changed.connect(self.changed)
        commands.message_requested.connect(self.message_requested)
        commands.ticks_requested.connect(self.ticks_requested)
        table.run_chosen.connect(self.select_requested)
        table.listed.connect(self._on_listed)
        table.run_opened.connect(lambda _run: self.tabs.view.tabs.setCurrentWidget(self.tabs.view.grid))
        table.failed.connect(lambda sentence: self.message_requested.emit(error(sentence)))

    def set_actions(self, actions: Actions) -> None:
        """Connect the buttons of the headers and of the empty page, and the context menu of rows."""
        self.view.head.set_actions(actions)
        self.tabs.view.header.set_actions(actions)
        self.commands.set_actions(actions)
        self._actions = actions
        self._show_empty()
        self.empty.activated.connect(lambda: actions[self._next_step()].trigger())

    def _next_step(self) -> str:
        if self._selection.experiment_id is not None:
            return "launch"
        return "study" if self._selection.study_id is not None else "new"

    def _show_empty(self) -> None:
        """Show why there are no curves yet, and offer the next action."""
        if self._actions is not None:
            step = self._next_step()
            self.empty.set_content(*_NEXT_STEPS[step], self._actions[step].shortcut().toString())

    def focus_search(self) -> None:
        self.view.table.bar.filter.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.view.table.bar.filter.selectAll()

    def use_run(self, run_id: int) -> None:
        """Show the curves of a run that has just been started."""
        self.tabs.view.tabs.setCurrentWidget(self.tabs.view.grid)

    def select(self, selection: Selection) -> None:
        """Show the selection in the header, the table and the tabs."""
        self._selection = selection
        self.view.head.show_selection(selection)
        self._show_empty()
        self._show_page()
        self._must_fit |= selection.listed != self._fitted_experiments
        self._fitted_experiments = selection.listed
        self.view.table.list_experiments(selection.listed)
        self.view.table.set_ticks(selection.ticked)
        self.view.table.select_run(selection.run_id)
        self.tabs.select(selection)

    def _on_listed(self, _listing: Listing) -> None:
        self._show_page()
        if self._must_fit:  # other experiments were selected; a new filter keeps the height
            self._must_fit = False
            self.view.fit_table()
        self.tabs.group_curves()

    def _show_page(self) -> None:
        """Show the table, or the empty page if there are no runs."""
        table, selection = self.view.table, self._selection
        watched = selection.current_run_id is not None or selection.study_runs
        has_runs = bool(watched or table.model.rows.total() or table.current_layout.filter)
        self._stack.setCurrentWidget(self.view if has_runs else self.empty)

    def refresh(self) -> None:
        self.view.head.show_selection(self._selection)
        if self._has_started:
            self.view.table.refresh()
        self.tabs.refresh()

    def on_enter(self) -> None:
        if not self._has_started:
            self._has_started = True
            self.view.table.start()
        self.tabs.on_enter()

    def on_leave(self) -> None:
        self.tabs.on_leave()

    def _on_progressed(self, run_id: int, _progress: object) -> None:
        self.view.table.progressed(run_id)
