"""The script editor and the installation of a machine."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from PySide6.QtCore import QEvent
from PySide6.QtGui import QFocusEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from core.spec.machines.machine import Machine
from sdgui.panels.machines import work
from sdgui.panels.machines.script_editor import ScriptEditor
from sdgui.panels.machines.work import Installation

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


def test_an_invalid_script_is_refused_below_it_and_kept_in_view(qtbot: QtBot) -> None:
    script, _, saved = editor(qtbot)
    script.show_machine(SLURM)
    script.show_generated("cluster", MADE)
    script.text.setPlainText("rm -rf /")
    script.text.focus_lost.emit()
    assert saved == []
    assert "begins with the line #!/bin/bash" in script.error.text()
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


def test_a_custom_script_is_shown_before_the_generated_one_is_known(qtbot: QtBot) -> None:
    script, requests, saved = editor(qtbot)
    script.text.focus_lost.emit()
    script.show_machine(SLURM)
    script.text.focus_lost.emit()
    assert saved == [], "nothing was shown yet"
    mine = SLURM.model_copy(update={"name": "mine", "script": OWN})
    script.show_machine(mine)
    assert (script.text.toPlainText(), script.reset.isHidden()) == (OWN, False)
    assert script.note.text().startswith("Your own script")
    script.show_machine(mine)
    assert requests == ["cluster", "mine"], "the same machine is not asked again"
    script.show_machine(mine.model_copy(update={"nodes": 3}))
    assert requests[2:] == ["mine"], "other settings make another script"
    script.show_machine(SLURM)
    assert script.text.toPlainText() == "", "nothing is left of another machine's"


def test_a_machine_without_slurm_requests_no_script(qtbot: QtBot) -> None:
    script, requests, _ = editor(qtbot)
    script.show_machine(Machine(name="gpu", host="gpu"))
    assert requests == []


@pytest.mark.parametrize("why", ["", "There is no Python."])
def test_an_installation_reports_its_end(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    go_on, began = threading.Event(), list[str]()

    def install(machine: Machine, say: Callable[[str], None]) -> None:
        began.append(machine.name)
        say("one")
        say("two")
        assert go_on.wait(60)
        if why:
            raise UserError(why)

    monkeypatch.setattr(work, "install", install)
    far, installation = Machine(name="far"), Installation()
    ends: list[tuple[str, str]] = []
    installation.ended.connect(lambda *end: ends.append(end))
    installation.start(far)
    qtbot.waitUntil(lambda: installation.lines == {"far": ["one", "two"]})
    installation.start(far)
    assert installation.busy("far")
    assert not installation.busy("near")
    go_on.set()
    qtbot.waitUntil(lambda: bool(ends))
    assert ends == [("far", why)]
    assert began == ["far"]
    assert not installation.busy("far")
    installation.start(far)
    qtbot.waitUntil(lambda: len(ends) == 2)
    assert installation.lines == {"far": ["one", "two"]}, "only what is said this time"
