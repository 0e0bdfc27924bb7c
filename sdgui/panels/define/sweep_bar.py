"""The settings of an experiment that a sweep searches over, and the button that creates the sweep.

Flow: right click on a setting -> *Search over…* -> ``SweepBar`` lists it -> *Create sweep* -> ``StudyPrograms`` ->
``created``, and the Study panel shows it.
"""

from __future__ import annotations

import json
from functools import partial

from PySide6.QtCore import QPoint, Signal
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFrame,
    QLineEdit,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from core.spec.config import RunConfig
from core.spec.errors import UserError
from core.spec.study import MAX_ITEMS
from core.spec.study.sweep import SET_BY_SWEEP, SearchRange
from sdgui.panels.define.sweep_model import parse_values, suggested_values, sweep_of, values_text
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.shared.form.fields import FieldSpec
from sdgui.shared.form.form import ConfigForm
from sdgui.shared.form.texts import field_title
from sdgui.shared.services import Services
from sdgui.shared.stored_json import parse_stored
from sdgui.store.studies import StudyRecord
from sdgui.widgets.input_boxes import NoWheelSpinBox
from sdgui.widgets.layouts.boxes import clear_layout, hbox
from sdgui.widgets.layouts.flow_layout import FlowLayout
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, hide_spin_buttons, set_role

_DEFAULT_STEPS, _DEFAULT_TRIALS = 300, 30


class ValuesDialog(QDialog):
    """Asks for the values of one setting; ``values()`` returns them after the dialog is accepted."""

    def __init__(self, spec: FieldSpec, text: str, config: RunConfig, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Search over {spec.title.lower()}")
        self._spec, self._config = spec, config
        about = PlainLabel(
            f"{spec.help}\nA range (1e-5 to 1e-2 log; 16 to 64 step 16) or choices (0, 0.1, 0.2).", self, wordWrap=True
        )
        self.line = QLineEdit(text, self)
        self.line.setAccessibleName("Values")
        self.problem = PlainLabel(self, wordWrap=True, role="error")
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel, self
        )
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        for widget in (about, self.line, self.problem, self.buttons):
            column.addWidget(widget)
        self.setMinimumWidth(60 * SPACE)
        self.line.textChanged.connect(self._check)
        self.line.selectAll()
        self._check()

    def values(self) -> SearchRange:
        """The typed values. Raises ValueError or UserError if they cannot be searched."""
        return parse_values(self._spec, self.line.text(), self._config)

    def _check(self) -> None:
        try:
            self.values()
            problem = ""
        except (ValueError, UserError) as error:
            problem = str(error)
        self.problem.setText(problem)
        self.buttons.button(QDialogButtonBox.StandardButton.Ok).setEnabled(not problem)


