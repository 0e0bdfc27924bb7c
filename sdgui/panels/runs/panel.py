"""Runs: the runs of what is selected in the tree; below them curves of the ticked, events and samples of the current.

Flow: what the table chooses and ticks is asked of the window, comes back as the selection, and goes to the head, the
table and the tabs. Those are made a turn after the table, and not where there is no run.
"""

from __future__ import annotations

from functools import cached_property

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QStackedWidget, QVBoxLayout, QWidget

from sdgui.panels.runs.table.commands import TableCommands
from sdgui.panels.runs.table.reader import Listing
from sdgui.panels.runs.tabs import RunTabs
from sdgui.panels.runs.view import RunsView
from sdgui.shared.panel import Panel
from sdgui.shared.services import Selection, Services
from sdgui.widgets.actions import Actions
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.late_parts import is_made, make_in_turns
from sdgui.widgets.message import Message

_EMPTY = ("No run yet", "Launch the experiment to see its curves here.")
_STEPS = {  # the action of the empty state -> what it says, and the button's text
    "launch": (*_EMPTY, "Launch"),
    "study": ("No run yet", "Start the study to see the curves of its runs here.", "Show the study"),
    "new": ("No run yet", "An experiment says what is trained and how; its runs are shown here.", "New experiment"),
}


class RunsPanel(Panel):
    """The controller: ``view`` has the head and the table, ``tabs`` what is below."""

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self._selection = Selection()
        self._actions: Actions | None = None
        self._begun = self._entered = False
        self._stack = QStackedWidget(self)
        self.empty = EmptyState("ph.chart-line", *_EMPTY, parent=self._stack)
        self.view = RunsView(services, self._stack)
        self._stack.addWidget(self.empty)
        self._stack.addWidget(self.view)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._stack)
        self.commands = TableCommands(self.view.table, services, self)
        services.tailer.progress_changed.connect(self._on_progressed)
        services.tailer.state_changed.connect(self._on_progressed)
        self._connect_table()
        state = services.settings.value("runs/halves")
        if state is not None:
            self.view.split.restoreState(state)

    @cached_property
    def tabs(self) -> RunTabs:
        """Below the table: curves, comparisons, samples and events."""
        tabs = RunTabs(self._services, self.view, self)
        tabs.message_requested.connect(self.message_requested)
        for relation in (tabs.view.scatter, tabs.view.parallel):
            relation.run_chosen.connect(self.choose_requested)
        tabs.view.parallel.filter_requested.connect(self.view.table.add_to_filter)
        tabs.view.parallel.ticks_requested.connect(lambda runs: self.commands.tick(runs, True))
        if self._actions is not None:
            tabs.set_actions(self._actions)
        tabs.select(self._selection)
        if self._entered:
            tabs.entered()
        return tabs

    def _has_tabs(self) -> bool:
        return is_made(self, "tabs")

    def _connect_table(self) -> None:
        table, commands = self.view.table, self.commands
        commands.changed.connect(self.changed)
        commands.message_requested.connect(self.message_requested)
        commands.ticks_requested.connect(self.ticks_requested)
        table.run_chosen.connect(self.choose_requested)
        table.listed.connect(self._listed)
        table.run_opened.connect(lambda _run: self.tabs.view.show_tab(self.tabs.view.grid))
        table.failed.connect(lambda sentence: self.message_requested.emit(Message("error", sentence)))

    def set_actions(self, actions: Actions) -> None:
        """The buttons of the head and of the empty state, and what can be done with rows; before there are tabs."""
        self.view.head.set_actions(actions)
        self.commands.set_actions(actions)
        self._actions = actions
        self._show_empty()
        self.empty.activated.connect(lambda: actions[self._next_step()].trigger())

    def _next_step(self) -> str:
        if self._selection.experiment_id is not None:
            return "launch"
        return "study" if self._selection.study_id is not None else "new"

    def _show_empty(self) -> None:
        """Explain why there are no curves yet, and offer the next action."""
        if self._actions is not None:
            step = self._next_step()
            self.empty.set_content(*_STEPS[step], self._actions[step].shortcut().toString())

    def focus_search(self) -> None:
        self.view.table.bar.filter.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.view.table.bar.filter.selectAll()

    def select(self, selection: Selection) -> None:
        """Name what is chosen, mark it in the table, show it in the tabs."""
        self._selection = selection
        self.view.head.show_selection(selection)
        self._show_empty()
        self._show_page()
        self.view.table.list_experiments(selection.listed)
        self.view.table.set_ticks(selection.ticked)
        self.view.table.choose(selection.run_id)
        if self._has_tabs():
            self.tabs.select(selection)

    def _listed(self, _listing: Listing) -> None:
        self._show_page()
        if self._has_tabs():
            self.tabs.group_curves()

    def _show_page(self) -> None:
        """The empty state only where there is no run to list."""
        table, selection = self.view.table, self._selection
        watched = selection.current_run is not None or selection.study_runs
        some = bool(watched or table.model.rows.total() or table.arrangement.filter)
        if some and self._stack.currentWidget() is self.empty and not self._has_tabs():
            make_in_turns(self, ("tabs",))
        self._stack.setCurrentWidget(self.view if some else self.empty)

    def refresh(self) -> None:
        self.view.head.show_selection(self._selection)
        if self._begun:
            self.view.table.refresh()
        if self._has_tabs():
            self.tabs.refresh()

    def entered(self) -> None:
        self._entered = True
        if not self._begun:
            self._begun = True
            self.view.table.start()
        if self._has_tabs():
            self.tabs.entered()

    def left(self) -> None:
        self._entered = False
        if self._has_tabs():
            self.tabs.left()
        self._services.settings.setValue("runs/halves", self.view.split.saveState())

    def _on_progressed(self, run_id: int, _progress: object) -> None:
        self.view.table.progressed(run_id)
