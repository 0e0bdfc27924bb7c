"""Following runs: reattached, told in order, recorded so that a killed window loses and doubles nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

import core
from core.spec.run.events import EventWriter, Log, Metrics, RunFinished, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState, RunStatus, own_status
from sdgui.runs import follower_thread
from sdgui.runs.follower import Follower
from sdgui.runs.live import RunProgress
from sdgui.store.records import Experiment, MetricSummary, Progress, Run, StoreError
from sdgui.store.store import Store
from tests.sdgui.driving import last_step
from tests.sdgui.store.folders import link_arm

WAIT_MS = 20000
GONE = RunStatus(pid=2**22 + 4321, started=1.0, heartbeat=1.0)


class Heard:
    """What a follower's signals said."""

    def __init__(self, follower: Follower) -> None:
        self.states: list[tuple[int, RunState]] = []
        self.progress: list[RunProgress] = []
        self.curves: list[tuple[int, frozenset[str]]] = []
        self.loaded: list[int] = []
        self.added: list[int] = []
        self.troubles: list[str] = []
        follower.state_changed.connect(lambda run_id, state: self.states.append((run_id, state)))
        follower.progress_changed.connect(lambda run_id, progress: self.progress.append(progress))
        follower.curves_changed.connect(lambda run_id, names: self.curves.append((run_id, names)))
        follower.curves_loaded.connect(self.loaded.append)
        follower.run_added.connect(self.added.append)
        follower.trouble.connect(lambda run_id, message: self.troubles.append(message))


@pytest.fixture
def heard(follower: Follower) -> Heard:
    return Heard(follower)


def write(run: Run, *events: object) -> None:
    writer = EventWriter(run.dir.events)
    for event in events:
        writer.write(event)
    writer.close()


def started(step: int = 0) -> RunStarted:
    return RunStarted(step=step, total_steps=100, config_digest="d")


def metrics(step: int, value: float = 1.0) -> Metrics:
    return Metrics(step=step, values={"train/loss": value})


def test_a_run_is_followed_from_its_launch_to_its_end(
    store: Store, follower: Follower, heard: Heard, run: Run, qtbot: QtBot
) -> None:
    follower.start()
    run.dir.write_status(own_status(doing="training", seconds_left=9.0))
    write(run, started(), metrics(1, 3.0))
    qtbot.waitUntil(lambda: (run.id, RunState.RUNNING) in heard.states, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: bool(heard.progress) and heard.progress[-1].step == 1, timeout=WAIT_MS)
    assert (heard.progress[-1].doing, heard.progress[-1].seconds_left) == ("training", 9.0)
    write(run, metrics(2, 2.0), RunFinished(step=2))
    qtbot.waitUntil(lambda: (run.id, RunState.DONE) in heard.states, timeout=WAIT_MS)
    found = store.run(run.id)
    assert (found.state, found.step, found.offset) == (RunState.DONE, 2, run.dir.events.stat().st_size)
    assert store.summaries([run.id])[run.id] == {"train/loss": MetricSummary(2.0, 2, 2.0, 2)}
    assert follower.state(run.id) is RunState.DONE
    assert heard.troubles == []


def test_a_run_deleted_in_another_window_is_reported_once_and_again_when_restored(
    store: Store, follower: Follower, heard: Heard, run: Run, qtbot: QtBot
) -> None:
    removed: list[int] = []
    follower.run_removed.connect(removed.append)
    follower.start()
    qtbot.waitUntil(lambda: follower.progress(run.id) is not None, timeout=WAIT_MS)
    other = Store.open(store.home)  # as another window has it
    other.delete_run(run.id)
    qtbot.waitUntil(lambda: removed == [run.id], timeout=WAIT_MS)
    assert follower.progress(run.id) is None
    assert heard.added == [run.id]
    other.restore_run(run.id)
    qtbot.waitUntil(lambda: heard.added == [run.id, run.id], timeout=WAIT_MS)
    assert removed == [run.id]
    other.close()


def test_curves_of_a_shown_run_are_complete_and_continue(
    follower: Follower, heard: Heard, run: Run, store: Store, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_thread, "_CHUNK", 4 << 10)
    write(run, started(), *(metrics(step) for step in range(1, 401)), RunFinished(step=400))
    assert run.dir.events.stat().st_size > 4 * (4 << 10), "several chunks"
    store.record(run.id, Progress(state=RunState.DONE, offset=run.dir.events.stat().st_size, step=400, ending="done"))
    follower.start()
    history = follower.show(run.id)
    assert follower.show(run.id) is history is follower.history(run.id)
    qtbot.waitUntil(lambda: heard.loaded == [run.id], timeout=WAIT_MS)
    assert history.curve("train/loss").steps.tolist() == list(range(1, 401))
    count = len(heard.curves)
    write(run, started(10), metrics(11))
    qtbot.waitUntil(lambda: last_step(history) == 11, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: len(heard.curves) > count, timeout=WAIT_MS)
    assert history.curve("train/loss").steps.tolist() == list(range(1, 12))
    follower.hide(run.id)
    assert follower.history(run.id) is None


