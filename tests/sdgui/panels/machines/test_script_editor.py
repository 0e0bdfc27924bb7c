"""The script editor and the installation of a machine."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QEvent
from PySide6.QtGui import QFocusEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from core.spec.machines.machine import Machine
from sdgui.panels.machines.script_editor import ScriptEditor

MADE = "#!/bin/bash\n#SBATCH --nodes=1\ntrue\n"
OWN = "#!/bin/bash\n#SBATCH --nodes=7\ntrue\n"
SLURM = Machine(name="cluster", host="cluster", launcher="slurm")


def editor(qtbot: QtBot) -> tuple[ScriptEditor, list[str], list[Machine]]:
    """An editor, what it asked for, and the machines that it would keep."""
    script, requests, saved = ScriptEditor(), list[str](), list[Machine]()
    qtbot.addWidget(script)
    script.script_requested.connect(requests.append)
    script.changed.connect(saved.append)
    return script, requests, saved


def test_a_script_is_read_edited_saved_and_discarded(qtbot: QtBot) -> None:
    script, requests, saved = editor(qtbot)
    script.show_machine(SLURM)
    assert requests == ["cluster"]
    script.show_generated("another", "no")
    script.show_generated("cluster", MADE)
    assert script.text.toPlainText() == MADE
    script.text.focus_lost.emit()
    assert saved == []  # read, and left as it was
    script.text.setPlainText(OWN)
    script.text.focus_lost.emit()
    assert [machine.script for machine in saved] == [OWN]
    assert not script.reset.isHidden()
    script.show_machine(saved[-1])
    script.show_generated("cluster", MADE)  # the settings changed meanwhile: one's own stays
    assert script.text.toPlainText() == OWN
    QApplication.sendEvent(script.text, QFocusEvent(QEvent.Type.FocusOut))
    assert len(saved) == 1, "left as it is"
    script.text.setPlainText(OWN + "more\n")
    QApplication.sendEvent(script.text, QFocusEvent(QEvent.Type.FocusOut))
    assert saved[-1].script == OWN + "more\n", "kept as it is left"
    script.reset.click()
    assert saved[-1].script == ""
    assert script.text.toPlainText() == MADE
    assert script.reset.isHidden()


def test_a_script_that_is_generated_again_is_shown_while_the_unedited_text_has_the_focus(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, _, saved = editor(qtbot)
    monkeypatch.setattr(script.text, "hasFocus", lambda: True)
    script.show_machine(SLURM)
    script.show_generated("cluster", MADE)
    script.show_generated("cluster", MADE + "# more GPUs\n")
    assert script.text.toPlainText() == MADE + "# more GPUs\n"
    script.text.focus_lost.emit()
    assert saved == [], "nothing was edited"


def test_an_edited_script_is_saved_with_its_machine_when_another_is_shown(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, _, saved = editor(qtbot)
    monkeypatch.setattr(script.text, "hasFocus", lambda: True)
    script.show_machine(SLURM)
    script.show_generated("cluster", MADE)
    script.text.setPlainText(OWN)
    script.show_machine(SLURM.model_copy(update={"name": "other", "script": MADE}))
    assert [(machine.name, machine.script) for machine in saved] == [("cluster", OWN)]
    assert script.text.toPlainText() == MADE
    script.text.focus_lost.emit()
    assert len(saved) == 1


def test_an_invalid_script_is_refused_below_it_and_kept_in_view(qtbot: QtBot) -> None:
    script, _, saved = editor(qtbot)
    script.show_machine(SLURM)
    script.show_generated("cluster", MADE)
    script.text.setPlainText("rm -rf /")
    script.text.focus_lost.emit()
    assert saved == []
    assert "must begin with the line #!/bin/bash" in script.error.text()
    script.show_generated("cluster", MADE)
    assert script.text.toPlainText() == "rm -rf /"
    second = SLURM.model_copy(update={"name": "other", "script": OWN})
    script.show_machine(second)
    assert (script.error.isHidden(), script.text.toPlainText()) == (True, OWN), "of another machine nothing is wrong"
    script.show_machine(SLURM)
    script.show_generated("cluster", MADE)
    script.text.setPlainText("rm -rf /")
    script.text.focus_lost.emit()
    script.text.setPlainText("")
    script.text.focus_lost.emit()
    assert script.error.isHidden()
    assert script.text.toPlainText() == MADE


def test_a_machine_without_slurm_requests_no_script(qtbot: QtBot) -> None:
    script, requests, _ = editor(qtbot)
    script.show_machine(Machine(name="gpu", host="gpu"))
    assert requests == []


def test_the_script_of_another_machine_is_neither_shown_nor_saved(qtbot: QtBot) -> None:
    script, _, saved = editor(qtbot)
    script.show_machine(SLURM)
    script.show_generated("cluster", MADE)
    other = SLURM.model_copy(update={"name": "other"})
    script.show_machine(other.model_copy(update={"launcher": "direct"}))
    script.show_machine(other)  # now uses Slurm; its script has not arrived yet
    assert script.text.toPlainText() == ""
    script.text.setPlainText(OWN)
    script.text.focus_lost.emit()
    assert saved == []


def test_a_focused_script_gives_way_to_that_of_another_machine(qtbot: QtBot) -> None:
    script, _, saved = editor(qtbot)
    script.show_machine(SLURM.model_copy(update={"script": OWN}))
    script.show()
    script.activateWindow()
    script.text.setFocus()
    qtbot.waitUntil(script.text.hasFocus)
    script.show_machine(Machine(name="other", host="other", launcher="slurm"))
    script.show_generated("other", MADE)
    script.text.clearFocus()
    assert (script.text.toPlainText(), saved) == (MADE, [])
