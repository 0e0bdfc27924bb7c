"""The main window: experiments on the left, a place in the middle, status below; it joins the parts and holds no data.

Flow: the tree's selection goes to every place that is built; actions go to the commands; what the commands, the tailer
and the demo have to say goes to the message bar. A place is built when it is first shown.
"""

from __future__ import annotations

import threading
from importlib import import_module

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QShowEvent
from PySide6.QtWidgets import QMainWindow, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from core.spec.config import RunConfig
from core.spec.run.status import RunState
from sdgui.actions.dialogs import Dialogs
from sdgui.actions.menus import fill_menu_bar
from sdgui.actions.table import WINDOW_ACTIONS
from sdgui.actions.window import Target
from sdgui.app.closing import ask_about_training
from sdgui.app.demo_report import DemoReport
from sdgui.app.header import Header
from sdgui.app.rail import Rail
from sdgui.app.status import Status
from sdgui.app.welcome import Welcome
from sdgui.experiments.commands import ExperimentCommands
from sdgui.experiments.panel import ExperimentsPanel
from sdgui.experiments.run_commands import RunCommands
from sdgui.panels.define.panel import DefinePanel
from sdgui.panels.registry import PANELS
from sdgui.runs.models import architectures, pretrained_tags
from sdgui.shared.panel import Panel
from sdgui.shared.run_texts import best_tip, experiment_line
from sdgui.shared.services import Selection, Services
from sdgui.store.changes import Changes
from sdgui.store.records import Run
from sdgui.widgets.actions import Actions
from sdgui.widgets.message import Message, Remedy
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.widgets.style.theme import SPACE

_SIZE = (1280, 800)
_TREE_WIDTH = 296
_PAUSE = 10  # ms


