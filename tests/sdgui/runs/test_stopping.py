"""Stopping one run: asked, told to end, killed; with grace while it saves, and never across machines."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest
from pytestqt.qtbot import QtBot

from core.spec.run.events import EventReader, RunFinished, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.status import RunStatus
from sdgui.runs import stopping
from sdgui.runs.stopping import StopPlan, StopStage
from sdgui.shared.run_texts import stop_text
from sdgui.store.records import Experiment, Run
from tests.sdgui.runs.conftest import MakeLauncher

WAIT_MS = 15000


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What was sent to the trainer's process: False to end it, True to kill it."""
    sent: list[bool] = []
    monkeypatch.setattr(stopping, "end_process", lambda _status, kill: sent.append(kill))
    return sent


def folder_of(path: Path, doing: str = "training", silent: float = 0.0, host: str = "") -> RunDir:
    """A run whose trainer is this process, last heard of ``silent`` seconds ago."""
    folder = RunDir(path)
    folder.create()
    started = psutil.Process().create_time()
    folder.write_status(RunStatus(os.getpid(), started, time.time() - silent, doing=doing, host=host))
    return folder


def test_a_trainer_that_saves_gets_longer(tmp_path: Path, ended: list[bool]) -> None:
    plan = StopPlan(1, folder_of(tmp_path, "saving"), asked_seconds=0.0, terminated_seconds=0.0)
    assert not plan.advance()
    assert (plan.now.stage, ended) == (StopStage.ASKED, [])
    folder_of(tmp_path, "training")
    assert plan.advance()
    assert (plan.now.stage, ended) == (StopStage.TERMINATED, [False])


def test_a_trainer_that_was_told_to_end_has_its_time_before_it_is_killed(tmp_path: Path, ended: list[bool]) -> None:
    plan = StopPlan(1, folder_of(tmp_path), asked_seconds=0.0, terminated_seconds=600.0)
    assert plan.advance()
    assert not plan.advance(), "it may be saving"
    assert (plan.now.stage, ended) == (StopStage.TERMINATED, [False])
    assert plan.advance(hurry=True)
    assert (plan.now.stage, ended) == (StopStage.KILLED, [False, True])


def test_a_trainer_that_hangs_while_it_saves_gets_no_longer(tmp_path: Path, ended: list[bool]) -> None:
    plan = StopPlan(1, folder_of(tmp_path, "saving", silent=20.0), asked_seconds=0.0, terminated_seconds=0.0)
    assert plan.advance()
    assert ended == [False]


def test_a_hurried_user_need_not_wait_for_the_save(tmp_path: Path, ended: list[bool]) -> None:
    plan = StopPlan(1, folder_of(tmp_path, "saving"), asked_seconds=60.0, terminated_seconds=60.0)
    assert plan.advance(hurry=True)
    assert plan.advance(hurry=True)
    assert ended == [False, True]


def test_a_trainer_on_another_machine_is_asked_and_nothing_else_is_claimed(tmp_path: Path, ended: list[bool]) -> None:
    folder = folder_of(tmp_path, host="far-away")
    plan = StopPlan(1, folder, asked_seconds=0.0, terminated_seconds=0.0)
    assert plan.advance()
    assert not plan.advance(), "nothing changes until it ends"
    folder.clear_control()
    plan.advance(hurry=True)
    assert folder.asked() == "stop", "asked again"
    assert (plan.now.stage, plan.now.deadline, plan.now.host, ended) == (StopStage.ASKED, None, "far-away", [])
    button, sentence = stop_text(plan.now)
    assert button == "Stop"
    assert "far-away" in sentence
    folder_of(tmp_path, host="far-away", silent=60.0)
    assert plan.advance()
    assert plan.now.stage is StopStage.ENDED


def starts(run: Run) -> int:
    return sum(isinstance(event, RunStarted) for event in EventReader(run.dir.events).read_all())


def outcomes(run: Run) -> list[str]:
    return [event.outcome for event in EventReader(run.dir.events).read_all() if isinstance(event, RunFinished)]


def test_a_run_that_is_stopped_a_second_time_is_asked_first_again(
    make_launcher: MakeLauncher, experiment: Experiment, qtbot: QtBot
) -> None:
    launcher = make_launcher("--steps", "5000")
    run = launcher.launch(experiment.id)
    for attempt in (1, 2):
        qtbot.waitUntil(lambda wanted=attempt: starts(run) == wanted, timeout=WAIT_MS)
        assert launcher.stop(run.id).stage is StopStage.ASKED
        qtbot.waitUntil(lambda: not launcher.stops(), timeout=WAIT_MS)
        assert outcomes(run) == ["stopped"] * attempt
        if attempt == 1:
            launcher.resume(run.id)
