"""Installing on a machine in a thread: every end is reported."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot

from core.spec.machines.machine import Machine
from sdgui.panels.machines.installation import Installation


def test_an_unexpected_error_ends_the_installation_and_is_reported(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "wheel")

    monkeypatch.setattr("sdgui.panels.machines.installation.install", install)
    installation = Installation()
    with qtbot.waitSignal(installation.ended, timeout=5000) as ended:
        installation.start(Machine(name="far"))
    assert ended.args == ["far", "PermissionError: [Errno 13] Permission denied: 'wheel'"]
    assert not installation.busy("far")
