"""What tests of the Study panel share: small studies, and waiting for their states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytestqt.qtbot import QtBot

from core.spec.study import Study
from sdgui.app.main_window import MainWindow
from sdgui.panels.study.panel import StudyPanel

Open = Callable[..., MainWindow]


def panel_of(window: MainWindow) -> StudyPanel:
    panel = window.show_panel("study")
    assert isinstance(panel, StudyPanel)
    return panel


def a_study(**changes: Any) -> Study:
    fields: dict[str, Any] = {
        "name": "two arms",
        "size": "tiny",
        "steps": 3,
        "seeds": [0, 1],
        "data": {"train": "demo:train.csv", "val": "demo:val.csv", "test": "demo:test.csv"},
        "arms": [{"name": "clip", "preset": "clip"}, {"name": "sd-clip", "preset": "sd-clip"}],
        "measures": [{"name": "test", "task": "retrieval", "data": "test"}],
    }
    return Study.model_validate(fields | changes)


def with_study(qtbot: QtBot, window: MainWindow, study: Study) -> StudyPanel:
    panel = panel_of(window)
    file = window.services.store.home / "a-study.json"
    file.write_text(study.to_json(), encoding="utf-8")
    panel.open_study(file)
    qtbot.waitUntil(lambda: panel._snapshot() is not None and panel.toolbar.start.isEnabled(), timeout=10000)
    return panel


def until(qtbot: QtBot, panel: StudyPanel, state: str) -> None:
    qtbot.waitUntil(lambda: getattr(panel._snapshot(), "state", "") == state, timeout=20000)
    qtbot.waitUntil(
        lambda: panel.view._snapshot is panel._snapshot() or panel.view._snapshot == panel._snapshot(), timeout=5000
    )
