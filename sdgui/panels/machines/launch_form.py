"""The form for how a machine is reached and how runs start: directly, with torchrun or through Slurm.

Flow: ``show_machine`` -> fields -> a validated ``Machine`` -> ``changed``; an invalid field shows its error below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QComboBox, QFormLayout, QLineEdit, QPlainTextEdit, QWidget

from core.spec.machines.answers import Partition
from core.spec.machines.machine import Machine
from sdgui.widgets.formats import capitalize
from sdgui.widgets.input_boxes import ListOnlyComboBox, NoWheelSpinBox
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.layouts.form_labels import align_labels
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, hide_spin_buttons

_LAUNCHERS = (
    ("direct", "Directly, one process per run"),
    ("torchrun", "torchrun, one process per GPU"),
    ("slurm", "Slurm"),
)
# Field, label, tip, and launchers that have the field; "remote": every launcher, but only on another machine.
_FIELDS: tuple[tuple[str, str, str, str], ...] = (
    ("host", "Host", "An alias in ~/.ssh/config, or USER@HOST", "remote"),
    (
        "python",
        "Python",
        "Path of the Python interpreter. Empty: the installed environment, or sdgui-core on PATH",
        "remote",
    ),
    ("setup", "Setup", "Shell commands to run first, for example: module load cuda", "remote"),
    ("runs", "Runs folder", "Folder on that machine for its run folders", "remote"),
    ("launcher", "Launch", "How runs are started", "remote"),
    (
        "at_once",
        "Parallel runs",
        "Number of queued runs that train at the same time if the machine has no GPU",
        "direct",
    ),
    ("gpus", "GPUs per node", "GPUs on each node; 0 for none", "torchrun slurm"),
    (
        "cpus",
        "CPU cores per GPU",
        "For the trainer and its data loader processes. 0 means 8 cores per GPU; for jobs without a GPU, the cluster's "
        "default",
        "slurm",
    ),
    ("nodes", "Nodes", "Number of nodes per job; several nodes use torchrun", "slurm"),
    ("partition", "Partition", "Slurm partition. Empty: the cluster's default", "slurm"),
    ("time", "Time limit", "In Slurm's format, such as 2-00:00:00. Empty: the partition's limit", "slurm"),
    (
        "warning",
        "Save before limit (s)",
        "Seconds before the time limit at which the run is saved and requeued",
        "slurm",
    ),
    ("sbatch", "Extra #SBATCH lines", "Additional options for sbatch, one per line", "slurm"),
)
_PLACEHOLDERS = {"python": "Default: installed environment", "time": "Default: the partition's limit"}
_LIMITS = {"at_once": (1, 1000), "gpus": (0, 1024), "cpus": (0, 1024), "nodes": (1, 10_000), "warning": (10, 36_000)}


class LaunchForm(QWidget):
    """The form; saves while editing. ``changed``: a Machine to save."""

    changed = Signal(object)  # Machine

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._machine: Machine | None = None
        self._filling = False
        self._form = QFormLayout(self)
        self._form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setHorizontalSpacing(2 * SPACE)
        self._form.setVerticalSpacing(SPACE)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.fields: dict[str, QWidget] = {}  # field -> editor
        # field -> functions that read and write its value
        self._access: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {}
        self._errors: dict[str, PlainLabel] = {}  # field -> label for its error
        self._boxes: dict[str, QWidget] = {}  # field -> the widget that holds it and its error
        for name, label, tip, _ in _FIELDS:
            self._add(name, label, tip)
        align_labels(self._form)

    def show_machine(self, machine: Machine) -> None:
        """Fill the fields, except those being edited for the same machine."""
        focused = self.window().focusWidget()
        same = self._machine is not None and self._machine.name == machine.name
        if same and focused is not None and self.isAncestorOf(focused):
            self._machine = machine
            return
        self._machine, self._filling = machine, True
        for name in self.fields:
            _, write = self._access[name]
            write(getattr(machine, name))
            self._errors[name].hide()
        self._filling = False
        self._show_fields()

    def show_partitions(self, partitions: Sequence[Partition]) -> None:
        """List the cluster's partitions in the partition field."""
        box = self.fields["partition"]
        assert isinstance(box, QComboBox)
        names = [partition.name for partition in partitions]
        if [box.itemText(row) for row in range(box.count())] != names:
            text, self._filling = box.currentText(), True
            box.clear()
            box.addItems(names)
            box.setCurrentText(text)
            self._filling = False

    def _add(self, name: str, label: str, tip: str) -> None:
        field = self._make_field(name)
        field.setToolTip(plain_tip(tip))
        field.setAccessibleName(label)
        field.setAccessibleDescription(tip)
        error = PlainLabel(self, wordWrap=True, role="error")
        error.hide()
        box = QWidget(self)
        vbox(field, error, into=box, spacing=SPACE // 2)
        self._form.addRow(PlainLabel(label, self, role="muted", buddy=field), box)
        self.fields[name], self._errors[name], self._boxes[name] = field, error, box

    def _make_field(self, name: str) -> QWidget:
        """Create the editor of a field, and the functions that read and write its value."""
        if name == "launcher":
            box = ListOnlyComboBox(self)
            for key, text in _LAUNCHERS:
                box.addItem(text, key)
            box.activated.connect(lambda _: self._save())
            self._access[name] = box.currentData, lambda value: box.setCurrentIndex(box.findData(value))
            return box
        if name == "partition":
            editable = ListOnlyComboBox(self)
            editable.setEditable(True)
            editable.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
            editable.activated.connect(lambda _: self._save())
            if (line := editable.lineEdit()) is not None:
                line.editingFinished.connect(self._save)
            self._access[name] = lambda: editable.currentText().strip(), editable.setCurrentText
            return editable
        if name in _LIMITS:
            spin = NoWheelSpinBox(self)
            spin.setRange(*_LIMITS[name])
            spin.setMaximumWidth(14 * SPACE)
            hide_spin_buttons(spin)
            spin.valueChanged.connect(lambda _: self._save())
            self._access[name] = spin.value, spin.setValue
            return spin
        if name in ("setup", "sbatch"):
            lines = LinesEdit(3, self)
            lines.focus_lost.connect(self._save)
            self._access[name] = lambda: lines.toPlainText().strip("\n"), lines.setPlainText
            return lines
        edit = QLineEdit(self)
        edit.setPlaceholderText(_PLACEHOLDERS.get(name, ""))
        edit.editingFinished.connect(self._save)
        self._access[name] = lambda: edit.text().strip(), edit.setText
        return edit

    def _value(self, name: str) -> Any:
        read, _ = self._access[name]
        return read()

    def _save(self) -> None:
        if self._filling or self._machine is None:
            return
        self._show_fields()
        values = self._machine.model_dump() | {name: self._value(name) for name in self.fields}
        problems: dict[str, str] = {}  # field -> sentence
        try:
            machine = Machine.model_validate(values)
        except ValidationError as invalid:
            for problem in invalid.errors():
                # The check of the #SBATCH lines is of the whole model, so it names no field.
                name = str(problem["loc"][0]) if problem["loc"] else "sbatch"
                problems.setdefault(name, error_sentence(problem))
        for name, label in self._errors.items():
            label.setText(problems.get(name, ""))
            label.setVisible(name in problems)
        if not problems and machine != self._machine:
            self._machine = machine
            self.changed.emit(machine)

    def _show_fields(self) -> None:
        """Show the fields of the selected launcher; for this computer, only the number of parallel runs."""
        launcher, is_local = self._value("launcher"), self._machine is not None and self._machine.is_local
        for name, _, _, launchers in _FIELDS:
            is_visible = name == "at_once" if is_local else launchers == "remote" or launcher in launchers.split()
            self._form.setRowVisible(self._boxes[name], is_visible)


def error_sentence(problem: ErrorDetails) -> str:
    """The message of a pydantic error as a sentence."""
    message = problem["msg"].removeprefix("Value error, ")
    return f"{capitalize(message)}."


class LinesEdit(QPlainTextEdit):
    """A text field of ``lines`` lines that emits ``focus_lost``; without ``font``, it has the window's font."""

    focus_lost = Signal()

    def __init__(self, lines: int, parent: QWidget, font: QFont | None = None) -> None:
        super().__init__(parent, tabChangesFocus=True)
        if font is not None:
            self.setFont(font)
        self.setFixedHeight(lines * self.fontMetrics().lineSpacing() + 2 * SPACE)

    def focusOutEvent(self, event: Any) -> None:
        super().focusOutEvent(event)
        self.focus_lost.emit()
