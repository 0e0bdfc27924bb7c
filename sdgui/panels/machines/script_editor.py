"""Shows the sbatch script of a machine, which is generated from the settings or edited by the user.

Flow: ``show_machine`` -> ``script_requested`` -> the machine's reply -> ``show_generated``; an edited script is saved
with the machine and sent unchanged with each run; the script identifies the run by the job's name.
"""

from __future__ import annotations

from pydantic import ValidationError
from PySide6.QtCore import Signal
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QPushButton, QWidget

from core.spec.machines.machine import Machine
from sdgui.panels.machines.launch_form import LinesEdit, error_sentence
from sdgui.widgets.layouts.boxes import STYLE_SPACING, hbox, vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip

_GENERATED_NOTE = "Generated from the settings above. Edit the text to send a different script."
_CUSTOM_NOTE = "Your own script, sent unchanged for each run: $SLURM_JOB_NAME and %x are the run's folder."
_VISIBLE_LINES = 16  # height of the editor


class ScriptEditor(QWidget):
    """The editor. ``script_requested``: generate the script of this machine; ``changed``: a Machine to save."""

    script_requested = Signal(str)
    changed = Signal(object)  # Machine

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._machine: Machine | None = None
        self._generated = ""
        self._shown = ""  # the script without the user's edits
        self.note = PlainLabel(_GENERATED_NOTE, self, wordWrap=True, role="muted")
        self.error = PlainLabel(self, wordWrap=True, role="error")
        self.error.hide()
        self.text = LinesEdit(_VISIBLE_LINES, self, QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setAccessibleName("Script for sbatch")
        self.text.setLineWrapMode(LinesEdit.LineWrapMode.NoWrap)
        self.text.focus_lost.connect(self._save)
        self.reset = QPushButton("Reset script", self)
        self.reset.setToolTip(plain_tip("Discard the edits and send the script generated from the settings"))
        self.reset.clicked.connect(self._reset)
        vbox(hbox((self.note, 1), self.reset, spacing=STYLE_SPACING), self.text, self.error, into=self)

    def show_machine(self, machine: Machine) -> None:
        """Show the script of this machine; edits of this machine's script are kept, edits of another's are saved."""
        if self._machine is not None and self._machine.name != machine.name:
            self._save()
        previous_machine, self._machine = self._machine, machine
        if previous_machine is None or previous_machine.name != machine.name:
            self._generated = ""
            self.error.hide()
            self._set_text("")
        elif previous_machine == machine:
            return
        if machine.launcher == "slurm":
            self.script_requested.emit(machine.name)
            self._show()

    def show_generated(self, name: str, text: str) -> None:
        """Show the script generated from the machine's settings."""
        if self._machine is not None and self._machine.name == name:
            self._generated = text
            self._show()

    def _show(self) -> None:
        custom = self._machine.script if self._machine is not None else ""
        self.note.setText(_CUSTOM_NOTE if custom else _GENERATED_NOTE)
        self.reset.setVisible(bool(custom))
        script = custom or self._generated
        if self.text.toPlainText() == self._shown != script:
            self._set_text(script)

    def _set_text(self, script: str) -> None:
        self.text.setPlainText(script)
        self._shown = self.text.toPlainText()

    def _save(self) -> None:
        """Save the user's edits; an invalid script stays in the editor, with the reason below it."""
        if self._machine is None or not (self._generated or self._machine.script):
            return  # no script has been shown yet
        typed = self.text.toPlainText()
        if typed == self._shown:
            self.error.hide()
            return
        custom = "" if not typed.strip() or typed.strip() == self._generated.strip() else typed
        try:
            machine = Machine.model_validate(self._machine.model_dump() | {"script": custom})
        except ValidationError as problem:
            self.error.setText(error_sentence(problem.errors()[0]))
            self.error.show()
            return
        self.error.hide()
        self._shown = typed
        if machine != self._machine:
            self._machine = machine
            self.changed.emit(machine)
        self._show()

    def _reset(self) -> None:
        self._set_text(self._generated)
        self.error.hide()
        if self._machine is not None:
            self._machine = self._machine.model_copy(update={"script": ""})
            self.changed.emit(self._machine)
        self._show()
