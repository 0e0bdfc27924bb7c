"""The tree of experiments and studies as a Qt model, fed by the store and kept live by the follower.

Flow: ``reload`` fills the model once; ``refresh`` reads changed records again; ``update_run`` shows a run's progress in
the row of its experiment. Only differing data is changed, so that the selection and expanded studies are kept. The
first row represents all runs; the newest experiments follow. Runs have no rows here: the table of runs lists them.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QStandardItem, QStandardItemModel

from core.spec.run.status import RunState
from sdgui.experiments.filter import Role
from sdgui.runs.follower import Follower
from sdgui.runs.live import RunProgress
from sdgui.shared.run_texts import best_text, experiment_line, mean_text, study_line, tags_text, when
from sdgui.store.changes import Changes
from sdgui.store.records import BestPoint, Experiment, Run, StoreError
from sdgui.store.store import Store
from sdgui.store.studies import StudyRecord
from sdgui.widgets.formats import count_with_unit
from sdgui.widgets.plain_text import plain_tip

ALL_RUNS = "All runs"


class ExperimentModel(QStandardItemModel):
    """Experiments at the top level or below their study. The model makes the texts; the delegate paints them.

    The model also keeps the records of all runs, for their names and summaries.
    """

    rename_requested = Signal(int, str)

    def __init__(self, store: Store, follower: Follower, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store, self._follower = store, follower
        self._experiment_items: dict[int, QStandardItem] = {}
        self._study_items: dict[int, QStandardItem] = {}
        self._all_item: QStandardItem | None = None
        self._experiment_records: dict[int, Experiment] = {}
        self._run_records: dict[int, Run] = {}
        self._runs: dict[int, list[int]] = {}  # experiment id -> its runs, oldest first
        self._states: dict[int, str] = {}
        self._best: dict[int, BestPoint | None] = {}
        self._loading = False

    # Rows
    def experiment_index(self, experiment_id: int) -> QModelIndex:
        item = self._experiment_items.get(experiment_id)
        return self.indexFromItem(item) if item else QModelIndex()

    def study_index(self, study_id: int) -> QModelIndex:
        item = self._study_items.get(study_id)
        return self.indexFromItem(item) if item else QModelIndex()

    def all_index(self) -> QModelIndex:
        """The row of all runs; invalid if there are no experiments."""
        return self.indexFromItem(self._all_item) if self._all_item else QModelIndex()

    def study_of(self, index: QModelIndex) -> int | None:
        """The study of a row, or of its parent."""
        study = (index.parent() if index.parent().isValid() else index).data(Role.STUDY)
        return None if study is None else int(study)

    def experiments_of(self, index: QModelIndex) -> list[int] | None:
        """The experiments of a row: the experiment itself, or the arms of a study; None for all experiments."""
        if index.data(Role.EXPERIMENT) is not None:
            return [int(index.data(Role.EXPERIMENT))]
        if index.data(Role.STUDY) is None:
            return None
        return [int(self.index(row, 0, index).data(Role.EXPERIMENT)) for row in range(self.rowCount(index))]

    def experiment_name(self, experiment_id: int) -> str:
        item = self._experiment_items.get(experiment_id)
        return item.text() if item else ""

    def experiment_ids(self) -> list[int]:
        return sorted(self._experiment_items, reverse=True)

    # Runs
    def run(self, run_id: int) -> Run | None:
        """The record of a run, from the last reload or change of state."""
        return self._run_records.get(run_id)

    def runs(self) -> list[Run]:
        return list(self._run_records.values())

    def runs_of(self, experiment_id: int) -> tuple[int, ...]:
        """The runs of an experiment, newest first."""
        return tuple(reversed(self._runs.get(experiment_id, ())))

    def name(self, run_id: int) -> str:
        """The name of a run in legends and messages: experiment and number."""
        run = self._run_records.get(run_id)
        if run is None:
            return f"run {run_id}"
        return f"{self.experiment_name(run.experiment_id)} · run {self._runs[run.experiment_id].index(run_id) + 1}"

    # Updates
    def reload(self) -> None:
        """Read the whole store again; slow with thousands of runs."""
        with self._updating_rows():
            experiments = self._store.experiments()
            listed_ids = {experiment.id for experiment in experiments}  # runs of experiments in the bin are left out
            self._run_records = {run.id: run for run in self._store.runs() if run.experiment_id in listed_ids}
            self._runs, self._states, self._best = {}, {}, {}
            for run in self._run_records.values():
                self._runs.setdefault(run.experiment_id, []).append(run.id)
                self._record_progress(run, self._follower.progress(run.id))
            for experiment_id in set(self._experiment_items) - listed_ids:
                self._drop_experiment(experiment_id)
            arms = self._put_studies()
            for experiment in experiments:
                self._put_experiment(experiment, arms.get(experiment.id))

    def refresh(self, changes: Changes) -> None:
        """Read records again that this window or another one has changed."""
        with self._updating_rows():
            runs, times = self._store.runs_by_id(changes.runs), self._store.changed_times()
            known_times = {(record.id, record.changed) for record in self._experiment_records.values()}
            edited = {experiment_id for experiment_id, _ in times.items() ^ known_times}  # added and deleted ones too
            known_runs = (self._run_records.get(run_id) for run_id in changes.runs)
            touched = {run.experiment_id for run in known_runs if run is not None}
            for run_id in sorted(changes.runs):
                self._put_run(run_id, runs.get(run_id))
            arms = self._put_studies()
            touched |= {run.experiment_id for run in runs.values()}
            for experiment_id in sorted(changes.experiments | edited | touched):
                self._refresh_experiment(experiment_id, arms)

    @contextmanager
    def _updating_rows(self) -> Iterator[None]:
        """Suspend reactions to name edits while rows are written; afterwards update the summaries."""
        self._loading = True
        try:
            yield
            for item in self._study_items.values():
                self._sum_up_study(item)
            self._sum_up_all()
        finally:
            self._loading = False

    def _refresh_experiment(self, experiment_id: int, arms: Mapping[int, QStandardItem]) -> None:
        try:
            experiment = self._store.experiment(experiment_id)
        except StoreError:  # permanently deleted
            experiment = None
        if experiment is None or experiment.deleted is not None:
            self._drop_experiment(experiment_id)
            return
        if experiment_id not in self._experiment_items:
            for run in self._store.runs(experiment_id):
                self._put_run(run.id, run)
        self._put_experiment(experiment, arms.get(experiment_id))

    def _put_run(self, run_id: int, run: Run | None) -> None:
        """Update the record of a run; None, or a record in the bin, removes the run."""
        if run is None or run.deleted is not None:
            if (previous := self._run_records.pop(run_id, None)) is not None:
                self._runs[previous.experiment_id].remove(run_id)
            return
        if run_id not in self._run_records:
            insort(self._runs.setdefault(run.experiment_id, []), run_id)
        self._run_records[run_id] = run
        self._record_progress(run, self._follower.progress(run_id))

    def _drop_experiment(self, experiment_id: int) -> None:
        item = self._experiment_items.pop(experiment_id, None)
        self._experiment_records.pop(experiment_id, None)
        for run_id in self._runs.pop(experiment_id, ()):  # its runs are in the bin too
            self._run_records.pop(run_id, None)
        if item is not None:
            (item.parent() or self.invisibleRootItem()).removeRow(item.row())

    def _put_studies(self) -> dict[int, QStandardItem]:
        """Update the studies; returns the row of the study for each experiment of a study."""
        studies = self._store.studies()
        arms: dict[int, QStandardItem] = {}
        for study in studies:
            item = self._put_study(study)
            arms |= dict.fromkeys(study.arms, item)
        for study_id in set(self._study_items) - {study.id for study in studies}:
            removed = self._study_items.pop(study_id)
            for _ in range(removed.rowCount()):  # its arms are in the bin too
                self._drop_experiment(int(removed.child(0).data(Role.EXPERIMENT)))
            self.removeRow(removed.row())
        return arms

    def _put_study(self, study: StudyRecord) -> QStandardItem:
        item = self._study_items.get(study.id)
        if item is None:
            item = self._study_items[study.id] = _new_item()
            item.setData(study.id, Role.STUDY)
            self.insertRow(self._first_row(), item)
        _set(item, Qt.ItemDataRole.DisplayRole, study.name)
        _set(item, Role.SEARCH, f"{study.name} study")
        _set(item, Qt.ItemDataRole.ToolTipRole, plain_tip(f"Study {study.name}\n{study.folder}"))
        return item

    def _first_row(self) -> int:
        """The row at which a new experiment or study is inserted: below the row of all runs."""
        return 0 if self._all_item is None else 1

    def _put_experiment(self, experiment: Experiment, study: QStandardItem | None) -> None:
        """Update or create the experiment's row, at the top level or below its ``study``."""
        self._experiment_records[experiment.id] = experiment
        item = self._experiment_items.get(experiment.id)
        parent = study or self.invisibleRootItem()
        row = parent.rowCount() if study else self._first_row()  # arms are in the study's order
        if item is None:
            item = self._experiment_items[experiment.id] = _new_item(editable=True)
            item.setData(experiment.id, Role.EXPERIMENT)
            parent.insertRow(row, item)
        elif (item.parent() or self.invisibleRootItem()) is not parent:
            parent.insertRow(row, (item.parent() or self.invisibleRootItem()).takeRow(item.row()))
        runs = [self._run_records[run_id] for run_id in self._runs.get(experiment.id, ())]
        words = [experiment.name, *experiment.tags, experiment.note]
        words += [word for run in runs for word in (run.key, *run.tags, run.note)]
        _set(item, Qt.ItemDataRole.DisplayRole, experiment.name)
        _set(item, Role.DETAIL, experiment_line(experiment, len(runs)))
        _set(item, Role.TAGS, tags_text(experiment.tags))
        _set(item, Role.SEARCH, " ".join(words))
        tip = experiment.problem or f"{experiment.name}\nCreated {when(experiment.created)}"
        _set(item, Qt.ItemDataRole.ToolTipRole, plain_tip(f"{tip}\n\n{experiment.note}".strip()))
        self._sum_up_experiment(experiment.id)

    def update_run(self, run_id: int, progress: RunProgress | None = None) -> None:
        """Show the current progress of a run; for a change of state, ``refresh_run`` reads the store too."""
        run = self._run_records.get(run_id)
        if run is not None and self._record_progress(run, progress or self._follower.progress(run_id)):
            self._sum_up_experiment(run.experiment_id)
            study = self._experiment_items[run.experiment_id].parent()
            if study is not None:
                self._sum_up_study(study)
            self._sum_up_all()

    def refresh_run(self, run_id: int) -> None:
        """Read a run's record from the store again."""
        if run_id not in self._run_records:
            return
        try:
            self._run_records[run_id] = self._store.run(run_id)
        except StoreError:  # deleted, perhaps by another window
            self.refresh(Changes.of(run=run_id))
        else:
            self.update_run(run_id)

    def _record_progress(self, run: Run, progress: RunProgress | None) -> bool:
        """Record the state and best value of a run; returns whether one of them has changed."""
        state = str(progress.state if progress else run.state)
        best = progress.best if progress and progress.best else run.best
        changed = (self._states.get(run.id), self._best.get(run.id)) != (state, best)
        self._states[run.id], self._best[run.id] = state, best
        return changed

    def _sum_up_experiment(self, experiment_id: int) -> None:
        """Show an experiment's best value (for a study's arm, the mean), and whether a run is active or failed."""
        item, runs = self._experiment_items[experiment_id], self._runs.get(experiment_id, ())
        points = [point for run in runs if (point := self._best[run]) is not None]
        best = max(points, key=lambda point: point.value, default=None)
        _set(item, Role.BEST, best_text(best) if item.parent() is None else mean_text(points))
        states = dict.fromkeys(self._states[run] for run in reversed(runs))
        newest = next(iter(states), "")
        active = _active(states)
        _set(item, Role.STATE, active or (newest if newest in (RunState.FAILED, RunState.INTERRUPTED) else ""))
        _set(item, Role.STATES, " ".join(states))
        _set_accessible_text(item)

    def _sum_up_study(self, item: QStandardItem) -> None:
        arms = [item.child(row) for row in range(item.rowCount())]
        runs = sum(len(self._runs.get(int(arm.data(Role.EXPERIMENT)), ())) for arm in arms)
        _set(item, Role.DETAIL, study_line(len(arms), runs))
        states = [state for arm in arms if (state := arm.data(Role.STATE))]
        _set(item, Role.STATE, _active(states) or next(iter(states), ""))
        _set_accessible_text(item)

    def _sum_up_all(self) -> None:
        """Update the row of all runs, if there is an experiment."""
        if self._experiment_items and self._all_item is None:
            self._all_item = _new_item(ALL_RUNS)
            _set(self._all_item, Role.SEARCH, ALL_RUNS)
            _set(self._all_item, Qt.ItemDataRole.ToolTipRole, "The runs of all experiments")
            self.insertRow(0, self._all_item)
        elif not self._experiment_items and self._all_item is not None:
            self.removeRow(self._all_item.row())
            self._all_item = None
        if self._all_item is not None:
            running = sum(RunState(self._states[run_id]).alive for run_id in self._run_records)
            parts = [count_with_unit(len(self._run_records), "run"), f"{running} running" if running else ""]
            _set(self._all_item, Role.DETAIL, " · ".join(part for part in parts if part))
            _set_accessible_text(self._all_item)

    # What the user does in the tree itself
    def setData(
        self, index: QModelIndex | QPersistentModelIndex, value: Any, role: int = int(Qt.ItemDataRole.EditRole)
    ) -> bool:
        if role == Qt.ItemDataRole.EditRole and not self._loading:
            name = str(value).strip()
            if name and name != index.data():
                super().setData(index, name, role)  # shown immediately; reverted if the store refuses
                self.rename_requested.emit(int(index.data(Role.EXPERIMENT)), name)
            return bool(name)
        return super().setData(index, value, role)


def _new_item(text: str = "", editable: bool = False) -> QStandardItem:
    item = QStandardItem(text)
    item.setEditable(editable)
    return item


def _active(states: Iterable[str]) -> str:
    """The first state of an active run; "" if there is none."""
    return next((state for state in states if RunState(state).alive), "")


def _set(item: QStandardItem, role: int, content: Any) -> None:
    """Write only changed data: every write repaints."""
    if item.data(role) != content:
        item.setData(content, role)


def _set_accessible_text(item: QStandardItem) -> None:
    """Set the text of a row for screen readers."""
    spoken = [item.text(), *(item.data(role) for role in (Role.DETAIL, Role.BEST, Role.STATE, Role.TAGS))]
    _set(item, Qt.ItemDataRole.AccessibleTextRole, ", ".join(part for part in spoken if part))
