"""Stopping one run: asked, told to end, killed; with grace while it saves, and never across machines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from core.spec.run.events import EventReader, RunFinished, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.status import RunStatus, own_status
from sdgui.runs import stopping
from sdgui.runs.launcher import Launcher
from sdgui.runs.program import end_process
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


def test_a_remote_trainer_is_asked_and_nothing_else_is_claimed(tmp_path: Path, ended: list[bool]) -> None:
    folder = folder_of(tmp_path, host="far-away")
    plan = StopPlan(1, folder, asked_seconds=0.0, terminated_seconds=0.0)
    assert plan.advance()
    assert not plan.advance(), "nothing changes until it ends"
    folder.clear_control()
    plan.advance(hurry=True)
    assert folder.pending_request() == "stop", "asked again"
    assert (plan.current.stage, plan.current.deadline, plan.current.host, ended) == (
        StopStage.ASKED,
        None,
        "far-away",
        [],
    )
    button, sentence = stop_text(plan.current)
    assert button == "Stop"
    assert "far-away" in sentence
    folder_of(tmp_path, host="far-away", silent=60.0)
    assert plan.advance()
    assert plan.current.stage is StopStage.ENDED


def test_a_trainer_of_another_user_is_asked_and_nothing_else_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[bool] = []

    def denied(status: RunStatus, kill: bool) -> None:
        tried.append(kill)
        raise psutil.AccessDenied(status.pid)

    monkeypatch.setattr(stopping, "end_process", denied)
    folder = folder_of(tmp_path)
    plan = StopPlan(1, folder, asked_seconds=0.0, terminated_seconds=0.0)
    assert plan.advance()
    assert not plan.advance(), "it is not tried again and again"
    folder.clear_control()
    plan.advance(hurry=True)
    assert folder.pending_request() == "stop", "asked again"
    assert (plan.current.stage, plan.current.deadline, tried) == (StopStage.ASKED, None, [False, False])
    assert stop_text(plan.current)[1].endswith("as another user.")
    folder.write_status(replace(own_status(), pid=2**22 + 1))
    assert plan.advance()
    assert plan.current.stage is StopStage.ENDED


@pytest.mark.parametrize(
    ("doing", "silent", "after", "stage"),
    [
        ("training", 0.0, 29.9, StopStage.ASKED),
        ("training", 0.0, 30.0, StopStage.TERMINATED),
        ("saving", 9.9, 30.0, StopStage.ASKED),
        ("saving", 10.0, 30.0, StopStage.TERMINATED),
        ("saving", 0.0, 299.9, StopStage.ASKED),
        ("saving", 0.0, 300.0, StopStage.TERMINATED),
        ("starting", None, 90.0, StopStage.ASKED),
        ("starting", None, 90.1, StopStage.ENDED),
    ],
)
def test_stages_of_stopping_over_time(
    tmp_path: Path,
    ended: list[bool],
    monkeypatch: pytest.MonkeyPatch,
    doing: str,
    silent: float | None,
    after: float,
    stage: StopStage,
) -> None:
    """``silent``: seconds since the last heartbeat, None for a trainer without a status; ``after`` the request."""
    now = [1.8e9]
    monkeypatch.setattr(stopping, "time", SimpleNamespace(time=lambda: now[0]))
    folder = folder_of(tmp_path, doing)
    plan = StopPlan(1, folder, asked_seconds=30.0, terminated_seconds=7.0)
    assert (plan.current.stage, plan.current.deadline) == (StopStage.ASKED, now[0] + 30.0)
    now[0] += after
    if silent is None:
        folder.status.unlink()
    else:
        status = folder.read_status()
        assert status is not None
        folder.write_status(replace(status, heartbeat=now[0] - silent))
    if (silent, stage) == (None, StopStage.ASKED):
        assert not plan.advance(hurry=True), "a trainer that is starting cannot be signalled yet"
    assert plan.advance() == (stage is not StopStage.ASKED)
    assert plan.current.stage is stage
    if stage is not StopStage.TERMINATED:
        return
    assert plan.current.deadline == now[0] + 7.0
    now[0] += 6.9
    assert not plan.advance()
    now[0] += 0.1
    folder.write_status(replace(folder.read_status() or own_status(), doing="training"))
    assert plan.advance()
    assert (plan.current.stage, plan.current.deadline, ended) == (StopStage.KILLED, None, [False, True])
    now[0] += 1e6
    assert not plan.advance(), "a kill is waited for"
    assert ended == [False, True]


def starts(run: Run) -> int:
    return sum(isinstance(event, RunStarted) for event in EventReader(run.dir.events).read_all())


def test_an_unwritable_folder_is_reported_at_the_first_and_second_request(
    make_launcher: MakeLauncher, experiment: Experiment, monkeypatch: pytest.MonkeyPatch, ended: list[bool]
) -> None:
    launcher = make_launcher()
    run = launcher.enqueue(experiment.id)
    ask = RunDir.ask

    def full(_folder: RunDir, _what: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunDir, "ask", full)
    with pytest.raises(UserError, match=r"Cannot write to the run folder .*: No space left"):
        launcher.stop(run.id)
    with pytest.raises(UserError, match=r"Cannot write to .*: No space left on device\. Free some space"):
        launcher.pause(run.id)
    assert launcher.stops() == {}
    monkeypatch.setattr(RunDir, "ask", ask)
    folder_of(run.folder, host="far-away")
    launcher.stop(run.id)
    monkeypatch.setattr(RunDir, "ask", full)
    with pytest.raises(UserError, match=r"Cannot write to the run folder .*: No space left"):
        launcher.stop(run.id)
    assert ended == []


def outcomes(run: Run) -> list[str]:
    return [event.outcome for event in EventReader(run.dir.events).read_all() if isinstance(event, RunFinished)]


def launch_and_watch(launcher: Launcher, experiment: Experiment) -> tuple[Run, list[StopStage]]:
    """A launched run, and a list of the stages of its stop as they are reported."""
    stages: list[StopStage] = []
    launcher.stopping.connect(lambda run_id, stopping: stages.append(stopping.stage))
    return launcher.launch(experiment.id), stages


def test_stopping_a_run_again_starts_with_a_request(
    make_launcher: MakeLauncher, experiment: Experiment, qtbot: QtBot
) -> None:
    launcher = make_launcher("--steps", "5000")
    run, stages = launch_and_watch(launcher, experiment)
    for attempt in (1, 2):
        qtbot.waitUntil(lambda wanted=attempt: starts(run) == wanted, timeout=WAIT_MS)
        assert launcher.stop(run.id).stage is StopStage.ASKED
        qtbot.waitUntil(lambda: not launcher.stops(), timeout=WAIT_MS)
        assert outcomes(run) == ["stopped"] * attempt
        assert stages == [StopStage.ASKED, StopStage.ENDED] * attempt
        if attempt == 1:
            launcher.resume(run.id)


def test_a_pausing_run_is_listed_until_its_trainer_ends(
    make_launcher: MakeLauncher, experiment: Experiment, qtbot: QtBot
) -> None:
    launcher = make_launcher("--steps", "5000")
    run, stages = launch_and_watch(launcher, experiment)
    qtbot.waitUntil(lambda: starts(run) == 1, timeout=WAIT_MS)
    launcher.pause(run.id)
    assert launcher.stops()[run.id].stage is StopStage.PAUSING
    qtbot.waitUntil(lambda: not launcher.stops(), timeout=WAIT_MS)
    assert outcomes(run) == ["paused"]
    assert stages == [StopStage.PAUSING, StopStage.ENDED]


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("kill", [False, True])
def test_only_the_right_process_is_ended(stranger: subprocess.Popen[bytes], kill: bool) -> None:
    end_process(RunStatus(pid=stranger.pid, started=time.time() - 5000, heartbeat=time.time()), kill)
    with pytest.raises(subprocess.TimeoutExpired):  # another program has the same process id
        stranger.wait(0.3)
    started = psutil.Process(stranger.pid).create_time()
    end_process(RunStatus(pid=stranger.pid, started=started, heartbeat=time.time()), kill)
    assert stranger.wait(60) == -(signal.SIGKILL if kill else signal.SIGTERM), "no harder than it is asked"


def test_children_of_a_killed_program_end_with_it() -> None:
    sleeping = "import time; time.sleep(20); print('it lives')"
    begin = f"import subprocess, sys; subprocess.Popen([sys.executable, '-S', '-c', {sleeping!r}])"
    code = f"{begin}; print('begun', flush=True); {sleeping}"
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        status = RunStatus(process.pid, psutil.Process(process.pid).create_time(), time.time())
        end_process(status, kill=True)
        assert process.wait(60) == -signal.SIGKILL
        assert process.stdout.read() == b"", "nobody is left who would say something"
    end_process(status, kill=True)  # it is gone, and that is well


def test_a_run_that_ignores_its_request_is_terminated_after_the_window_closes(
    make_launcher: MakeLauncher, experiment: Experiment, stranger: subprocess.Popen[bytes]
) -> None:
    launcher = make_launcher(asked_seconds=0.3, terminated_seconds=0.3)
    run = launcher.enqueue(experiment.id)
    started = psutil.Process(stranger.pid).create_time()
    run.dir.write_status(RunStatus(stranger.pid, started, time.time(), doing="training"))
    launcher.stop(run.id)
    launcher.close()
    assert stranger.wait(10) == -signal.SIGTERM