def test_a_resume_by_another_program_is_noticed(
    store: Store, follower: Follower, heard: Heard, run: Run, qtbot: QtBot
) -> None:
    write(run, started(), metrics(1), RunFinished(step=1, outcome="paused", time=time.time() + 1))
    run.dir.write_status(GONE)
    follower.start()
    qtbot.waitUntil(lambda: follower.state(run.id) is RunState.PAUSED, timeout=WAIT_MS)
    run.dir.write_status(own_status(1, 100, "training"))
    write(run, started(1), metrics(2))
    qtbot.waitUntil(lambda: follower.state(run.id) is RunState.RUNNING, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: store.run(run.id).state is RunState.RUNNING, timeout=WAIT_MS)


def test_a_run_of_a_moved_study_is_followed_in_its_new_folder(
    store: Store, experiment: Experiment, follower: Follower, heard: Heard, tmp_path: Path, qtbot: QtBot
) -> None:
    assert experiment.config is not None
    study = store.add_study(tmp_path / "before", "study")
    link_arm(store, study.id, "clip", experiment.id)
    there = RunDir(tmp_path / "before" / "runs" / "clip-s0")
    there.create()
    there.config.write_text(experiment.config.to_json())
    run = store.import_run(there.path, experiment.id)
    write(run, started(), metrics(1))
    follower.start()
    history = follower.show(run.id)
    qtbot.waitUntil(lambda: last_step(history) == 1, timeout=WAIT_MS)
    assert follower.state(run.id) is RunState.INTERRUPTED
    (tmp_path / "before").rename(tmp_path / "after")
    store.move_study(study.id, tmp_path / "after")
    write(store.run(run.id), metrics(2), RunFinished(step=2))
    qtbot.waitUntil(lambda: (run.id, RunState.DONE) in heard.states, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: last_step(follower.history(run.id)) == 2, timeout=WAIT_MS)
    assert follower.show(run.id).curve("train/loss").steps.tolist() == [1.0, 2.0]
    assert store.run(run.id).state is RunState.DONE
    assert heard.added == [run.id], "once, not again after the move"


def test_news_for_a_busy_window_is_collected(follower: Follower, heard: Heard, run: Run, qtbot: QtBot) -> None:
    follower.start()
    history = follower.show(run.id)
    write(run, started())
    qtbot.waitUntil(lambda: len(history.starts) == 1, timeout=WAIT_MS)
    heard.curves.clear()
    for step in range(1, 31):  # the window is busy: its event loop does not turn
        write(run, metrics(step), Log(level="info", message=str(step)))
        time.sleep(0.01)
    while last_step(history) < 30:
        time.sleep(0.01)
    qtbot.waitUntil(lambda: bool(heard.curves), timeout=WAIT_MS)
    qtbot.wait(100)
    assert len(heard.curves) <= 3
    assert {"train/loss", "log"} <= set().union(*(names for _, names in heard.curves))


def test_a_locked_database_is_reported_once_and_written_later(
    store: Store, follower: Follower, heard: Heard, run: Run, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, held = store.record, True

    def refuse(run_id: int, progress: Progress, rewritten: bool = False) -> None:
        if held:
            raise StoreError("The database is locked by another program.")
        record(run_id, progress, rewritten)

    monkeypatch.setattr(store, "record", refuse)
    write(run, started(), metrics(1), RunFinished(step=1))
    follower.start()
    qtbot.waitUntil(lambda: bool(heard.troubles), timeout=WAIT_MS)
    qtbot.wait(150)
    assert heard.troubles == ["The database is locked by another program."]
    assert heard.states == [], "what the store does not have is not announced"
    held = False
    qtbot.waitUntil(lambda: heard.states == [(run.id, RunState.DONE)], timeout=WAIT_MS)
    assert store.run(run.id).step == 1


def test_a_script_that_starts_to_log_is_followed_to_its_end(store: Store, follower: Follower, qtbot: QtBot) -> None:
    added = list[int]()
    follower.run_added.connect(added.append)
    follower.start()
    run = core.start_run("x", home=store.home, project="cifar", system_seconds=0, record_code=False, total_steps=4)
    run.log({"train/loss": 1.0}, step=1)
    qtbot.waitUntil(lambda: bool(added), timeout=60_000)
    (run_id,) = added
    history = follower.show(run_id)
    qtbot.waitUntil(lambda: follower.state(run_id) is RunState.RUNNING, timeout=60_000)
    qtbot.waitUntil(lambda: history.curve("train/loss").values.tolist() == [1.0], timeout=60_000)
    run.finish(failed="diverged")
    qtbot.waitUntil(lambda: store.run(run_id).state is RunState.FAILED, timeout=60_000)
    stored = store.run(run_id)
    assert (stored.failure, stored.total_steps, stored.is_logged) == ("diverged", 4, True)
