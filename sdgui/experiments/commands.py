"""Commands on experiments, and on tags and notes of a run.

Flow: an action passes the experiment or run; the store makes the change; ``changed`` makes the tree read the store
again. Deleting moves records to the bin and offers to undo; only emptying the bin loses data, so it asks first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QProcess, Signal
from PySide6.QtWidgets import QMessageBox, QWidget

from core.spec.config import RunConfig, read_config
from core.spec.errors import UserError
from core.spec.presets import Size, preset_config
from core.spec.run.lineage import started_from
from core.spec.run.model_names import CHECKPOINT, checkpoint_names, resolve
from sdgui.experiments.reproducing import ReproductionReport, message_of, read_report
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.runs.demo import SHOWN_FIRST, demo_configs
from sdgui.runs.program import core_command, qt_process
from sdgui.shared.own_data import own_data_config
from sdgui.shared.services import Services
from sdgui.store.changes import Changes
from sdgui.store.records import ChangedElsewhereError, Experiment, Run, StoreError, StoreUnavailableError
from sdgui.store.studies import StudyRecord
from sdgui.widgets.formats import count_with_unit, free_name
from sdgui.widgets.message import Message, Remedy, error, info, warning

_STARTED = {"continue": "continued", "fork": "forked", "fine-tune": "fine-tuned"}  # suffix of the new experiment's name


class ExperimentCommands(QObject):
    """Commands on experiments. ``message_requested``: a message for the window's bar."""

    message_requested = Signal(object)  # Message
    changed = Signal(object)  # Changes
    rebuilt = Signal()  # any record of the database may have changed
    added = Signal(int)  # experiment id: select it
    imported = Signal(int)  # run id: select it
    demo_added = Signal(int, str)  # the id of the demo's main experiment, the panel to show

    def __init__(self, services: Services, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self._tasks = BackgroundTasks(self)
        self._emptying = False
        self._rebuilding = False

    def new(self, preset: str, size: Size) -> None:
        """Add an experiment from a preset."""
        self._add(lambda: preset_config(preset, size), None)

    def new_from_file(self, path: Path) -> None:
        """Add an experiment from a config file."""
        self._add(lambda: read_config(path), None)

    def new_from_data(self, source: Path) -> None:
        """Add an experiment that trains on the user's folder or table."""
        self._add(lambda: own_data_config(source), None)

    def add(self, config: RunConfig, name: str | None = None) -> None:
        """Add an experiment from a config."""
        self._add(lambda: config, name)

    def _add(self, make: Callable[[], RunConfig], name: str | None) -> None:
        store = self._services.store

        def write() -> Experiment:
            config = make()
            used_names = {experiment.name for experiment in store.experiments()}
            return store.add_experiment(config, free_name(name or config.name, used_names))

        self._write(write, self._on_added)

    def _on_added(self, experiment: Experiment) -> None:
        self.changed.emit(Changes.of(experiment=experiment.id))
        self.added.emit(experiment.id)

    def _write(self, write: Callable[[], Any], done: Callable[[Any], object]) -> None:
        """Submit ``write``; if the database is unreachable, the message has a button to try again."""
        self._services.writer.submit(write, done, lambda problem: self._show_refusal(problem, write, done))

    def _show_refusal(self, problem: UserError, write: Callable[[], Any], done: Callable[[Any], object]) -> None:
        unreachable = isinstance(problem, StoreUnavailableError)
        try_again = Remedy("Try again", lambda: self._write(write, done)) if unreachable else None
        message = warning if isinstance(problem, _TrainingError) else error
        self.message_requested.emit(message(str(problem), remedy=try_again))

    def import_run(self, folder: Path) -> None:
        """Import a run folder; reading its events may take seconds.

        Any other folder or file is imported as logs of another tool.
        """
        self.message_requested.emit(info(f"Reading the run in {folder}…"))
        if folder.exists() and not (folder / "config.json").exists():
            self._import_logs(folder)
            return
        self._tasks.run(lambda: self._services.store.import_run(folder), self._on_imported, self._failed)

    def _on_imported(self, run: Run) -> None:
        self._services.follower.poll_now(run.id)
        self.changed.emit(Changes.of(experiment=run.experiment_id, run=run.id))
        self.imported.emit(run.id)
        self.message_requested.emit(info(f"Imported run {run.key}."))

    def _import_logs(self, source: Path) -> None:
        """Start a program that writes run folders. If it is killed, importing again continues."""
        process = qt_process(self)
        process.finished.connect(lambda: self._on_logs_imported(process, source))
        command = [*core_command(), "runs", "import", str(source), "--home", str(self._services.store.home)]
        process.start(command[0], command[1:])

    def _on_logs_imported(self, process: QProcess, source: Path) -> None:
        count = bytes(process.readAllStandardOutput().data()).count(b"\n")
        problems = bytes(process.readAllStandardError().data()).decode("utf-8", "replace").strip()
        process.deleteLater()
        self._services.follower.poll_now()
        if count:
            text = f"Imported {count_with_unit(count, 'run')} from {source}."
            self.message_requested.emit(warning(text, problems) if problems else info(text))
        else:
            no_output = f"{source} could not be imported: the program exited with code {process.exitCode()}."
            self._failed(problems.rpartition("error: ")[2] or no_output)

    def reproduce(self, run: Run) -> None:
        """Add an experiment with the config of ``run``, and show the differences."""
        self.message_requested.emit(info(f"Comparing run {run.key} with this computer…"))

        def prepared(report: ReproductionReport) -> None:
            if isinstance(report.config, RunConfig):
                self.add(report.config)
            self.message_requested.emit(message_of(report))

        self._tasks.run(lambda: read_report(run.folder), prepared, self._failed)

    def start_from(self, run: Run, kind: str) -> None:
        """Add an experiment that continues, forks or fine-tunes ``run``.

        The checkpoint is the one at the currently viewed step if it exists, otherwise the last one.
        """
        step = self._services.time_travel.step(run.folder)

        def make() -> RunConfig:
            name = CHECKPOINT.format(step or 0)
            checkpoint = resolve(run.dir, name if name in checkpoint_names(run.dir) else "last")
            return started_from(read_config(run.dir.config), run.dir, checkpoint, kind)

        self._add(make, f"{self._services.store.experiment(run.experiment_id).name}, {_STARTED[kind]}")

    def rebuild(self) -> None:
        """Read every run folder again; add missing runs to the database and update the others."""
        if self._rebuilding:
            self.message_requested.emit(info("The run folders are already being read."))
            return
        self._rebuilding = True
        self.message_requested.emit(info("Reading every run folder…"))
        store = self._services.store
        self._tasks.run(lambda: (store.import_folders(), len(store.runs())), self._on_rebuilt, self._on_rebuild_failed)

    def _on_rebuilt(self, result: tuple[list[str], int]) -> None:
        problems, runs = result
        self._rebuilding = False
        self._services.follower.poll_now()
        self.rebuilt.emit()
        if not problems:
            self.message_requested.emit(
                info(f"All run folders were read; the database lists {count_with_unit(runs, 'run')}.")
            )
            return
        count = count_with_unit(len(problems), "run folder")
        sentence = f"The database lists {count_with_unit(runs, 'run')}; {count} could not be read: {problems[0]}"
        self.message_requested.emit(warning(sentence, "\n\n".join(problems)))

    def _on_rebuild_failed(self, sentence: str) -> None:
        self._rebuilding = False
        self._failed(sentence)

    def _failed(self, sentence: str) -> None:
        self.message_requested.emit(error(sentence))

    def add_demo(self, panel: str) -> None:
        """Create missing demo data and experiments; ``demo_added`` follows."""
        store, configs = self._services.store, demo_configs(self._services.demo.folder)

        def write() -> dict[str, int]:
            ids = {experiment.name: experiment.id for experiment in store.experiments()}
            for name, config in configs.items():
                if name not in ids:
                    ids[name] = store.add_experiment(config, name).id
            return {name: ids[name] for name in configs}

        def done(demo: dict[str, int]) -> None:
            self.changed.emit(Changes(frozenset(demo.values())))
            self.demo_added.emit(demo[SHOWN_FIRST], panel)

        self._services.demo.make()
        self._write(write, done)

    def duplicate(self, experiment_id: int) -> None:
        """Add an editable copy without runs."""
        store = self._services.store
        self._write(lambda: store.duplicate_experiment(experiment_id), self._on_added)

    def rename(self, experiment_id: int, name: str) -> None:
        store = self._services.store
        self._change(lambda: store.rename_experiment(experiment_id, name), Changes.of(experiment=experiment_id))

    def describe(
        self,
        experiment_id: int,
        run_id: int | None,
        tags: list[str],
        note: str,
        before: tuple[list[str], str] | None = None,
    ) -> None:
        """Replace tags and note of a run, or of an experiment.

        ``before``: tags and note at the start of the edit. Tags that others have set since then are kept; a note that
        they have written since then is replaced only if the user asks for it.
        """
        store = self._services.store
        changes = Changes.of(experiment=experiment_id) if run_id is None else Changes.of(run=run_id)
        tags_before, note_before = before or (None, None)

        def write() -> None:
            if run_id is not None:
                store.tag_run(run_id, tags, tags_before)
                store.set_run_note(run_id, note, note_before)
            else:
                store.tag_experiment(experiment_id, tags, tags_before)
                store.set_experiment_note(experiment_id, note, note_before)

        def failed(problem: UserError) -> None:
            if not isinstance(problem, ChangedElsewhereError):
                self._revert_after_error(problem, write, changes)
                return
            self.changed.emit(changes)
            retry = (tags, problem.stored)
            keep = Remedy("Keep mine", lambda: self.describe(experiment_id, run_id, tags, note, retry))
            reload = Remedy("Reload", lambda: self.changed.emit(changes))
            details = f"In the other window:\n{problem.stored}\n\nYours:\n{note}"
            self.message_requested.emit(warning(str(problem), details, reload, keep))

        self._services.writer.submit(write, lambda _: self.changed.emit(changes), failed)

    def delete(self, experiment_id: int) -> None:
        """Move an experiment and its runs to the bin, with undo. Refused while it trains."""
        store, changes = self._services.store, Changes.of(experiment=experiment_id)

        def write() -> str:
            if any(run.state.alive for run in store.runs(experiment_id)):
                raise _TrainingError("A run of this experiment is training. Stop the run first.")
            store.delete_experiment(experiment_id)
            return store.experiment(experiment_id).name

        def done(name: str) -> None:
            self.changed.emit(changes)
            undo = Remedy("Undo", lambda: self._change(lambda: store.restore_experiment(experiment_id), changes))
            self.message_requested.emit(info(f"Moved “{name}” to the bin.", remedy=undo))

        self._write(write, done)

    def delete_study(self, study_id: int) -> None:
        """Move a study and its arms to the bin, with undo; its folder is kept. Refused while the study runs."""
        store = self._services.store
        if study_id in self._services.studies.alive():
            self.message_requested.emit(warning("The study is running. Stop it before you delete it."))
            return

        def delete() -> StudyRecord:
            store.delete_study(study_id)
            return store.study(study_id)

        def restore() -> StudyRecord:
            store.restore_study(study_id)
            return store.study(study_id)

        def changed(study: StudyRecord) -> None:
            self.changed.emit(Changes(frozenset(study.arms), studies=frozenset((study_id,))))

        def deleted(study: StudyRecord) -> None:
            changed(study)
            undo = Remedy("Undo", lambda: self._write(restore, changed))
            text = f"Moved “{study.name}” to the bin; its folder is kept."
            self.message_requested.emit(info(text, remedy=undo))

        self._write(delete, deleted)

    def empty_bin(self, parent: QWidget) -> None:
        """Permanently delete everything in the bin with the run folders that the store owns, after confirmation."""
        store = self._services.store
        if self._emptying:
            self.message_requested.emit(info("The bin is already being emptied."))
            return
        experiments, runs = store.experiments(deleted=True), store.runs(deleted=True)
        if not experiments and not runs:
            self.message_requested.emit(info("The bin is empty."))
            return
        groups = ((len(experiments), "experiment"), (len(runs), "run"))
        parts = [count_with_unit(number, name) for number, name in groups if number]
        every = [*runs, *(run for experiment in experiments for run in store.runs(experiment.id))]
        retained = [run for run in every if not store.owns(run)]
        losses = ", with their run folders and checkpoints" if len(retained) < len(every) else ""
        stay = " Folders of studies and of imported runs are kept." if retained else ""
        answer = QMessageBox.question(
            parent,
            "Empty the bin",
            f"Permanently delete {' and '.join(parts)}{losses}?{stay}",
            QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.Cancel,
            QMessageBox.StandardButton.Cancel,
        )
        if answer != QMessageBox.StandardButton.Yes:
            return

        def remove() -> list[str]:
            problems: list[str] = []
            for run in runs:
                with _collecting(problems):
                    store.delete_run(run.id, permanently=True, folder=True)
            for experiment in experiments:
                with _collecting(problems):
                    store.delete_experiment(experiment.id, permanently=True, folders=True)
            return problems

        self._emptying = True
        # replaces the message that offers to undo a deletion
        self.message_requested.emit(info("Emptying the bin…"))
        self._tasks.run(
            remove,
            lambda problems: self._on_emptied(_emptied_message(problems)),
            lambda reason: self._on_emptied(error(reason)),
        )

    def _on_emptied(self, message: Message) -> None:
        self._emptying = False
        self.changed.emit(Changes())  # the bin is not shown, but references to its contents may be
        self.message_requested.emit(message)

    def _change(self, write: Callable[[], object], changes: Changes) -> None:
        """Submit ``write``, which makes ``changes``; after an error the window shows the stored values again."""
        store_writer = self._services.writer
        store_writer.submit(
            write, lambda _: self.changed.emit(changes), lambda reason: self._revert_after_error(reason, write, changes)
        )

    def _revert_after_error(self, problem: UserError, write: Callable[[], object], changes: Changes) -> None:
        self.changed.emit(changes)
        self._show_refusal(problem, write, lambda _: self.changed.emit(changes))


class _TrainingError(UserError):
    """An active run cannot be deleted."""


@contextmanager
def _collecting(problems: list[str]) -> Iterator[None]:
    """Append error messages to ``problems`` and continue."""
    try:
        yield
    except StoreError as problem:
        problems.append(str(problem))


def _emptied_message(problems: list[str]) -> Message:
    if not problems:
        return info("The bin is empty.")
    remainder = f" {len(problems) - 1} more could not be deleted." if len(problems) > 1 else ""
    return warning(problems[0] + remainder, "\n\n".join(problems))
