"""The main window: experiments on the left, a panel in the middle, status below. It connects these parts.

Flow: the tree's selection goes to every panel that has been built; actions go to the commands; messages of the
commands, the follower and the demo go to the message bar.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial

from PySide6.QtCore import QByteArray, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QShowEvent
from PySide6.QtWidgets import QMainWindow, QWidget

from core.spec.run.status import RunState
from sdgui.actions.dialogs import Dialogs
from sdgui.actions.menus import fill_menu_bar
from sdgui.actions.table import WINDOW_ACTIONS
from sdgui.actions.window import Target
from sdgui.app.alerting import Alerting
from sdgui.app.closing import LastWrites, ask_about_training
from sdgui.app.demo_report import DemoReport, search_demo, show_demo
from sdgui.app.layout import INITIAL_SIZE, fill_page, rail_beside, show_tree, tree_beside
from sdgui.app.panel_stack import FIRST_PANEL, FIRST_PANEL_SECONDS, PanelStack, load_panels
from sdgui.app.problem_reports import ProblemReports
from sdgui.app.rail import Rail
from sdgui.app.status import Status
from sdgui.experiments.commands import ExperimentCommands
from sdgui.experiments.panel import ExperimentsPanel
from sdgui.experiments.run_commands import RunCommands
from sdgui.panels.registry import PANELS
from sdgui.runs.live import RunProgress
from sdgui.shared.code_question import ask_to_run
from sdgui.shared.panel import DefiningPanel, Panel
from sdgui.shared.registry_changes import RegistryChanges
from sdgui.shared.run_texts import best_tip
from sdgui.shared.services import Selection, Services
from sdgui.store.changes import Changes
from sdgui.store.records import Run, StoreError
from sdgui.widgets.actions import Actions
from sdgui.widgets.layouts.splits import remember_sizes
from sdgui.widgets.message import Message, Remedy, error, info
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.progress_strip import ProgressStrip

_FIRST_PAINT_MS = 10  # delay between showing the window and background loading


class MainWindow(QMainWindow):
    """``panels``: panels built so far. ``selection``: what the tree has selected. ``target``: what actions apply to."""

    _first_panel_imported = Signal()
    panels_imported = Signal()

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.has_imported_panels = False
        self.setWindowTitle("sdgui")
        self.services = services
        self.selection = Selection()
        self.target = Target()
        self._closes_without_asking = False  # close without the question about active runs
        self._last_writes = LastWrites(services.writer, self)
        self._changes = Changes()  # accumulated since the last refresh
        self._refresh_timer = QTimer(self, singleShot=True, interval=0)  # one refresh for simultaneous changes
        self._refresh_timer.timeout.connect(self.refresh)
        self.experiments = ExperimentsPanel(services, self)
        self.run_commands = RunCommands(services, self)
        self.experiment_commands = ExperimentCommands(services, self)
        self.window_actions = Actions(self)
        self.dialogs = Dialogs(self.window_actions, self.experiments, self.experiment_commands, services, self)
        self.window_actions.register(WINDOW_ACTIONS, self)
        self.page = QWidget(self)
        self.bar = MessageBar(self.page, info_seconds=10)
        self.strip = ProgressStrip(self)
        self.demo_report = DemoReport(services.demo, self.strip, self)
        self.rail = Rail(self)
        self.stack = PanelStack(services, self)
        self.panels = self.stack.panels
        self.status = Status(services, self.experiments.model, self)
        self.registry_changes = RegistryChanges(services.store, self)
        self._problem_reports = ProblemReports(services, self.registry_changes, self.bar, self)
        run_name = self.experiments.model.name
        self._alerting = Alerting(services, self.show_message, run_name, self._open_run, self._shows_run, self)
        self._arrange()
        self._connect_parts()
        self._connect_services()
        self._restore()

    # Building
    def _arrange(self) -> None:
        self.experiments.set_actions(self.window_actions)
        for spec in PANELS:
            self.rail.add_panel(self.window_actions[spec.name], spec.group)
        self.rail.add_bottom_action(self.window_actions["palette"])
        fill_page(self.page, self.stack, self.bar)
        self.split = tree_beside(self.experiments, self.page)
        self.setCentralWidget(rail_beside(self.rail, self.split))
        self.setStatusBar(self.status)
        self.status.add_progress([self.strip])
        fill_menu_bar(self.menuBar(), self.window_actions)

    def _connect_parts(self) -> None:
        self._first_panel_imported.connect(self._show_first_panel, Qt.ConnectionType.QueuedConnection)
        self.stack.built.connect(self._on_panel_built)
        self.experiments.selected.connect(self._on_selected)
        self.experiments.opened.connect(lambda: self.show_panel("runs"))
        self.experiments.model.rename_requested.connect(self.experiment_commands.rename)
        self.experiments.import_requested.connect(self.experiment_commands.import_run)
        for changed in (self.run_commands.changed, self.experiment_commands.changed, self.dialogs.changed):
            changed.connect(self._on_changed)
        for source in (self.run_commands, self.experiment_commands, self.demo_report):
            source.message_requested.connect(self.show_message)
        self.run_commands.started.connect(self._open_run)
        self.run_commands.started.connect(lambda run_id: self.panels["runs"].use_run(run_id))
        self.run_commands.data_refused.connect(self._on_data_refused)
        self.experiment_commands.rebuilt.connect(self.reload)
        self.experiment_commands.added.connect(self._on_added)
        self.experiment_commands.imported.connect(self._open_run)
        self.experiment_commands.demo_added.connect(partial(show_demo, self))
        self.status.basket_requested.connect(self.dialogs.open_basket)

    def _connect_services(self) -> None:
        self.services.pool.ask_code = partial(ask_to_run, self)
        self.run_commands.code_refused.connect(partial(ask_to_run, self))
        self.services.demo.ready.connect(partial(search_demo, self))
        follower = self.services.follower
        follower.state_changed.connect(self._on_state_changed)
        follower.progress_changed.connect(self._on_progressed)
        follower.run_added.connect(self._on_run_added)
        follower.run_removed.connect(self._on_run_removed)
        follower.state_changed.connect(self.services.launcher.check_queue)
        fetches = self.services.hosts.fetches
        fetches.fetched.connect(lambda _run, checkpoint: self.show_message(info(f"Fetched: {checkpoint}")))
        fetches.fetched.connect(lambda _run, checkpoint: self.services.pool.use_local(checkpoint.parent.parent))
        fetches.failed.connect(lambda _run, reason: self.show_message(error(reason)) if reason else None)
        self.registry_changes.changed.connect(self._on_changed)
        self.services.studies.runs_added.connect(self._on_study_runs_added)

    # Panels
    def show_panel(self, name: str) -> Panel:
        """Show a panel; build it if needed."""
        panel = self.stack.show_panel(name)
        self.window_actions[name].setChecked(True)
        show_tree(self.experiments, self.page, self.stack.spec.shows_tree)
        self._update_title_and_actions()
        return panel

    def use_run(self, name: str, run_id: int) -> None:
        """Show a panel with a run as its model; the selection in the tree is kept."""
        self.show_panel(name).use_run(run_id)

    def ensure_tree(self) -> None:
        """Switch to Runs if the current panel hides the tree."""
        if not self.stack.spec.shows_tree:
            self.show_panel("runs")

    def _on_panel_built(self, name: str) -> None:
        panel = self.panels[name]
        panel.set_actions(self.window_actions)
        self.status.add_progress(panel.progress)
        panel.message_requested.connect(self.show_message)
        panel.new_experiment_requested.connect(self.experiment_commands.add)
        panel.run_requested.connect(self._open_run)
        panel.resume_requested.connect(self.run_commands.resume)
        panel.use_requested.connect(self.use_run)
        panel.model_requested.connect(lambda name, choice: self.show_panel(name).use_model(choice))
        panel.experiment_requested.connect(self._show_experiment)
        panel.select_requested.connect(self.experiments.select_run)
        panel.ticks_requested.connect(self.experiments.set_ticked)
        panel.source_requested.connect(lambda name, source: self.show_panel(name).show_source(source))
        panel.export_requested.connect(self.dialogs.export_choice)
        panel.changed.connect(self._on_changed)
        panel.saved.connect(self._last_writes.on_saved)
        if isinstance(panel, DefiningPanel):
            panel.edited.connect(lambda experiment: self._on_changed(Changes.of(experiment=experiment)))

    @property
    def panel_name(self) -> str:
        """The name of the current panel."""
        return self.stack.current

    def save_config(self) -> None:
        """Save the edits in the form to the store."""
        define = self.panels.get("define")
        if isinstance(define, DefiningPanel):
            define.save()

    # Selection and changes
    def _on_selected(self, selection: Selection) -> None:
        self.selection = selection
        self.stack.select(selection)
        self._update_title_and_actions()

    def reload(self) -> None:
        """Read the whole store into the tree and every panel; for a few changed records, use ``refresh``."""
        self.experiments.reload()
        self._refresh_panels()

    def refresh(self) -> None:
        """Read the changed records into the tree, and then into every panel."""
        self._refresh_timer.stop()
        try:
            self.experiments.refresh(self._changes)
        except StoreError as problem:
            try_again = Remedy("Try again", self.refresh)
            self.show_message(error(str(problem), remedy=try_again))
            return
        self._changes = Changes()
        self._refresh_panels()

    def _on_changed(self, changes: Changes) -> None:
        """Schedule one refresh for these and simultaneous changes; if ``changes`` is empty, only update the actions."""
        if changes:
            self._changes |= changes
            self._refresh_timer.start()
        else:
            self.update_actions()

    def _on_run_added(self, run_id: int) -> None:
        if self.experiments.model.run(run_id) is None:  # added by a script or another window
            self._on_changed(Changes.of(run=run_id))

    def _on_run_removed(self, run_id: int) -> None:
        if self.experiments.model.run(run_id) is not None:  # another window deleted it
            self._on_changed(Changes.of(run=run_id))

    def _refresh_panels(self) -> None:
        self.stack.refresh()
        self._update_title_and_actions()
        self.status.show_runs()

    def _update_title_and_actions(self) -> None:
        self._show_title()
        self.update_actions()

    def _show_title(self) -> None:
        """Set the window title to the panel, preceded by the experiment if the panel is about one."""
        experiment_id = self.selection.experiment_id if self.stack.spec.shows_tree else None
        about = "" if experiment_id is None else self.experiments.model.experiment_name(experiment_id)
        self.setWindowTitle(" – ".join(part for part in (about, self.stack.spec.title, "sdgui") if part))

    def current_run(self) -> Run | None:
        """The run shown in the Runs panel."""
        run_id = self.selection.current_run_id
        return self.experiments.model.run(run_id) if run_id is not None else None

    def update_actions(self) -> None:
        """Update titles and enabled state of the actions for the current selection."""
        self.target = Target.of(self.selection, self.current_run(), self.services, self.run_commands)
        self.window_actions.update(self)

    # Messages and events
    def show_message(self, message: Message) -> None:
        """Show ``message`` in the window's message bar."""
        self.bar.show_message(message)

    def _on_added(self, experiment_id: int) -> None:
        self.refresh()
        self._show_experiment(experiment_id)

    def _show_experiment(self, experiment_id: int) -> None:
        self.experiments.select_experiment(experiment_id)
        self.show_panel("define")

    def _on_data_refused(self, experiment_id: int, problems: dict[str, str]) -> None:
        """Show in the form, at their fields, the errors that prevent a launch."""
        self._show_experiment(experiment_id)
        define = self.panels["define"]
        if isinstance(define, DefiningPanel):
            define.refuse(problems)

    def _open_run(self, run_id: int) -> None:
        self.bar.clear()
        if self.experiments.model.run(run_id) is None:
            self._changes |= Changes.of(run=run_id)
        if self._changes:
            self.refresh()
        self.experiments.select_run(run_id)
        self.show_panel("runs")

    def _shows_run(self, run_id: int) -> bool:
        return self.panel_name == "runs" and self.selection.run_id == run_id

    def _on_progressed(self, run_id: int, progress: RunProgress) -> None:
        run = self.target.run
        if run is not None and run.id == run_id and progress.folder_missing != self.target.folder_missing:
            self.update_actions()

    def _on_state_changed(self, run_id: int, state: RunState) -> None:
        self.update_actions()
        run = self.experiments.model.run(run_id)
        if state == RunState.DONE and run is not None and run.launched is not None:  # imported runs are not announced
            text = f"{self.experiments.model.name(run_id)} finished. {best_tip(run.best)}"
            search = Remedy("Search with this run", lambda: self.use_run("search", run_id))
            self.show_message(info(text, remedy=search))

    def _on_study_runs_added(self, run_ids: frozenset[int]) -> None:
        self.services.follower.poll_now()
        self._on_changed(Changes(runs=run_ids))

    # Opening and closing
    def _restore(self) -> None:
        settings = self.services.settings
        self.resize(QSize(*INITIAL_SIZE).boundedTo(self.screen().availableSize()))
        if isinstance(geometry := settings.value("window/geometry"), QByteArray):  # otherwise none, or damaged
            self.restoreGeometry(geometry)
        remember_sizes(self.split, settings, "window/split")
        self.experiments.reload()
        self.experiments.restore()
        self.stack.restore(str(settings.value("window/place", FIRST_PANEL)))
        self.window_actions[self.panel_name].setChecked(True)
        self.experiments.setVisible(self.stack.spec.shows_tree)

    def _follow_remote_runs(self) -> None:
        """Connect to the machines of remote runs, in a thread."""
        hosts, runs = self.services.hosts, self.experiments.model.runs()
        threading.Thread(target=hosts.attach, args=(runs,), name="attach", daemon=True).start()

    def _start_background_work(self) -> None:
        """Start background work once the window is on screen."""
        threading.Thread(target=self._load_panels, name="panels").start()
        self.services.studies.follow()
        self.registry_changes.start()
        QTimer.singleShot(int(1e3 * FIRST_PANEL_SECONDS), self, self._follow_remote_runs)

    def _load_panels(self) -> None:
        """In a thread: import every panel, the panel of the last session first."""
        try:
            load_panels(self.stack.spec, self.services.store, self._first_panel_imported)
        finally:
            self.has_imported_panels = True
            with suppress(RuntimeError):  # the window has been deleted
                self.panels_imported.emit()

    def _show_first_panel(self) -> None:
        if not self.panels:
            self.show_panel(self.panel_name)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if event.spontaneous():  # restored by the window manager
            return
        QTimer.singleShot(_FIRST_PAINT_MS, self, self._start_background_work)

    def closeEvent(self, event: QCloseEvent) -> None:
        alive = [] if self._closes_without_asking else self.run_commands.alive()
        if alive:
            event.ignore()
            self._ask_before_closing(alive)
            return
        if not self._last_writes.is_abandoned:  # after abandoned writes, remembering would start them again
            self._remember()
        if self._last_writes.wait():
            event.ignore()
            return
        self.services.demo.cancel()
        self.dialogs.close_export()
        self.registry_changes.close()
        self._alerting.close()
        self.services.studies.close()
        self.services.follower.close()
        self.services.launcher.close()
        self.services.hosts.close()
        self.services.pool.end()
        super().closeEvent(event)

    def close_without_asking(self) -> None:
        """Close the window even if runs are active; they keep training unless they were asked to stop."""
        self._closes_without_asking = True
        self.close()

    def _remember(self) -> None:
        self.stack.leave()
        settings = self.services.settings
        settings.setValue("window/geometry", self.saveGeometry())
        settings.setValue("window/place", self.panel_name)
        self.experiments.save()
        settings.sync()

    def _ask_before_closing(self, alive: list[Run]) -> None:
        def stop() -> None:
            self.services.studies.stop_all()
            for run in alive:
                self.run_commands.stop(run)
            self.close_without_asking()

        names = [self.experiments.model.name(run.id) for run in alive]
        ask_about_training(names, self.close_without_asking, stop, self)
