"""The script that sbatch gets, to be read and edited before it is sent: the one that the settings make, or one's own.

Flow: ``show_machine`` -> ``asked`` -> the machine's own answer -> ``show_made``; an edited script is kept with the
machine and sent for each of its runs, which it knows by the job's name.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from PySide6.QtCore import Signal
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from core.spec.machines.machine import Machine
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, set_role

_MADE = "Made from the settings above. Edit it to send another one."
_OWN = "Your own script, sent as it is for each run: $SLURM_JOB_NAME and %x are the run's folder."
_LINES = 16


class ScriptEditor(QWidget):
    """``asked``: the name of the machine whose script is wanted; ``changed``: a Machine that is to be kept."""

    asked = Signal(str)
    changed = Signal(object)  # Machine

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._machine: Machine | None = None
        self._made = ""
        self.note = PlainLabel(_MADE, self, wordWrap=True)
        set_role(self.note, "muted")
        self.error = PlainLabel(self, wordWrap=True)
        set_role(self.error, "error")
        self.error.hide()
        self.text = _Script(self)
        self.text.left.connect(self._save)
        self.reset = QPushButton("Back to the made one", self)
        self.reset.setToolTip(plain_tip("Forget what was edited, and send what the settings make"))
        self.reset.clicked.connect(self._forget)
        row = QHBoxLayout()
        row.addWidget(self.note, 1)
        row.addWidget(self.reset)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACE)
        column.addLayout(row)
        column.addWidget(self.text)
        column.addWidget(self.error)

    def show_machine(self, machine: Machine) -> None:
        """The script of this machine; what is being typed stays."""
        before, self._machine = self._machine, machine
        if machine.launcher != "slurm":
            return
        if before is None or before.name != machine.name:
            self._made = ""
            self.error.hide()
        elif before == machine:
            return
        self.asked.emit(machine.name)
        self._show()

    def show_made(self, name: str, text: str) -> None:
        """What the settings of the machine make."""
        if self._machine is not None and self._machine.name == name:
            self._made = text
            self._show()

    def _show(self) -> None:
        own = self._machine.script if self._machine is not None else ""
        self.note.setText(_OWN if own else _MADE)
        self.reset.setVisible(bool(own))
        wanted = own or self._made
        if not self.text.hasFocus() and self.error.isHidden() and self.text.toPlainText() != wanted:
            self.text.setPlainText(wanted)

    def _save(self) -> None:
        if self._machine is None or not (self._made or self._machine.script):
            return  # nothing was shown yet
        typed = self.text.toPlainText()
        own = "" if not typed.strip() or typed.strip() == self._made.strip() else typed
        try:
            made = Machine.model_validate(self._machine.model_dump() | {"script": own})
        except ValidationError as problem:
            told = str(problem.errors()[0]["msg"]).removeprefix("Value error, ")
            self.error.setText(told[:1].upper() + told[1:] + ".")
            self.error.show()
            return
        self.error.hide()
        if made != self._machine:
            self._machine = made
            self.changed.emit(made)
        self._show()

    def _forget(self) -> None:
        self.text.setPlainText(self._made)
        self.error.hide()
        if self._machine is not None:
            self._machine = self._machine.model_copy(update={"script": ""})
            self.changed.emit(self._machine)
        self._show()


class _Script(QPlainTextEdit):
    """``left`` when the cursor leaves it."""

    left = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAccessibleName("Script for sbatch")
        self.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.setTabChangesFocus(True)
        self.setFixedHeight(_LINES * self.fontMetrics().lineSpacing() + 2 * SPACE)

    def focusOutEvent(self, event: Any) -> None:
        super().focusOutEvent(event)
        self.left.emit()
