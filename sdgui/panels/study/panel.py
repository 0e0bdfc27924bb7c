"""Study: trains several recipes with several seeds, evaluates them identically, and compares them with intervals.

Flow: a file, a folder or the form -> ``StudyPrograms.add`` -> Start -> a process that outlives the window; its folder
is read in a thread (``StudySnapshot``) and shown. The tree lists the runs below the study.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QInputDialog, QLineEdit, QStackedWidget, QWidget

from core.spec.run.folder import error_line
from core.spec.run.status import RunState
from core.spec.study import MAX_ITEMS, Study, StudyDir
from core.spec.study.confirming import confirmable_trials
from sdgui.panels.study.editor import StudyEditor
from sdgui.panels.study.ending import EndRequest, StudyEnding
from sdgui.panels.study.estimate import MAX_RUNS, estimate
from sdgui.panels.study.export import export_menu
from sdgui.panels.study.open_menu import open_menu
from sdgui.panels.study.sweep.confirm import ask_to_confirm
from sdgui.panels.study.sweep.view import SweepView
from sdgui.panels.study.toolbar import StudyToolbar
from sdgui.panels.study.view import StudyView, placeholder
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.runs.study_status import StudySnapshot
from sdgui.shared.panel import Panel
from sdgui.shared.services import Selection, Services
from sdgui.shared.stored_json import parse_number
from sdgui.store.changes import Changes
from sdgui.store.records import Experiment, StoreError
from sdgui.store.studies import StudyRecord
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.file_dialogs import ask_folder
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.layouts.over import lay_over
from sdgui.widgets.layouts.splits import remember_sizes
from sdgui.widgets.message import Message, Remedy, error, info
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.style.theme import SPACE


class StudyPanel(Panel):
    """Toolbar, message bar, and one of the pages: empty page, study, sweep, form."""

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services, self._programs = services, services.studies
        self._study: StudyRecord | None = None
        self._ticked: set[int] = set()  # ids of the ticked experiments
        self._selected_id: int | None = None  # study that is selected in the tree
        self._estimated: Study | None = None  # study with a shown or pending estimate
        self._extended_id: int | None = None  # study that the form extends
        self.ending = StudyEnding(self._programs, self)
        self._tasks = BackgroundTasks(self)
        self.toolbar = StudyToolbar(services.hosts, self)
        self.bar = MessageBar(self)
        self.stack = QStackedWidget(self)
        self.empty = EmptyState("ph.flask", *placeholder(None), parent=self.stack)
        self.view, self.editor = StudyView(self.stack), StudyEditor(self.stack)
        self._build()
        self._connect()
        self.refresh()

    def _build(self) -> None:
        for widget in (self.empty, self.view, self.editor):
            self.stack.addWidget(widget)
        self.view.fits_table = not remember_sizes(self.view.split, self._services.settings, "study/split")
        column = vbox(self.toolbar, (self.stack, 1), margins=(2 * SPACE, SPACE, 2 * SPACE, SPACE))
        lay_over(self, column, self.bar)
        self.toolbar.open_button.setMenu(open_menu(self, self.open_study))
        self.toolbar.export.setMenu(
            export_menu(self.view, lambda: self._study, self.show_message, self._on_failed, self)
        )

    @cached_property
    def sweep_view(self) -> SweepView:
        """The view of the current sweep, created on first use."""
        view = SweepView(self.stack)
        self.stack.addWidget(view)
        view.run_requested.connect(self._show_run)
        view.confirm_requested.connect(self._confirm_sweep)
        return view

    @property
    def _is_editing(self) -> bool:
        return self.stack.currentWidget() is self.editor

    def _connect(self) -> None:
        self.toolbar.box.activated.connect(lambda row: self.show_study(self.toolbar.box.itemData(row)))
        self.toolbar.new.clicked.connect(lambda: self.edit())
        self.empty.activated.connect(lambda: self.edit())
        self.view.run_requested.connect(self._show_run)
        self.editor.submitted.connect(self._on_submitted)
        self.editor.cancelled.connect(self._show)
        self.toolbar.start.clicked.connect(self._start)
        self.toolbar.pause.clicked.connect(lambda: self._end("pause"))
        self.toolbar.stop.clicked.connect(
            lambda: self._end("kill" if self.ending.can_kill(self._study_id()) else "stop")
        )
        self.ending.refused.connect(self._on_request_refused)
        self.ending.kill_allowed.connect(lambda: self._enable(self._snapshot()))
        self.toolbar.extend.clicked.connect(lambda: self.extend())
        self.toolbar.folder.clicked.connect(self._show_folder)
        self.toolbar.delete.clicked.connect(self._delete)
        self.toolbar.machines.machines_chosen.connect(self._choose_machines)
        self._programs.changed.connect(self._on_changed)

    # The panel
    def select(self, selection: Selection) -> None:
        """Show the selected study, or the study that the selected experiment is an arm of."""
        if selection.study_id not in (None, self._selected_id, self._study_id()):  # unchanged when the tree is reloaded
            self.show_study(selection.study_id)
        self._selected_id = selection.study_id
        self._ticked = set(selection.ticked_experiments)

    def show_source(self, source: str, query: str = "") -> None:
        """Show the study in this folder, which another panel has created."""
        self.open_study(Path(source))

    def on_enter(self) -> None:
        self.refresh()
        self._programs.poll()

    def on_leave(self) -> None:
        self._services.settings.setValue("study/shown", self._study_id() or 0)

    def refresh(self) -> None:
        """Update the list of studies."""
        try:
            studies = self._services.store.studies()
        except StoreError as problem:
            self._on_failed(str(problem))
            return
        self.toolbar.show_studies(studies)
        study_id = self._study_id() or parse_number(self._services.settings.value("study/shown"), 0)
        self._study = next((study for study in studies if study.id == study_id), studies[-1] if studies else None)
        self.toolbar.choose(self._study_id())
        if not self._is_editing:
            self._show()

    def show_study(self, study_id: int) -> None:
        """Show a study; if a form is open, after the form is closed."""
        try:
            self._study = self._services.store.study(int(study_id))
        except StoreError as problem:
            self._on_failed(str(problem))
            return
        self.toolbar.choose(study_id)
        if not self._is_editing:
            self.bar.clear()
            self._show()

    def _study_id(self) -> int | None:
        return self._study.id if self._study is not None else None

    def _snapshot(self) -> StudySnapshot | None:
        return self._programs.snapshot(self._study.id) if self._study is not None else None

    def _on_changed(self, study_id: int) -> None:
        if study_id == self._study_id() and not self._is_editing:
            self._show()

    def _show(self) -> None:
        snapshot = self._snapshot()
        if self._study is None or snapshot is None:
            self.empty.set_content(*placeholder(self._study))
            self.stack.setCurrentWidget(self.empty)
        elif snapshot.is_sweep:
            self.sweep_view.show_snapshot(snapshot)
            self.stack.setCurrentWidget(self.sweep_view)
            self._show_problem(snapshot)
        else:
            self.view.show_snapshot(snapshot, self._services.store.arm_colors(self._study.id))
            self.stack.setCurrentWidget(self.view)
            self._show_problem(snapshot)
            self._estimate_costs(snapshot)
        self._enable(snapshot)

    def _estimate_costs(self, snapshot: StudySnapshot) -> None:
        """Show the estimated time and memory of a study that has not started; estimated once, in a thread."""
        study, store = snapshot.study, self._services.store
        if snapshot.state != "not started" or study is None or study == self._estimated:
            return
        self._estimated = study
        self.view.show_estimate("")

        def read() -> str:
            return estimate(study, store.latest_runs(MAX_RUNS, (RunState.DONE,))).text()

        self._tasks.run(read, lambda text: self.view.show_estimate(text) if self._estimated is study else None)

    def _show_problem(self, snapshot: StudySnapshot) -> None:
        if snapshot.state == "gone":
            self.show_message(error(snapshot.problem, remedy=Remedy("Locate folder…", self._locate_folder)))
        elif snapshot.problem:
            self.show_message(error(snapshot.problem.splitlines()[0], snapshot.problem))
        elif snapshot.state == "interrupted" and snapshot.stderr:
            text = f"The study ended unexpectedly: {error_line(snapshot.stderr) or 'see the details'}"
            self.show_message(error(text, snapshot.stderr))

    def _enable(self, snapshot: StudySnapshot | None) -> None:
        if snapshot is not None and not snapshot.alive:
            self.ending.forget(self._study_id())
        self.toolbar.show_state(self._study, snapshot, self._is_editing, self.ending)

    def show_message(self, message: Message) -> None:
        """Show ``message``; an equal message keeps the expanded or collapsed details."""
        if self.bar.message != message:
            self.bar.show_message(message)

    def _on_failed(self, sentence: str) -> None:
        first, _, details = sentence.partition("\n")
        self.show_message(error(first, details))

    # Creating and opening
    def edit(self) -> None:
        """Open the form for a new study, with the ticked experiments as arms."""
        store = self._services.store
        try:
            self.editor.begin(store.experiments(), self._ticked, {study.name for study in store.studies()})
        except StoreError as problem:
            self._on_failed(str(problem))
            return
        self._extended_id = None
        self._show_editor(self.editor.name)

    def extend(self) -> None:
        """Open the form to add seeds and arms to the shown study, or ask for more trials of a sweep."""
        snapshot, store = self._snapshot(), self._services.store
        if snapshot is not None and snapshot.is_sweep:
            self._ask_trials(snapshot)
            return
        if self._study is None or snapshot is None or snapshot.study is None:
            return
        try:
            arm_ids = store.study(self._study.id).arms
            self.editor.extend(
                snapshot.study, [experiment for experiment in store.experiments() if experiment.id not in arm_ids]
            )
        except StoreError as problem:
            self._on_failed(str(problem))
            return
        self._extended_id = self._study_id()
        self._show_editor(self.editor.seeds)

    def _ask_trials(self, snapshot: StudySnapshot) -> None:
        trial_count = snapshot.sweep.wanted if snapshot.sweep is not None else 1
        trials, accepted = QInputDialog.getInt(
            self, "Extend the sweep", "Total number of trials", trial_count + 10, 1, MAX_ITEMS - 1
        )
        if accepted and (study_id := self._study_id()) is not None:
            self._tasks.run(lambda: self._programs.extend_sweep(study_id, trials), None, self._on_failed)

    def _confirm_sweep(self) -> None:
        """Ask how to confirm the shown sweep, then create the study; does nothing if there is no trial to confirm."""
        study_id, snapshot, programs = self._study_id(), self._snapshot(), self._programs
        trials = len(confirmable_trials(snapshot.sweep)) if snapshot is not None else 0
        if study_id is None or not trials:
            return

        def ask(seconds: float) -> None:
            if choices := ask_to_confirm(trials, seconds, self):
                self._tasks.run(lambda: programs.confirm_sweep(study_id, *choices), self._on_confirmed, self._on_failed)

        self._tasks.run(lambda: programs.confirming_seconds(study_id), ask, self._on_failed)

    def _on_confirmed(self, study: StudyRecord) -> None:
        self._on_added(study)
        text = f"Created “{study.name}”. Press Start to train its runs."
        self.show_message(info(text, remedy=Remedy("Undo", self._delete)))

    def _show_editor(self, first: QLineEdit) -> None:
        self.bar.clear()
        self.stack.setCurrentWidget(self.editor)
        first.setFocus()
        first.selectAll()
        self._enable(None)

    def _on_submitted(self, study: Study, experiments: dict[str, Experiment]) -> None:
        configs = {
            name: experiment.config.to_json()
            for name, experiment in experiments.items()
            if experiment.config is not None
        }
        extended_id, programs = self._extended_id, self._programs

        def write() -> StudyRecord:
            return programs.add(study, configs) if extended_id is None else programs.extend(extended_id, study, configs)

        self.editor.submit.setEnabled(False)  # until the study is written: a second click would create another study
        self._tasks.run(write, self._on_added, self._on_not_written)

    def _on_not_written(self, sentence: str) -> None:
        self.editor.check()
        self._on_failed(sentence)

    def _on_added(self, study: StudyRecord) -> None:
        self._study = study
        self.stack.setCurrentWidget(self.view)
        self._services.settings.setValue("study/shown", study.id)
        self.refresh()
        # the study's experiments are restored too
        self.changed.emit(Changes(frozenset(study.arms), studies=frozenset((study.id,))))
        self._programs.poll()

    def open_study(self, path: Path) -> None:
        """Open a study file or folder; an error message contains the invalid field."""
        self.bar.clear()
        self._tasks.run(lambda: self._programs.open(path), self._on_added, self._on_failed)

    def _locate_folder(self) -> None:
        if folder := ask_folder(self, "Locate the folder of the study"):
            self.move_to(folder)

    def move_to(self, folder: Path) -> None:
        """Record that the study's folder has moved to ``folder``."""
        study_id, store = self._study_id(), self._services.store
        if study_id is None:
            return
        if not StudyDir(folder).study.is_file():
            text = f"{folder} contains no study.json. Choose the folder of the study."
            self.show_message(error(text, remedy=Remedy("Locate folder…", self._locate_folder)))
            return
        self._tasks.run(lambda: store.move_study(study_id, folder), self._on_added, self._on_failed)

    # The study's process
    def _start(self) -> None:
        if (study_id := self._study_id()) is not None:
            self.bar.clear()
            self.toolbar.start.setEnabled(False)
            self._tasks.run(lambda: self._programs.start(study_id), None, self._on_request_refused)

    def _choose_machines(self, names: list[str]) -> None:
        if (study_id := self._study_id()) is not None:
            self.bar.clear()
            self._tasks.run(lambda: self._programs.choose_machines(study_id, names), None, self._on_failed)

    def _end(self, request: EndRequest) -> None:
        if (study_id := self._study_id()) is None:
            return
        if request != "kill":
            self.show_message(info("Active runs are saving checkpoints before they end."))
        self.ending.request(study_id, request)
        self._enable(self._snapshot())

    def _on_request_refused(self, sentence: str) -> None:
        self._enable(self._snapshot())
        self.bar.clear()
        self._on_failed(sentence)

    def _show_run(self, folder: Path) -> None:
        try:
            run = self._services.store.run_in(folder, include_deleted=True)
        except StoreError as problem:
            self._on_failed(str(problem))
            return
        if run is None:
            self.show_message(info("This run has not started yet."))
        elif run.deleted is not None:
            self.show_message(info("This run is in the bin; restore it there to show it."))
        else:
            self.run_requested.emit(run.id)

    def _show_folder(self) -> None:
        if self._study is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._study.folder)))

    def _delete(self) -> None:
        study, store = self._study, self._services.store
        if study is None:
            return

        def delete() -> StudyRecord:
            store.delete_study(study.id)
            return store.study(study.id)  # with the current arms

        def restore() -> StudyRecord:
            store.restore_study(study.id)
            return store.study(study.id)

        def on_deleted(study: StudyRecord) -> None:
            self._study = None
            self.stack.setCurrentWidget(self.empty)
            self.refresh()
            # the study's experiments are moved to the bin too
            self.changed.emit(Changes(frozenset(study.arms), studies=frozenset((study.id,))))
            text = f"Moved “{study.name}” to the bin; its folder is kept."
            self.show_message(info(text, remedy=Remedy("Undo", undo)))

        def undo() -> None:
            self._tasks.run(restore, self._on_added, self._on_failed)

        self._tasks.run(delete, on_deleted, self._on_failed)
