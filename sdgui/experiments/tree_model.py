"""The tree of experiments and their runs as a Qt model, fed by the store and kept live by the tailer.

Flow: ``reload`` fills it once; ``refresh`` reads again what ``Changes`` names; ``update_run`` shows a run's progress.
Each changes only what differs, so that selection, ticks and unfolded branches stay. The newest come first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QStandardItem, QStandardItemModel

from core.spec.run.status import RunState
from sdgui.experiments.filter import Role
from sdgui.runs.live import RunProgress
from sdgui.runs.tailer import Tailer
from sdgui.shared.run_texts import (
    best_text,
    best_tip,
    experiment_line,
    mean_text,
    run_title,
    short_line,
    short_time,
    study_line,
    tags_text,
    when,
)
from sdgui.store.changes import Changes
from sdgui.store.records import BestPoint, Experiment, Run, StoreError, color_index
from sdgui.store.store import Store
from sdgui.store.studies import StudyRecord
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import theme

__all__ = ["ExperimentModel", "Role"]

Arms = Mapping[int, tuple[QStandardItem, int]]  # experiment id -> its study's row, and which arm of it it is


class ExperimentModel(QStandardItemModel):
    """Experiments at the top, their runs below. Texts are made here; the delegate paints them."""

    ticks_changed = Signal()
    rename_asked = Signal(int, str)

    def __init__(self, store: Store, tailer: Tailer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store, self._tailer = store, tailer
        self._experiments: dict[int, QStandardItem] = {}
        self._runs: dict[int, QStandardItem] = {}
        self._studies: dict[int, QStandardItem] = {}
        self._records: dict[int, Run] = {}
        self._configs: dict[int, Experiment] = {}
        self._best: dict[int, BestPoint | None] = {}
        self._ticked: set[int] = set()
        self._loading = False
        self.itemChanged.connect(self._item_changed)

    # Rows
    def experiment_index(self, experiment_id: int) -> QModelIndex:
        item = self._experiments.get(experiment_id)
        return self.indexFromItem(item) if item else QModelIndex()

    def run_index(self, run_id: int) -> QModelIndex:
        item = self._runs.get(run_id)
        return self.indexFromItem(item) if item else QModelIndex()

    def study_index(self, study_id: int) -> QModelIndex:
        item = self._studies.get(study_id)
        return self.indexFromItem(item) if item else QModelIndex()

    def study_of(self, index: QModelIndex) -> int | None:
        """The study of a row, or of its parents."""
        while index.isValid():
            study = index.data(Role.STUDY)
            if study is not None:
                return int(study)
            index = index.parent()
        return None

    def run(self, run_id: int) -> Run | None:
        """The record of a run in the tree, as of the last reload or change of state."""
        return self._records.get(run_id)

    def runs(self) -> list[Run]:
        return list(self._records.values())

    def newest_run(self, experiment_id: int) -> int | None:
        item = self._experiments.get(experiment_id)
        if item is None or item.rowCount() == 0:
            return None
        return int(item.child(0).data(Role.RUN))

    def runs_of_study(self, study_id: int) -> tuple[int, ...]:
        """The runs below a study, arm by arm, the newest of each first."""
        item = self._studies.get(study_id)
        arms = [] if item is None else [item.child(row) for row in range(item.rowCount())]
        return tuple(int(arm.child(row).data(Role.RUN)) for arm in arms for row in range(arm.rowCount()))

    def name(self, run_id: int) -> str:
        """Experiment and run, as named in legends and messages."""
        item = self._runs.get(run_id)
        return f"{item.parent().text()} · {item.text().lower()}" if item else f"run {run_id}"

    def experiment_name(self, experiment_id: int) -> str:
        item = self._experiments.get(experiment_id)
        return item.text() if item else ""

    def experiment_ids(self) -> list[int]:
        return sorted(self._experiments, reverse=True)

    # Ticks
    def ticked(self) -> tuple[int, ...]:
        return tuple(sorted(self._ticked))

    def set_ticked(self, run_ids: set[int]) -> None:
        """Tick these runs and no others; one signal, since every panel follows the ticks."""
        self._loading = True
        for run_id in (run_ids ^ self._ticked) & self._runs.keys():
            self._runs[run_id].setCheckState(Qt.CheckState.Checked if run_id in run_ids else Qt.CheckState.Unchecked)
        self._loading = False
        self._ticked = run_ids & self._runs.keys()
        self.ticks_changed.emit()

    # Updates
    def reload(self) -> None:
        """Read the whole store again. With thousands of runs this takes longer than a window may wait."""
        self._loading = True
        try:
            experiments = self._store.experiments()
            runs: dict[int, list[Run]] = {}
            for run in self._store.runs():
                runs.setdefault(run.experiment_id, []).append(run)
            self._drop({experiment.id for experiment in experiments}, {r.id for group in runs.values() for r in group})
            arms = self._put_studies()
            for experiment in experiments:
                self._put_experiment(experiment, runs.get(experiment.id, []), *arms.get(experiment.id, (None, None)))
            for item in self._studies.values():
                self._sum_up_study(item)
        finally:
            self._loading = False

    def refresh(self, changes: Changes) -> None:
        """Read the changed records again, of this window and of others."""
        self._loading = True
        try:
            runs, times = self._store.some_runs(changes.runs), self._store.changed_times()
            edited = {key for key, _ in times.items() ^ {(row.id, row.changed) for row in self._configs.values()}}
            arms = self._put_studies()
            for experiment_id in sorted(changes.experiments | edited):
                self._refresh_experiment(experiment_id, arms)
            for run_id in sorted(changes.runs):
                self._refresh_run(run_id, runs.get(run_id), arms)
            for item in self._studies.values():
                self._sum_up_study(item)
        finally:
            self._loading = False

    def _refresh_experiment(self, experiment_id: int, arms: Arms) -> None:
        try:
            experiment = self._store.experiment(experiment_id)
        except StoreError:  # removed for good
            experiment = None
        if experiment is None or experiment.deleted is not None:
            if experiment_id in self._experiments:
                self._drop_experiment(experiment_id)
            return
        study, arm = arms.get(experiment_id, (None, None))
        if experiment_id in self._experiments:
            item = self._put_label(experiment, self._experiments[experiment_id].rowCount(), study)
            for row in range(item.rowCount()):
                _set(item.child(row), Role.COLOR, color_index(int(item.child(row).data(Role.RUN)), arm))
            self._sum_up(item)
        else:
            self._put_experiment(experiment, self._store.runs(experiment_id), study, arm)

    def _refresh_run(self, run_id: int, run: Run | None, arms: Arms) -> None:
        item = self._runs.get(run_id)
        if run is None or run.deleted is not None:
            if item is not None:
                home = item.parent()
                self._drop_run(run_id)
                self._renumber(home)
            return
        parent = self._experiments.get(run.experiment_id)
        if parent is None:  # its experiment is in the bin
            return
        self._put_run(parent, run, parent.rowCount() - item.row() if item is not None else 0)
        if item is None:
            _set(self._runs[run_id], Role.COLOR, color_index(run_id, arms.get(run.experiment_id, (None, None))[1]))
            self._renumber(parent)
        else:
            self._sum_up(parent)

    def _renumber(self, parent: QStandardItem) -> None:
        """A run of the experiment came or went: the ordinals of the newer ones change."""
        total = parent.rowCount()
        for row in range(total):
            item = parent.child(row)
            _set(item, Qt.ItemDataRole.DisplayRole, run_title(self._records[int(item.data(Role.RUN))], total - row))
        experiment = self._configs[int(parent.data(Role.EXPERIMENT))]
        _set(parent, Role.DETAIL, experiment_line(experiment, total))
        self._sum_up(parent)

    def _drop(self, experiments: set[int], runs: set[int]) -> None:
        for run_id in set(self._runs) - runs:
            self._drop_run(run_id)
        for experiment_id in set(self._experiments) - experiments:
            self._drop_experiment(experiment_id)

    def _drop_run(self, run_id: int) -> None:
        item = self._runs[run_id]
        self._forget_run(run_id)
        item.parent().removeRow(item.row())

    def _forget_run(self, run_id: int) -> None:
        for records in (self._runs, self._records, self._best):
            records.pop(run_id, None)
        self._ticked.discard(run_id)

    def _drop_experiment(self, experiment_id: int) -> None:
        item = self._experiments.pop(experiment_id)
        self._configs.pop(experiment_id, None)
        for row in range(item.rowCount()):  # its runs went into the bin with it
            self._forget_run(int(item.child(row).data(Role.RUN)))
        (item.parent() or self.invisibleRootItem()).removeRow(item.row())

    def _put_studies(self) -> Arms:
        """Update the studies; the study and the arm of each of their experiments."""
        studies = self._store.studies()
        arms: dict[int, tuple[QStandardItem, int]] = {}
        for study in studies:
            item = self._put_study(study)
            arms |= {experiment_id: (item, index) for index, experiment_id in enumerate(study.arms)}
        for study_id in set(self._studies) - {study.id for study in studies}:
            gone = self._studies.pop(study_id)
            for _ in range(gone.rowCount()):  # its arms went into the bin with it
                self._drop_experiment(int(gone.child(0).data(Role.EXPERIMENT)))
            self.removeRow(gone.row())
        return arms

    def _put_study(self, study: StudyRecord) -> QStandardItem:
        item = self._studies.get(study.id)
        if item is None:
            item = self._studies[study.id] = QStandardItem()
            item.setData(study.id, Role.STUDY)
            item.setData(None, Role.EXPERIMENT)
            item.setData(None, Role.RUN)
            item.setEditable(False)
            self.insertRow(0, item)
        _set(item, Qt.ItemDataRole.DisplayRole, study.name)
        _set(item, Role.SEARCH, f"{study.name} study")
        _set(item, Qt.ItemDataRole.ToolTipRole, plain_tip(f"Study {study.name}\n{study.folder}"))
        return item

    def _sum_up_study(self, item: QStandardItem) -> None:
        arms = [item.child(row) for row in range(item.rowCount())]
        detail = study_line(len(arms), sum(arm.rowCount() for arm in arms))
        _set(item, Role.DETAIL, detail)
        alive = next((str(arm.data(Role.STATE)) for arm in arms if arm.data(Role.STATE)), "")
        _set(item, Role.STATE, alive)
        spoken = [item.text(), detail, alive]
        _set(item, Qt.ItemDataRole.AccessibleTextRole, ", ".join(part for part in spoken if part))

    def _put_experiment(
        self, experiment: Experiment, runs: list[Run], study: QStandardItem | None, arm: int | None
    ) -> None:
        """``study`` and ``arm``: its parent and index when its runs are those of a study's arm."""
        item = self._put_label(experiment, len(runs), study)
        for ordinal, run in enumerate(runs, start=1):
            self._put_run(item, run, ordinal)
            _set(self._runs[run.id], Role.COLOR, color_index(run.id, arm))
        self._sum_up(item)

    def _put_label(self, experiment: Experiment, runs: int, study: QStandardItem | None) -> QStandardItem:
        """The experiment's own row; ``runs``: how many it has."""
        self._configs[experiment.id] = experiment
        item = self._experiments.get(experiment.id)
        home = study or self.invisibleRootItem()
        if item is not None and (item.parent() or self.invisibleRootItem()) is not home:
            home.insertRow(home.rowCount() if study else 0, self._taken(item))
        if item is None:
            item = QStandardItem()
            item.setData(experiment.id, Role.EXPERIMENT)
            item.setData(None, Role.RUN)
            self._experiments[experiment.id] = item
            home.insertRow(home.rowCount() if study else 0, item)  # arms stand in the study's order
        _set(item, Qt.ItemDataRole.DisplayRole, experiment.name)
        _set(item, Role.DETAIL, experiment_line(experiment, runs))
        _set(item, Role.TAGS, tags_text(experiment.tags))
        _set(item, Role.SEARCH, f"{experiment.name} {' '.join(experiment.tags)} {experiment.note}")
        tip = experiment.problem or f"{experiment.name}\nCreated {when(experiment.created)}"
        _set(item, Qt.ItemDataRole.ToolTipRole, plain_tip(f"{tip}\n\n{experiment.note}".strip()))
        return item

    def _taken(self, item: QStandardItem) -> list[QStandardItem]:
        """The item's row, removed from its parent."""
        return (item.parent() or self.invisibleRootItem()).takeRow(item.row())

    def _put_run(self, parent: QStandardItem, run: Run, ordinal: int) -> None:
        item = self._runs.get(run.id)
        self._records[run.id] = run
        if item is None:
            item = QStandardItem()
            item.setData(run.experiment_id, Role.EXPERIMENT)
            item.setData(run.id, Role.RUN)
            item.setCheckable(True)
            item.setEditable(False)
            self._runs[run.id] = item
            parent.insertRow(_row_of(parent, run.id), item)
        _set(item, Qt.ItemDataRole.DisplayRole, run_title(run, ordinal))
        _set(item, Role.TAGS, tags_text(run.tags))
        _set(item, Role.SEARCH, f"{run.key} {' '.join(run.tags)} {run.note} {run.state}")
        self._show_progress(item, run, self._tailer.progress(run.id))

    def update_run(self, run_id: int, progress: RunProgress | None = None) -> None:
        """Show the current progress of a run; for a change of state, ``refresh_run`` reads the store too."""
        item, run = self._runs.get(run_id), self._records.get(run_id)
        if item is not None and run is not None:
            self._loading = True
            self._show_progress(item, run, progress or self._tailer.progress(run_id))
            self._sum_up(item.parent())
            self._loading = False

    def refresh_run(self, run_id: int) -> None:
        """A run's record changed in the store."""
        if run_id not in self._runs:
            return
        try:
            self._records[run_id] = self._store.run(run_id)
        except StoreError:  # removed for good meanwhile, perhaps by another window
            self.refresh(Changes.of(run=run_id))
        else:
            self.update_run(run_id)

    def _show_progress(self, item: QStandardItem, run: Run, progress: RunProgress | None) -> None:
        state = progress.state if progress else run.state
        best = progress.best if progress and progress.best else run.best
        _set(item, Role.STATE, str(state))
        _set(item, Role.DETAIL, short_line(run, progress))
        _set(item, Role.TIME, short_time(run, progress))
        self._best[run.id] = best
        _set(item, Role.BEST, best_text(best))
        step, total = (progress.step, progress.total_steps) if progress else (run.step, run.total_steps)
        _set(item, Role.SHARE, step / total if state.alive and total else None)
        failure = (progress.failure if progress else "") or run.failure
        lines = [f"{run.key}: {theme().state_text(state)}", best_tip(best), failure, run.note, str(run.folder)]
        _set(item, Qt.ItemDataRole.ToolTipRole, plain_tip("\n".join(line for line in lines if line)))
        spoken = [item.text(), item.data(Role.DETAIL), item.data(Role.TIME), best_text(best), item.data(Role.TAGS)]
        _set(item, Qt.ItemDataRole.AccessibleTextRole, ", ".join(part for part in spoken if part))

    def _sum_up(self, item: QStandardItem) -> None:
        """An experiment shows the best value of its runs, a study's arm their mean; and whether one is active."""
        runs = [item.child(row) for row in range(item.rowCount())]
        points = [point for run in runs if (point := self._best.get(int(run.data(Role.RUN)))) is not None]
        best = max(points, key=lambda point: point.value, default=None)
        _set(item, Role.BEST, best_text(best) if item.parent() is None else mean_text(points))
        alive = next((state for run in runs if RunState(state := str(run.data(Role.STATE))).alive), "")
        _set(item, Role.STATE, alive)
        if item.parent() is not None:
            self._sum_up_study(item.parent())
        spoken = [item.text(), item.data(Role.DETAIL), alive, item.data(Role.TAGS)]
        _set(item, Qt.ItemDataRole.AccessibleTextRole, ", ".join(part for part in spoken if part))

    # What the user does in the tree itself
    def setData(
        self, index: QModelIndex | QPersistentModelIndex, value: Any, role: int = int(Qt.ItemDataRole.EditRole)
    ) -> bool:
        if role == Qt.ItemDataRole.EditRole and not self._loading:
            name = str(value).strip()
            if name and name != index.data():
                self._loading = True
                super().setData(index, name, role)  # shown at once; where the store refuses it, the old one comes back
                self._loading = False
                self.rename_asked.emit(int(index.data(Role.EXPERIMENT)), name)
            return bool(name)
        return super().setData(index, value, role)

    def _item_changed(self, item: QStandardItem) -> None:
        if not self._loading and item.isCheckable():
            run_id, checked = int(item.data(Role.RUN)), item.checkState() == Qt.CheckState.Checked
            (self._ticked.add if checked else self._ticked.discard)(run_id)
            self.ticks_changed.emit()


def _row_of(parent: QStandardItem, run_id: int) -> int:
    """The row of a new run: the newest come first."""
    row = 0
    while row < parent.rowCount() and int(parent.child(row).data(Role.RUN)) > run_id:
        row += 1
    return row


def _set(item: QStandardItem, role: int, content: Any) -> None:
    """Write only changed data: every write repaints."""
    if item.data(role) != content:
        item.setData(content, role)