class SweepBar(QFrame):
    """The settings to search over; hidden if there are none. ``created``: the folder of a new sweep."""

    created = Signal(str)

    def __init__(self, services: Services, form: ConfigForm, parent: QWidget) -> None:
        super().__init__(parent)
        set_role(self, "card")
        self._services, self._form = services, form
        self._tasks = BackgroundTasks(self)
        self._experiment_id: int | None = None
        self.space: dict[str, SearchRange] = {}  # setting's path -> the values to search over
        self.steps, self.trials = NoWheelSpinBox(self), NoWheelSpinBox(self)
        for box, name, value, maximum in (
            (self.steps, "Steps", _DEFAULT_STEPS, 10**9),
            (self.trials, "Trials", _DEFAULT_TRIALS, MAX_ITEMS - 1),
        ):
            box.setRange(1, maximum)
            box.setValue(value)
            box.setAccessibleName(name)
            hide_spin_buttons(box)
        self.steps.setToolTip("Optimiser steps of each trial")
        self.trials.setToolTip("Number of trials; a sweep can be extended later")
        self.create_button = QPushButton("Create sweep", self)
        self.create_button.setToolTip("Create a sweep over these settings; start the sweep in Study")
        self.problem = PlainLabel(self, wordWrap=True, role="error")
        self._chips = FlowLayout()
        steps, trials = (PlainLabel(name, self) for name in ("Steps", "Trials"))
        parts = (steps, self.steps, trials, self.trials, self.create_button)
        row = hbox(PlainLabel("Search over", self), (self._chips, 1), *parts)
        column = QVBoxLayout(self)
        column.addLayout(row)
        column.addWidget(self.problem)
        self.create_button.clicked.connect(self._create)
        form.row_menu_requested.connect(self.open_menu)
        form.updated.connect(self._show)
        self._show()

    def show_experiment(self, experiment_id: int | None) -> None:
        """Show the settings to search over for this experiment."""
        if experiment_id == self._experiment_id:
            return
        self._experiment_id = experiment_id
        raw = parse_stored(self._services.settings.value(self._settings_key()), dict)
        try:
            self.space = {name: SearchRange.model_validate(values) for name, values in raw.items()}
        except ValueError:
            self.space = {}
        self._show()

    def _settings_key(self) -> str:
        return f"sweeps/{self._experiment_id}"

    def menu(self, path: str) -> QMenu:
        """The context menu of the setting ``path``."""
        menu = QMenu(self)
        search = menu.addAction("Search over…")
        is_searchable = path not in SET_BY_SWEEP and self._form.row(path).spec.kind != "json"
        search.setEnabled(is_searchable and not self._form.read_only and self._form.config() is not None)
        search.triggered.connect(lambda: self.ask(path))
        if path in self.space:
            menu.addAction("Remove from the sweep").triggered.connect(lambda: self.set_values(path, None))
        return menu

    def open_menu(self, path: str, position: QPoint) -> None:
        """Show the menu of a setting."""
        menu = self.menu(path)
        menu.exec(position)
        menu.deleteLater()

    def _open_chip(self, path: str, chip: QWidget, _checked: bool = False) -> None:
        self.open_menu(path, chip.mapToGlobal(chip.rect().bottomLeft()))

    def ask(self, path: str) -> None:
        """Ask for the values of a setting."""
        config, row = self._form.config(), self._form.row(path)
        if config is None:
            return
        text = values_text(self.space[path]) if path in self.space else suggested_values(row.spec, row.text())
        dialog = ValuesDialog(row.spec, text, config, self)
        if dialog.exec():
            self.set_values(path, dialog.values())
        dialog.deleteLater()

    def set_values(self, path: str, values: SearchRange | None) -> None:
        """Search over a setting; None removes the setting from the search."""
        self.space.pop(path, None)
        if values is not None:
            self.space[path] = values
        raw = {name: parameter.model_dump(mode="json") for name, parameter in self.space.items()}
        self._services.settings.setValue(self._settings_key(), json.dumps(raw))
        self.problem.clear()
        self._show()

    def _show(self) -> None:
        self.setVisible(bool(self.space) and not self._form.read_only)
        self.problem.setVisible(bool(self.problem.text()))
        clear_layout(self._chips)
        for path, values in self.space.items():
            chip = QPushButton(f"{field_title(path)}: {values_text(values)}", self)
            set_role(chip, "flat")
            chip.setToolTip(plain_tip(f"{path}: change the values, or remove this setting from the sweep"))
            chip.clicked.connect(partial(self._open_chip, path, chip))
            self._chips.addWidget(chip)

    def _create(self) -> None:
        config = self._form.config()
        if config is None:
            self._on_failed("Correct the settings first (F8 goes to the next problem).")
            return
        try:
            sweep = sweep_of(config, self.space, self.steps.value(), self.trials.value())
        except ValueError as error:
            self._on_failed(str(error))
            return
        self.create_button.setEnabled(False)
        programs, text = self._services.studies, config.to_json()
        self._tasks.run(lambda: programs.add_sweep(sweep, text), self._on_created, self._on_failed)

    def _on_created(self, study: StudyRecord) -> None:
        self.create_button.setEnabled(True)
        self.problem.clear()
        self._show()
        self.created.emit(str(study.folder))

    def _on_failed(self, sentence: str) -> None:
        self.create_button.setEnabled(True)
        self.problem.setText(sentence)
        self.problem.show()
