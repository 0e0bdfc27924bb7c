"""The left of the window: experiments and their runs, filtered, ticked and selected.

Flow: the panel owns the tree's model and its selection, and emits ``selected`` when selection or ticks change;
the main window passes that ``Selection`` to the panels.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPoint, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QMenu, QVBoxLayout, QWidget

from core.spec.run.status import RunState
from sdgui.experiments.filter import ExperimentFilter, Role
from sdgui.experiments.tree import ExperimentTree
from sdgui.experiments.tree_model import ExperimentModel
from sdgui.shared.menus import EXPERIMENT_MENU, RUN_MENU, STUDY_MENU
from sdgui.shared.services import Selection, Services
from sdgui.store.changes import Changes
from sdgui.widgets.actions import ActionButton, Actions
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE, set_role


class ExperimentsPanel(QWidget):
    """Tree, filter box and buttons; experiments and runs are changed by the actions."""

    selected = Signal(object)  # Selection
    run_opened = Signal(int)  # run id: Enter or a double click on a run

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self._actions: Actions | None = None
        self._emitted: Selection | None = None  # the last one
        self._selected_row = (
            QPersistentModelIndex()
        )  # the selected row of the model: it stays while the filter hides it
        self._filtering = False
        self.model = ExperimentModel(services.store, services.tailer, self)
        self._filter = ExperimentFilter(self)
        self._filter.setSourceModel(self.model)
        self.tree = ExperimentTree(services.colors, self)
        self.tree.setModel(self._filter)
        self.tree.customContextMenuRequested.connect(self._menu)
        self.tree.activated.connect(self._activated)
        self.tree.selectionModel().currentChanged.connect(self._current_changed)
        self.model.ticks_changed.connect(self._changed)
        self.filter_box = QLineEdit(self)
        self.filter_box.setPlaceholderText("Filter by name, tag, note or state")
        self.filter_box.setAccessibleName("Filter experiments and runs")
        self.filter_box.setClearButtonEnabled(True)
        self.filter_box.textChanged.connect(self._filter_typed)
        self._title = PlainLabel("Experiments", self)
        set_role(self._title, "title")
        self._top = QHBoxLayout()
        self._top.addWidget(self._title, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(SPACE, SPACE, SPACE, SPACE)
        layout.setSpacing(SPACE)
        layout.addLayout(self._top)
        layout.addWidget(self.filter_box)
        layout.addWidget(self.tree, 1)
        tailer = services.tailer
        tailer.progress_changed.connect(self.model.update_run)
        tailer.state_changed.connect(self.model.refresh_run)

    def set_actions(self, actions: Actions) -> None:
        """The actions of the context menus, and the one behind the New button."""
        self._actions = actions
        self._top.addWidget(ActionButton(actions["new"], self))

    # Selection
    def selection(self) -> Selection:
        """The selected row and the ticked runs."""
        index = self._selected_index()
        ticked = self.model.ticked()
        records = [self.model.run(run) for run in ticked]
        ticks = Selection(
            ticked=ticked, ticked_experiments=frozenset(run.experiment_id for run in records if run is not None)
        )
        if not index.isValid():
            return ticks
        study_id = self.model.study_of(index)
        if index.data(Role.EXPERIMENT) is None:
            runs = () if study_id is None else self.model.runs_of_study(study_id)
            return replace(ticks, study_id=study_id, study_runs=runs)
        experiment_id, run_id = int(index.data(Role.EXPERIMENT)), index.data(Role.RUN)
        current = int(run_id) if run_id is not None else self.model.newest_run(experiment_id)
        run_id = None if run_id is None else int(run_id)
        return replace(ticks, experiment_id=experiment_id, run_id=run_id, current_run=current, study_id=study_id)

    def _selected_index(self) -> QModelIndex:
        """The selected row of the model; invalid where none is."""
        selected = self._selected_row
        return (
            self.model.index(selected.row(), selected.column(), selected.parent())
            if selected.isValid()
            else QModelIndex()
        )

    def select_experiment(self, experiment_id: int) -> None:
        self.select(self.model.experiment_index(experiment_id))

    def select_run(self, run_id: int) -> None:
        """Select a run, expanding its experiment."""
        self.select(self.model.run_index(run_id))

    def select(self, source: QModelIndex) -> None:
        """Select a row of the model, expanding its parents."""
        if source.isValid() and not self._filter.mapFromSource(source).isValid():
            self.filter_box.clear()
        index = self._filter.mapFromSource(source)
        if index.isValid():
            above = index.parent()
            while above.isValid():
                self.tree.expand(above)
                above = above.parent()
            self.tree.setCurrentIndex(index)
            self.tree.scrollTo(index)

    def select_any(self) -> None:
        """Select the first experiment, when nothing is selected."""
        if not self._selected_row.isValid() and self._filter.rowCount() > 0:
            self.tree.setCurrentIndex(self._filter.index(0, 0))

    def toggle_tick(self) -> None:
        """Tick or untick the selected run; for an experiment, all of its runs."""
        index = self._selected_index()
        if not index.isValid():
            return
        run_ids, ticked = {int(each.data(Role.RUN)) for each in self._runs_of(index)}, set(self.model.ticked())
        self.model.set_ticked(ticked - run_ids if run_ids <= ticked else ticked | run_ids)

    def _runs_of(self, index: QModelIndex) -> list[QModelIndex]:
        """A run itself; the runs below an experiment or a study."""
        if index.data(Role.RUN) is not None:
            return [index]
        below = [self.model.index(row, 0, index) for row in range(self.model.rowCount(index))]
        return [run for child in below for run in self._runs_of(child)]

    def rename(self) -> None:
        """Edit the selected experiment's name in the tree; a run has a number for its name."""
        index = self.tree.currentIndex()
        if index.isValid() and index.data(Role.RUN) is not None:
            index = index.parent()
        if index.isValid() and index.data(Role.EXPERIMENT) is not None:
            self.tree.setCurrentIndex(index)
            self.tree.edit(index)

    def current_rect_bottom(self) -> QPoint:
        """Below the selected row, on the screen: where a popup about it opens."""
        rect = self.tree.visualRect(self.tree.currentIndex())
        return self.tree.viewport().mapToGlobal(rect.bottomLeft() if rect.isValid() else QPoint(SPACE, SPACE))

    def reload(self) -> None:
        """Read the whole store again; the selection is kept where possible."""
        self._update(self.model.reload)

    def refresh(self, changes: Changes) -> None:
        """Read the changed records again; the selection is kept where possible."""
        self._update(lambda: self.model.refresh(changes))

    def _update(self, update: Callable[[], None]) -> None:
        before = self.selection()
        first = self.model.rowCount() == 0
        update()
        if first:
            self.tree.expandAll()
        if before.run_id is not None and not self.model.run_index(before.run_id).isValid() and before.experiment_id:
            self.select_experiment(before.experiment_id)
        self.select_any()
        self._changed()

    def _current_changed(self, current: QModelIndex, _before: QModelIndex) -> None:
        if not self._filtering:
            self._selected_row = QPersistentModelIndex(self._filter.mapToSource(current))
            self._changed()

    def _changed(self, *_: object) -> None:
        """Emit it once: every panel follows the selection."""
        selection = self.selection()
        if selection != self._emitted:
            self._emitted = selection
            self._show_colors(selection)
            self.selected.emit(selection)

    def _show_colors(self, selection: Selection) -> None:
        rows = {run_id: self.model.run_index(run_id) for run_id in selection.watched}
        colors = {run_id: int(row.data(Role.COLOR)) for run_id, row in rows.items() if row.isValid()}
        self._services.colors.show(colors)
        self.tree.viewport().update()

    def _filter_typed(self, text: str) -> None:
        """Show what matches; what is selected stays selected, in view or not."""
        self._filtering = True
        self._filter.set_text(text)
        if text:
            self.tree.expandAll()
        self.tree.setCurrentIndex(self._filter.mapFromSource(self._selected_index()))
        self._filtering = False
        self.select_any()

    def _activated(self, index: QModelIndex) -> None:
        run_id = index.data(Role.RUN)
        if run_id is not None:
            self.run_opened.emit(int(run_id))
        else:
            self.tree.setExpanded(index, not self.tree.isExpanded(index))

    def _menu(self, point: QPoint) -> None:
        index = self.tree.indexAt(point)
        if not index.isValid() or self._actions is None:
            return
        self.tree.setCurrentIndex(index)
        name = EXPERIMENT_MENU if index.data(Role.RUN) is None else RUN_MENU
        if index.data(Role.STUDY) is not None:
            name = STUDY_MENU
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._actions.fill_menu(menu, name)
        menu.popup(self.tree.viewport().mapToGlobal(point))

    # Kept over a restart
    def save(self) -> None:
        """Write selection, ticks and collapsed experiments to the settings."""
        settings, selection = self._services.settings, self.selection()
        settings.setValue("tree/experiment", selection.experiment_id or 0)
        settings.setValue("tree/run", selection.run_id or 0)
        settings.setValue("tree/ticked", json.dumps(selection.ticked))
        model, proxy_index = self.model, self._filter.mapFromSource
        folded = [
            experiment_id
            for experiment_id in model.experiment_ids()
            if not self.tree.isExpanded(proxy_index(model.experiment_index(experiment_id)))
        ]
        settings.setValue("tree/folded", json.dumps(folded))

    def restore(self) -> None:
        """Restore what ``save`` wrote; experiments with active runs are expanded, so that reattaching is seen."""
        settings = self._services.settings
        self.model.set_ticked(set(_numbers(settings.value("tree/ticked", "[]"))))
        alive = {run.experiment_id for run in self.model.runs() if RunState(run.state).alive}
        for experiment_id in _numbers(settings.value("tree/folded", "[]")):
            if experiment_id not in alive:
                self.tree.collapse(self._filter.mapFromSource(self.model.experiment_index(experiment_id)))
        run, experiment = (int(str(settings.value(f"tree/{kind}", 0)) or 0) for kind in ("run", "experiment"))
        if self.model.run_index(run).isValid():
            self.select_run(run)
        elif self.model.experiment_index(experiment).isValid():
            self.select_experiment(experiment)
        else:
            self.select_any()


def _numbers(text: object) -> list[int]:
    """A list of numbers from the settings; an unreadable entry counts as empty."""
    try:
        raw = json.loads(str(text))
    except json.JSONDecodeError:
        return []
    return [int(number) for number in raw if isinstance(number, int)] if isinstance(raw, list) else []