class MainWindow(QMainWindow):
    """``places`` holds those that are built, by name; ``selection`` what is chosen in the tree."""

    panel_built = Signal(str)

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.setWindowTitle("sdgui")
        self.services = services
        self.panels: dict[str, Panel] = {}
        self.selection = Selection()
        self._panel = "define"
        self._decided = False  # what becomes of live runs when the window closes
        self._closing: int | None = None  # writes that had failed when it waited for the last ones before it closes
        self._changes = Changes()  # that places have not read yet
        self._gather = QTimer(self, singleShot=True, interval=0)  # several changes of one moment are read at once
        self._gather.timeout.connect(self.refresh)
        self.experiments = ExperimentsPanel(services, self)
        self.run_commands = RunCommands(services, self)
        self.experiment_commands = ExperimentCommands(services, self)
        self.window_actions = Actions(self)
        self.dialogs = Dialogs(self.window_actions, self.experiments, self.experiment_commands, self)
        self.target = Target()
        self.window_actions.register(WINDOW_ACTIONS, self)
        self.bar = MessageBar(self)
        self.strip = ProgressStrip(self)
        self.demo_report = DemoReport(services.demo, self.strip, self)
        self.header = Header(self)
        self.rail = Rail(self)
        self.welcome = Welcome(self.window_actions, self)
        self.status = Status(services, self.experiments.model, self)
        self._arrange()
        self._connect()
        self._restore()

    # Building
    def _arrange(self) -> None:
        self.header.set_actions(self.window_actions)
        self.experiments.set_actions(self.window_actions)
        for spec in PANELS:
            self.rail.add_panel(self.window_actions[spec.name])
        self.rail.add_foot(self.window_actions["palette"])
        self.stack = QStackedWidget(self)
        middle = QWidget(self)
        column = QVBoxLayout(middle)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        spoken = QVBoxLayout()
        spoken.setContentsMargins(2 * SPACE, SPACE, 2 * SPACE, 0)
        spoken.addWidget(self.bar)
        spoken.addWidget(self.strip)
        column.addLayout(spoken)
        column.addWidget(self.header)
        column.addWidget(self.stack, 1)
        self.pages = QStackedWidget(self)
        self.pages.addWidget(self.welcome)
        self.pages.addWidget(middle)
        outer = QSplitter(Qt.Orientation.Horizontal, self)
        outer.addWidget(self.experiments)
        outer.addWidget(self.pages)
        outer.setStretchFactor(1, 1)
        outer.setSizes([_TREE_WIDTH, _SIZE[0] - _TREE_WIDTH])
        outer.setChildrenCollapsible(False)
        self.split = outer
        frame = QSplitter(Qt.Orientation.Horizontal, self)
        frame.addWidget(self.rail)
        frame.addWidget(outer)
        frame.setStretchFactor(1, 1)
        frame.handle(1).setEnabled(False)
        self.setCentralWidget(frame)
        self.setStatusBar(self.status)
        fill_menu_bar(self.menuBar(), self.window_actions)

    def _connect(self) -> None:
        services = self.services
        self.experiments.selected.connect(self._selected)
        self.experiments.opened.connect(lambda _run: self.show_panel("watch"))
        self.experiments.model.rename_asked.connect(self.experiment_commands.rename)
        self.run_commands.message_requested.connect(self.show_message)
        self.run_commands.started.connect(self._started)
        self.run_commands.changed.connect(self._changed)
        self.experiment_commands.message_requested.connect(self.show_message)
        self.experiment_commands.changed.connect(self._changed)
        self.experiment_commands.rebuilt.connect(self.reload)
        self.experiment_commands.added.connect(self._added)
        self.demo_report.message_requested.connect(self.show_message)
        services.tailer.state_changed.connect(self._state_changed)
        services.tailer.run_added.connect(self._run_added)
        services.tailer.run_removed.connect(self._run_removed)
        services.writer.trouble.connect(lambda sentence: self.show_message(Message("error", sentence)))
        services.writer.idle.connect(self._close_saved)
        services.tailer.trouble.connect(lambda _run, sentence: self.show_message(Message("warning", sentence)))
        services.studies.listed.connect(self._study_runs_listed)
        services.studies.trouble.connect(lambda sentence: self.show_message(Message("warning", sentence)))

    # Places
    def show_panel(self, name: str) -> Panel:
        """Go to a place, building it when it is new."""
        before = self.panels.get(self._panel)
        place = self.panels.get(name) or self._build(name)
        if before is not None and before is not place:
            before.left()
        self._panel = name
        self.stack.setCurrentWidget(place)
        self.window_actions[name].setChecked(True)
        place.entered()
        return place

    def _build(self, name: str) -> Panel:
        spec = next(spec for spec in PANELS if spec.name == name)
        place = spec.build(self.services, self.stack)
        place.set_actions(self.window_actions)
        place.message_requested.connect(self.show_message)
        place.define_asked.connect(self._copy_run)
        place.watch_asked.connect(self._started)
        place.changed.connect(self._changed)
        if isinstance(place, DefinePanel):
            place.edited.connect(lambda experiment: self._changed(Changes.of(experiment=experiment)))
            place.copy_asked.connect(self._copy_run)
        self.panels[name] = place
        self.stack.addWidget(place)
        place.select(self.selection)
        self.panel_built.emit(name)
        return place

    @property
    def panel(self) -> str:
        """The name of the place that is shown."""
        return self._panel

    def save_definition(self) -> None:
        """Write what is typed in the form to the store."""
        define = self.panels.get("define")
        if isinstance(define, DefinePanel):
            define.save()

    def _copy_run(self, config: RunConfig) -> None:
        self.experiment_commands.add(config)

    # Choice
    def _selected(self, selection: Selection) -> None:
        self.selection = selection
        for place in self.panels.values():
            place.select(selection)
        self._show_chosen()

    def reload(self) -> None:
        """The tree and every place read the whole store again, which no change of a few records is worth."""
        self.experiments.reload()
        self._refresh_places()

    def refresh(self) -> None:
        """The tree reads what changed; every place, what it shows of it."""
        self._gather.stop()
        changes, self._changes = self._changes, Changes()
        self.experiments.refresh(changes)
        self._refresh_places()

    def _changed(self, changes: Changes) -> None:
        """Something was written: read at the next turn, once for all that comes until then."""
        if changes:
            self._changes |= changes
            self._gather.start()
        else:
            self.update_actions()

    def _run_added(self, run_id: int) -> None:
        if self.experiments.model.run(run_id) is None:  # another window's
            self._changed(Changes.of(run=run_id))

    def _run_removed(self, run_id: int) -> None:
        if self.experiments.model.run(run_id) is not None:  # by another window
            self._changed(Changes.of(run=run_id))

    def _refresh_places(self) -> None:
        for place in self.panels.values():
            place.refresh()
        self._show_chosen()
        self.status.show_runs()

    def _show_chosen(self) -> None:
        self.pages.setCurrentIndex(0 if self.experiments.model.rowCount() == 0 else 1)
        self._show_header()
        self.update_actions()

    def _show_header(self) -> None:
        if self.selection.experiment_id is None:
            self.header.show_texts("", "")
            return
        experiment = self.services.store.experiment(self.selection.experiment_id)
        runs = sum(run.experiment_id == experiment.id for run in self.experiments.model.runs())
        self.header.show_texts(experiment.name, experiment_line(experiment, runs))
        self.setWindowTitle(f"{experiment.name} – sdgui")

    def current_run(self) -> Run | None:
        """The run that Watch and Search are about."""
        run_id = self.selection.current_run
        return self.experiments.model.run(run_id) if run_id is not None else None

    def update_actions(self) -> None:
        """Enable and title the actions for what is selected, as it is now."""
        self.target = Target.of(self.selection, self.current_run(), self.services, self.run_commands)
        self.window_actions.update(self)

    # What happened
    def show_message(self, message: Message) -> None:
        """Show ``message`` in the window's message bar."""
        self.bar.show_message(message)

    def _added(self, experiment_id: int) -> None:
        self.refresh()
        self.experiments.select_experiment(experiment_id)
        self.show_panel("define")

    def _started(self, run_id: int) -> None:
        self.bar.clear()
        if self.experiments.model.run(run_id) is None:
            self._changes |= Changes.of(run=run_id)
        if self._changes:
            self.refresh()
        self.experiments.select_run(run_id)
        self.show_panel("watch")

    def _state_changed(self, run_id: int, state: RunState) -> None:
        self.update_actions()
        run = self.experiments.model.run(run_id)
        if state == RunState.DONE and run is not None and run.launched is not None:  # not one that was imported
            text = f"{self.experiments.model.name(run_id)} finished. {best_tip(run.best)}"
            search = Remedy("Search with this run", lambda: self._search(run_id))
            self.show_message(Message("info", text, remedy=search))

    def _study_runs_listed(self, run_ids: frozenset[int]) -> None:
        self.services.tailer.follow(0)
        self._changed(Changes(runs=run_ids))

    def _search(self, run_id: int) -> None:
        self.experiments.select_run(run_id)
        self.show_panel("search")

    # The demo
    def start_demo(self) -> None:
        """Make the demo's data and experiments where they are missing, and show the main one."""
        self.experiment_commands.add_demo()

    # Opening and closing
    def _restore(self) -> None:
        settings = self.services.settings
        room = self.screen().availableSize()
        self.resize(min(_SIZE[0], room.width()), min(_SIZE[1], room.height()))
        geometry, split = settings.value("window/geometry"), settings.value("window/split")
        if geometry is not None:
            self.restoreGeometry(geometry)
        if split is not None:
            self.split.restoreState(split)
        self.experiments.reload()
        self.experiments.restore()
        name = str(settings.value("window/place", "define"))
        self._panel = name if name in {spec.name for spec in PANELS} else "define"
        self.window_actions[self._panel].setChecked(True)

    def _first_place(self) -> None:
        if not self.panels:
            self.show_panel(self._panel)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        QTimer.singleShot(0, self, self.services.studies.follow)
        QTimer.singleShot(_PAUSE, self, self._first_place)  # the window is on screen before its form is built
        # Places need numpy, pyqtgraph and more; they are loaded beside the event loop, so that nobody waits for them.
        QTimer.singleShot(0, self, lambda: threading.Thread(target=_load_panels, name="places").start())

    def closeEvent(self, event: QCloseEvent) -> None:
        alive = [] if self._decided else self.run_commands.alive()
        if alive:
            event.ignore()
            self._ask_about(alive)
            return
        self._remember()
        if self.services.writer.pending:
            event.ignore()
            self._closing = self.services.writer.failures
            self.show_message(Message("info", "The last changes are being saved; the window closes then."))
            return
        self.services.demo.cancel()
        self.services.studies.close()
        self.services.tailer.close()
        self.services.launcher.close()
        self.services.pool.end()
        super().closeEvent(event)

    def _close_saved(self) -> None:
        """The last writes are done: close, unless one of them failed, which is said and can be tried again."""
        failed, self._closing = self._closing, None
        if failed is not None and failed == self.services.writer.failures:
            QTimer.singleShot(0, self, self.close)

    def keep_training(self) -> None:
        """Close without a question; live runs train on."""
        self._decided = True
        self.close()

    def _remember(self) -> None:
        for place in self.panels.values():
            place.left()
        settings = self.services.settings
        settings.setValue("window/geometry", self.saveGeometry())
        settings.setValue("window/split", self.split.saveState())
        settings.setValue("window/place", self._panel)
        self.experiments.save()
        settings.sync()

    def _ask_about(self, alive: list[Run]) -> None:
        def stop() -> None:
            self.services.studies.stop_all()
            for run in alive:
                self.run_commands.stop(run)
            self.keep_training()

        ask_about_training([self.experiments.model.name(run.id) for run in alive], self.keep_training, stop, self)


def _load_panels() -> None:
    """In a thread: the code of every place and open_clip's lists, so that none is waited for when first shown."""
    for spec in PANELS:
        import_module(spec.module)
    architectures()
    pretrained_tags()
