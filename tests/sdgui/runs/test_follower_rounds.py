"""The follower, round by round, by a clock of the test: what is polled and recorded when, and said how often."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.spec.machines.record import RemoteRecord, record_file, write_record
from core.spec.run.events import EventError, EventReader, EventWriter, Log, Metrics, RunFinished, RunStarted, encode
from core.spec.run.status import RunState, RunStatus, own_status
from sdgui.runs import follower_thread as follower_module
from sdgui.runs.follower_thread import FollowerThread, Outbox, ShownRun
from sdgui.runs.live import LiveRun
from sdgui.store.records import Experiment, Place, Progress, Run, StoreError
from sdgui.store.store import Store

GONE = RunStatus(pid=2**22 + 4321, started=1.0, heartbeat=1.0)
POLL = 0.1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    monkeypatch.setattr(follower_module, "_IDLE_INTERVAL", 20)
    now = [500.0]
    monkeypatch.setattr(follower_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def follower(store: Store, clock: list[float]) -> FollowerThread:
    return FollowerThread(store, Outbox(), lambda: None, POLL)


@pytest.fixture
def polled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The runs whose folders were looked at."""
    found: list[int] = []
    poll = LiveRun.poll

    def noted(live: LiveRun) -> object:
        found.append(live.run_id)
        return poll(live)

    monkeypatch.setattr(LiveRun, "poll", noted)
    return found


def write(run: Run, *events: object) -> None:
    writer = EventWriter(run.dir.events)
    for event in events:
        writer.write(event)
    writer.close()


def started() -> RunStarted:
    return RunStarted(step=0, total_steps=90, config_digest="d")


def metrics(step: int) -> Metrics:
    return Metrics(step=step, values={"train/loss": 1.0})


def another(store: Store, experiment: Experiment) -> Run:
    run = store.add_run(experiment.id)
    run.dir.create()
    return run


def test_active_runs_are_polled_each_round_and_the_rest_seldom(
    follower: FollowerThread, store: Store, experiment: Experiment, run: Run, clock: list[float], polled: list[int]
) -> None:
    run.dir.write_status(own_status())
    dead = another(store, experiment)
    dead.dir.write_status(GONE)
    follower._poll_runs()
    assert polled == [run.id, dead.id]
    for seconds in (0.1, 1.0, 1.9):
        clock[0] = 500.0 + seconds
        follower._poll_runs()
    assert polled[2:] == [run.id] * 3
    clock[0] = 502.0
    follower._poll_runs()
    assert polled[5:] == [run.id, dead.id]
    clock[0] = 502.1
    follower.poll_now(dead.id)
    follower._poll_runs()
    assert polled[7:] == [run.id, dead.id]
    clock[0] = 504.0
    follower._poll_runs()
    assert polled[9:] == [run.id], "asked for is as good as due: the next seldom round is later"


