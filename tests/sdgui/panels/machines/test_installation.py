"""Installing the program on a machine: its output arrives line by line, and only one runs at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from core.spec.machines.machine import Machine
from sdgui.panels.machines import work
from sdgui.panels.machines.work import Installation


@pytest.mark.parametrize("why", ["", "There is no Python."])
def test_an_installation_is_told_and_ends(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
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
