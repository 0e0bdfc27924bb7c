"""The left side of the window: the tree of experiments and studies, the selected run and the ticked runs.

Flow: the panel owns the tree's model, the chosen run and the ticks, and emits ``selected`` when any of them changes;
the main window passes that ``Selection`` to the panels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPoint, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QMenu, QWidget

from core.spec.run.status import RunState
from sdgui.experiments.filter import ExperimentFilter, Role
from sdgui.experiments.tree import NO_EXPERIMENTS, ExperimentTree
from sdgui.experiments.tree_model import ExperimentModel
from sdgui.shared.menus import EXPERIMENT_MENU, STUDY_MENU
from sdgui.shared.services import Selection, Services
from sdgui.shared.stored_json import parse_number, parse_stored
from sdgui.store.changes import Changes
from sdgui.widgets.actions import ActionButton, Actions
from sdgui.widgets.drop_target import FileDrop
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE


class ExperimentsPanel(QWidget):
    """The tree with its filter and buttons; experiments and runs are changed by actions."""

    selected = Signal(object)  # Selection
    opened = Signal()  # Enter or a double click on an experiment
    import_requested = Signal(Path)  # a run folder, or logs of another tool, that were dropped

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        FileDrop(self, "Import this run").dropped.connect(lambda path: self.import_requested.emit(Path(path)))
        self._services = services
        self._actions: Actions | None = None
        self._emitted: Selection | None = None  # last emitted selection
        self._selected_row = QPersistentModelIndex()  # selected row of the model; kept while the filter hides it
        self._run: int | None = None  # the chosen run, among those of the selected row
        self._next_run: int | None = None  # run to choose once the row is selected
        self._ticked: frozenset[int] = frozenset()
        self._filtering = False
        self.model = ExperimentModel(services.store, services.follower, self)
        self._filter = ExperimentFilter(self)
        self._filter.setSourceModel(self.model)
        self.tree = ExperimentTree(self)
        self.tree.setModel(self._filter)
        self.tree.customContextMenuRequested.connect(self._menu)
        self.tree.activated.connect(self._on_activated)
        self.tree.clicked.connect(lambda _index: self._choose_run(None))  # the experiment itself, not one of its runs
        self.tree.selectionModel().currentChanged.connect(self._on_current_changed)
        self.filter_box = QLineEdit(self)
        self.filter_box.setPlaceholderText("Filter by name, tag, note or state")
        self.filter_box.setAccessibleName("Filter experiments")
        self.filter_box.setClearButtonEnabled(True)
        self.filter_box.textChanged.connect(self._on_filter_typed)
        self._title = PlainLabel("Experiments", self, role="title")
        self._top = QHBoxLayout()
        self._top.addWidget(self._title, 1)
        vbox(self._top, self.filter_box, (self.tree, 1), into=self, margins=SPACE)
        follower = services.follower
        follower.progress_changed.connect(self.model.update_run)
        follower.state_changed.connect(self.model.refresh_run)

    def set_actions(self, actions: Actions) -> None:
        """Set the actions of the context menus and of the New button."""
        self._actions = actions
        self._top.addWidget(ActionButton(actions["new"], self))

    # Selection
    def selection(self) -> Selection:
        """The selected row, the chosen run and the ticked runs."""
        index, run = self._selected_index(), self.model.run(self._run or 0)
        ticked = tuple(run_id for run_id in sorted(self._ticked) if self.model.run(run_id) is not None)
        experiment, study = self.selected_ids()
        experiments = self.model.experiments_of(index) if index.isValid() else None
        runs: tuple[int, ...] = ()
        if experiment is None and study is not None and run is None:
            runs = tuple(run_id for arm in experiments or () for run_id in self.model.runs_of(arm))
        if run is not None:
            experiment = run.experiment_id
        newest = None if experiment is None else next(iter(self.model.runs_of(experiment)), None)
        return Selection(
            experiment_id=experiment,
            run_id=None if run is None else run.id,
            current_run_id=newest if run is None else run.id,
            ticked=ticked,
            study_id=study,
            study_runs=runs,
            ticked_experiments=frozenset(
                record.experiment_id for run_id in ticked if (record := self.model.run(run_id)) is not None
            ),
            listed=None if experiments is None else frozenset(experiments),
        )

    def selected_ids(self) -> tuple[int | None, int | None]:
        """The experiment and the study of the selected row; neither for the row of all runs."""
        index = self._selected_index()
        experiment = index.data(Role.EXPERIMENT)
        return None if experiment is None else int(experiment), self.model.study_of(index)

    def _selected_index(self) -> QModelIndex:
        """The selected row of the model; invalid if there is none."""
        return QModelIndex(self._selected_row)  # type: ignore[call-overload, no-any-return]  # not in the stub

    def select_experiment(self, experiment_id: int) -> None:
        """Select an experiment without choosing a run."""
        self._run = None
        self.select(self.model.experiment_index(experiment_id))
        self._emit_if_changed()

    def select_run(self, run_id: int) -> None:
        """Choose a run; its experiment is selected unless the selected row lists the run."""
        run, index = self.model.run(run_id), self._selected_index()
        if run is None:
            return
        experiments = self.model.experiments_of(index) if index.isValid() else []
        if experiments is not None and run.experiment_id not in experiments:
            self._next_run = run_id
            self.select(self.model.experiment_index(run.experiment_id))
            self._next_run = None
        self._choose_run(run_id)

    def _choose_run(self, run_id: int | None) -> None:
        self._run = run_id
        self._emit_if_changed()

    def set_ticked(self, run_ids: Iterable[int]) -> None:
        """Overlay these runs and no others."""
        self._ticked = frozenset(run_ids)
        self._emit_if_changed()

    def select(self, source: QModelIndex) -> None:
        """Select a row of the model, expanding its parent."""
        if source.isValid() and not self._filter.mapFromSource(source).isValid():
            self.filter_box.clear()
        index = self._filter.mapFromSource(source)
        if index.isValid():
            self.tree.expand(index.parent())
            self.tree.setCurrentIndex(index)
            self.tree.scrollTo(index)

    def select_any(self) -> None:
        """Select the first experiment or study if nothing is selected."""
        if not self._selected_row.isValid() and (number := self._filter.rowCount()):
            # the first row may be that of all runs
            is_all_first = self._filter.mapToSource(self._filter.index(0, 0)) == self.model.all_index()
            self.tree.setCurrentIndex(self._filter.index(1 if is_all_first and number > 1 else 0, 0))

    def rename(self) -> None:
        """Edit the selected experiment's name in the tree."""
        index = self.tree.currentIndex()
        if index.isValid() and index.data(Role.EXPERIMENT) is not None:
            self.tree.edit(index)

    def reload(self) -> None:
        """Read the whole store again; the selection is kept where possible."""
        self._update(self.model.reload)

    def refresh(self, changes: Changes) -> None:
        """Read the changed records again; the selection is kept where possible."""
        self._update(lambda: self.model.refresh(changes))

    def _update(self, update: Callable[[], None]) -> None:
        was_empty = self.model.rowCount() == 0
        update()
        if was_empty:
            self.tree.expandAll()
        self.select_any()
        self._emit_if_changed()

    def _on_current_changed(self, current: QModelIndex, _before: QModelIndex) -> None:
        if not self._filtering:
            self._selected_row = QPersistentModelIndex(self._filter.mapToSource(current))
            self._choose_run(self._next_run)

    def _emit_if_changed(self) -> None:
        """Emit the selection only if it has changed: every panel follows it."""
        selection = self.selection()
        if selection != self._emitted:
            self._emitted = selection
            self.selected.emit(selection)

    def _on_filter_typed(self, text: str) -> None:
        """Show matching rows; the selection is kept, visible or not."""
        self._filtering = True
        self._filter.set_text(text)
        self.tree.empty_text = "No matches" if text else NO_EXPERIMENTS
        if text:
            self.tree.expandAll()
        self.tree.setCurrentIndex(self._filter.mapFromSource(self._selected_index()))
        self._filtering = False
        self.select_any()

    def _on_activated(self, index: QModelIndex) -> None:
        if self._filter.hasChildren(index):
            self.tree.setExpanded(index, not self.tree.isExpanded(index))
        else:
            self.opened.emit()

    def _menu(self, point: QPoint) -> None:
        index = self.tree.indexAt(point)
        if not index.isValid() or self._actions is None:
            return
        self.tree.setCurrentIndex(index)
        self._choose_run(None)
        if index.data(Role.EXPERIMENT) is None and index.data(Role.STUDY) is None:
            return
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._actions.fill_menu(menu, EXPERIMENT_MENU if index.data(Role.STUDY) is None else STUDY_MENU)
        menu.popup(self.tree.viewport().mapToGlobal(point))

    # Saved between sessions
    def save(self) -> None:
        """Write selection, ticks and collapsed studies to the settings."""
        settings, selection, (experiment, study) = self._services.settings, self.selection(), self.selected_ids()
        row = ("experiment", experiment) if experiment is not None else ("study", study) if study else ("all", 0)
        settings.setValue("tree/row", json.dumps(row))
        settings.setValue("tree/run", selection.run_id or 0)
        settings.setValue("tree/ticked", json.dumps(selection.ticked))
        rows = [self._filter.index(row, 0) for row in range(self._filter.rowCount())]
        folded = [
            int(row.data(Role.STUDY))
            for row in rows
            if row.data(Role.STUDY) is not None and not self.tree.isExpanded(row)
        ]
        settings.setValue("tree/folded", json.dumps(folded))

    def restore(self) -> None:
        """Restore what ``save`` wrote; studies with active runs are expanded, so that the user sees them."""
        settings, model = self._services.settings, self.model
        self._ticked = frozenset(_parse_numbers(settings.value("tree/ticked", "[]")))
        alive = {run.experiment_id for run in model.runs() if RunState(run.state).alive}
        for study_id in _parse_numbers(settings.value("tree/folded", "[]")):
            index = model.study_index(study_id)
            if index.isValid() and not alive.intersection(model.experiments_of(index) or ()):
                self.tree.collapse(self._filter.mapFromSource(index))
        kind, number = _parse_row(settings.value("tree/row", "[]"))
        index = model.study_index(number) if kind == "study" else model.experiment_index(number)
        self.select(model.all_index() if kind == "all" else index)
        self.select_run(parse_number(settings.value("tree/run"), 0))
        self.select_any()
        self._emit_if_changed()


def _parse_row(text: object) -> tuple[str, int]:
    """Parse the kind and id of the selected row from the settings."""
    try:
        kind, number = parse_stored(text, list)
        return str(kind), int(number)
    except (TypeError, ValueError):
        return "", 0


def _parse_numbers(text: object) -> list[int]:
    """Parse a list of numbers from the settings; an unreadable entry counts as empty."""
    return [int(number) for number in parse_stored(text, list) if isinstance(number, int)]