def test_progress_is_recorded_twice_a_second_and_a_state_change_at_once(
    follower: FollowerThread, store: Store, run: Run, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded: list[tuple[float, int]] = []
    record = store.record

    def noted(run_id: int, progress: Progress, rewritten: bool = False) -> None:
        recorded.append((round(clock[0] - 500.0, 1), progress.step))
        record(run_id, progress, rewritten=rewritten)

    monkeypatch.setattr(store, "record", noted)
    run.dir.write_status(own_status())
    write(run, started())
    follower._poll_runs()
    assert recorded == [(0.0, 0)]
    for step, seconds in ((1, 0.2), (2, 0.4), (3, 0.5), (4, 0.9), (5, 1.0)):
        clock[0] = 500.0 + seconds
        write(run, metrics(step))
        follower._poll_runs()
    assert recorded == [(0.0, 0), (0.5, 3), (1.0, 5)]
    clock[0] = 501.1
    write(run, metrics(6), RunFinished(step=6))
    follower._poll_runs()
    assert recorded[3:] == [(1.1, 6)]
    clock[0] = 509.0
    follower.poll_now(run.id)
    follower._poll_runs()
    assert recorded[4:] == [], "there is nothing new"
    assert store.run(run.id).state is RunState.DONE
    assert follower._outbox.take().states == {run.id: RunState.DONE}


def test_a_problem_is_reported_once_and_again_when_it_returns(
    follower: FollowerThread, run: Run, clock: list[float], polled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    follower._poll_runs()

    def troubles() -> list[tuple[int, str]]:
        follower.poll_now(run.id)
        follower._poll_runs()
        follower._poll_runs()
        return follower._outbox.take().troubles

    assert troubles() == []
    run.dir.events.mkdir()
    first = troubles()
    assert [run_id for run_id, _ in first] == [run.id]
    assert f"{run.dir.events} is a folder" in first[0][1]
    polled.clear()
    follower._poll_runs()
    assert polled == [], "what cannot be read is not tried ten times a second"
    assert troubles() == []
    run.dir.events.rmdir()
    write(run, started())
    assert troubles() == [(run.id, "")], "it is over"
    run.dir.events.unlink()
    run.dir.events.mkdir()
    assert troubles() == first


def test_an_unresponsive_store_is_reported_once_and_followed_runs_stay(
    follower: FollowerThread, store: Store, run: Run, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    run.dir.write_status(own_status())
    follower._poll_runs()
    follower._outbox.take()
    with monkeypatch.context() as patch:
        patch.setattr(store, "change_markers", lambda: (_ for _ in ()).throw(StoreError("The database is away.")))
        for _ in range(2):
            follower.poll_now()
            follower._poll_runs()
    write(run, started(), metrics(3))
    follower._poll_runs()
    news = follower._outbox.take()
    assert news.troubles == [(0, "The database is away.")]
    assert news.removed == {}
    assert news.progress[run.id].step == 3
    follower.poll_now()
    follower._poll_runs()
    with monkeypatch.context() as patch:
        patch.setattr(store, "change_markers", lambda: (_ for _ in ()).throw(StoreError("The database is away.")))
        follower.poll_now()
        follower._poll_runs()
    assert follower._outbox.take().troubles == [(0, ""), (0, "The database is away.")], "it had come back meanwhile"


def test_unreadable_lines_of_a_shown_run_are_counted_in_its_log(
    follower: FollowerThread, run: Run, clock: list[float]
) -> None:
    shown = follower.shown[run.id] = ShownRun()
    run.dir.write_status(own_status())
    run.dir.events.write_bytes(encode(started()) + b"garbage\n")
    follower._poll_runs()
    with run.dir.events.open("ab") as file:
        file.write(b"more\n{}\n" + encode(Log(level="info", message="good")))
    follower._poll_runs()
    follower._poll_runs()
    said = [log.message for log in shown.history.logs]
    assert said[0].startswith("1 line of events.jsonl was unreadable and skipped. The first: ")
    assert said[1:] == ["good", "2 lines of events.jsonl were unreadable and skipped."]
    assert follower._outbox.take().loaded == {run.id: None}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied"), "The events of {} cannot be read: Permission denied."),
        (EventError("They are a pipe."), "They are a pipe."),
        (FileNotFoundError(2, "gone"), None),
    ],
)
def test_missing_curves_of_a_shown_run_are_reported_once(
    follower: FollowerThread, run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str | None
) -> None:
    class Refused(EventReader):
        def read(self, limit: int = 0) -> Any:
            raise error

    monkeypatch.setattr(follower_module, "EventReader", Refused)
    shown, live = ShownRun(), LiveRun(run, {})
    write(run, started())
    assert [follower._fill(live, shown, run.dir) for _ in range(2)] == [False, False]
    news = follower._outbox.take()
    assert news.troubles == ([(run.id, said.format(run.folder))] if said else [])
    assert (news.curves, news.loaded, shown.loaded) == ({}, {}, False)
    monkeypatch.undo()
    shown.reader = None
    follower._fill(live, shown, run.dir)
    assert shown.loaded, "it goes on when they can be read"


def test_unrecorded_progress_is_recorded_at_the_end(
    store: Store, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    follower = FollowerThread(store, Outbox(), lambda: None, 60.0)
    run.dir.write_status(own_status())
    write(run, started())
    follower._poll_runs()
    write(run, metrics(8))
    follower._poll_runs()
    assert store.run(run.id).step == 0, "it was recorded a moment ago"
    follower.ending.set()
    follower.run()
    assert store.run(run.id).step == 8


def test_an_unreadable_remote_record_is_reported_for_its_run_only(
    follower: FollowerThread, store: Store, experiment: Experiment, run: Run, clock: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(Store, "shared", True)
    far = store.add_run(experiment.id, place=Place("far"))
    far.dir.create()
    record_file(far.folder).symlink_to(record_file(far.folder))
    run.dir.write_status(own_status())
    follower._poll_runs()
    troubles = follower._outbox.take().troubles
    assert [run_id for run_id, _ in troubles] == [far.id]
    assert str(record_file(far.folder)) in troubles[0][1]
    assert follower.progress.keys() == {run.id, far.id}
    told: list[tuple[int, str, str]] = []
    monkeypatch.setattr(store, "record_remote_folder", lambda *what: told.append(what))
    record_file(far.folder).unlink()
    write_record(far.dir, RemoteRecord(machine="far", folder="/there", computer=""))
    follower.poll_now()
    follower._poll_runs()
    assert told == [], "it is not known which computer that is"
    write_record(far.dir, RemoteRecord(machine="far", folder="/there", computer="far.lab"))
    follower.poll_now()
    follower._poll_runs()
    assert told == [(far.id, "far.lab", "/there")]
