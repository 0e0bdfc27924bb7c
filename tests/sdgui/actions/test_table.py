"""The window's table of actions: menus made from it, and when the actions on a run are enabled."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from core.spec.run.status import RunState
from sdgui.actions.run import RUN_ACTIONS
from sdgui.actions.table import WINDOW_ACTIONS
from sdgui.actions.window import Target, Window
from sdgui.runs.stopping import Stopping, StopStage
from sdgui.shared.menus import EXPERIMENT_MENU, RUN_MENU, STUDY_MENU


def window(qtbot: QtBot, target: Target) -> Window:
    """As much of a window as the table asks for."""
    tree = QWidget()
    tree.row = lambda: (target.experiment_id, target.study_id)  # type: ignore[attr-defined]
    qtbot.addWidget(tree)
    return cast(Window, SimpleNamespace(target=target, experiments=tree, panel_name="define"))


def test_records_name_menus_that_exist() -> None:
    named = {item.menu for record in WINDOW_ACTIONS for item in record.menus}
    assert named == {EXPERIMENT_MENU, RUN_MENU, STUDY_MENU}


@pytest.mark.parametrize(
    ("state", "stopping", "enabled"),
    [
        (RunState.QUEUED, None, {"stop"}),
        (RunState.STARTING, None, {"pause", "stop"}),
        (RunState.RUNNING, None, {"pause", "stop"}),
        (RunState.RUNNING, Stopping(1, StopStage.PAUSING, None), {"stop"}),
        (RunState.PAUSED, None, {"resume"}),
        (RunState.FAILED, None, {"resume"}),
        (RunState.INTERRUPTED, None, {"resume"}),
        (RunState.DONE, None, set()),
    ],
)
def test_run_actions_are_enabled_by_its_state(
    qtbot: QtBot, state: RunState, stopping: Stopping | None, enabled: set[str]
) -> None:
    run: Any = SimpleNamespace(machine="")
    host = window(qtbot, Target(1, run, state, stopping))
    judged = {one.id: one.enabled(host) for one in RUN_ACTIONS if one.enabled is not None}
    assert {name for name in ("pause", "resume", "stop", "end_now") if judged[name]} == enabled
    assert judged["open_folder"]


def test_a_launch_waiting_for_data_is_shown_and_cannot_be_repeated(qtbot: QtBot) -> None:
    launch = next(record for record in RUN_ACTIONS if record.id == "launch")
    assert launch.enabled is not None
    assert launch.current_title is not None
    free, waiting = window(qtbot, Target(1)), window(qtbot, Target(1, waiting_for_data=True))
    assert (launch.enabled(free), launch.current_title(free)) == (True, "&Launch")
    assert (launch.enabled(waiting), launch.current_title(waiting)) == (False, "Waiting for data")
    assert not launch.enabled(window(qtbot, Target()))
