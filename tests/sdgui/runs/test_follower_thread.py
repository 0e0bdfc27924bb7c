"""One run that is nothing but garbage beside many good ones: all the good ones are followed, the bad one says why."""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest
from pytestqt.qtbot import QtBot

from core.spec.run.events import EventWriter, Metrics, RunFinished, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState, RunStatus
from sdgui.panels.runs.model import event_lines
from sdgui.runs.follower import Follower
from sdgui.runs.follower_thread import FollowerThread, Outbox
from sdgui.runs.live import LiveRun
from sdgui.store.records import Experiment, Run
from sdgui.store.store import Store
from tests.core.spec.run.hostile_events import HOSTILE_LINES
from tests.sdgui.driving import last_step

GONE = RunStatus(pid=2**22 + 4321, started=1.0, heartbeat=1.0)
GARBAGE = b"\n".join([*HOSTILE_LINES, random.Random(0).randbytes(100_000), b""])


@pytest.fixture
def troubles(follower: Follower) -> list[tuple[int, str]]:
    heard: list[tuple[int, str]] = []
    follower.trouble.connect(lambda run_id, sentence: heard.append((run_id, sentence)))
    return heard


def make(store: Store, experiment: Experiment) -> Run:
    """A run whose trainer is gone, with no events."""
    run = store.add_run(experiment.id)
    run.dir.create()
    assert experiment.config is not None
    run.dir.config.write_text(experiment.config.to_json())
    run.dir.write_status(GONE)
    return run


def begin(run: Run) -> None:
    with_events(run, RunStarted(step=0, total_steps=9, config_digest="d"), Metrics(step=1, values={"train/loss": 1.0}))


def with_events(run: Run, *events: RunStarted | Metrics | RunFinished) -> None:
    writer = EventWriter(run.dir.events)
    for event in events:
        writer.write(event)
    writer.close()


def all_followed(store: Store, follower: Follower, good: list[Run], qtbot: QtBot) -> None:
    """Each goes on, and it is seen: in its curve, in what is shown, and in the store."""
    histories = [follower.show(run.id) for run in good]
    for run in good:
        with_events(run, Metrics(step=2, values={"train/loss": 0.5}), RunFinished(step=2))
    qtbot.waitUntil(lambda: all(store.run(run.id).state is RunState.DONE for run in good))
    qtbot.waitUntil(lambda: all(history.curve("train/loss").values.tolist() == [1.0, 0.5] for history in histories))
    assert all(follower.state(run.id) is RunState.DONE for run in good)


def test_invalid_folders_beside_valid_runs(
    store: Store, experiment: Experiment, follower: Follower, troubles: list[tuple[int, str]], qtbot: QtBot
) -> None:
    runs = [make(store, experiment) for _ in range(7)]
    bad = runs.pop(3)
    bad.dir.events.write_bytes(GARBAGE)
    for run in runs:
        begin(run)
    follower.start()
    history = follower.show(bad.id)
    all_followed(store, follower, runs, qtbot)
    qtbot.waitUntil(lambda: store.run(bad.id).state is RunState.INTERRUPTED)
    why = (
        f"None of its events can be read: {bad.dir.events}, at byte 0: metrics.values.train/loss: Input should be a "
        "valid number, not None."
    )
    assert store.run(bad.id).failure == why  # in its row, and over Runs
    progress = follower.progress(bad.id)
    assert progress is not None
    assert progress.failure == why
    qtbot.waitUntil(lambda: bool(history.logs))
    assert any("were unreadable and skipped. The first: " in line for _, _, line in event_lines(history))
    assert troubles == []


@pytest.mark.parametrize("what", ["pipe", "endless"])
def test_event_logs_that_are_no_files_are_reported_once_and_stop_nothing(
    store: Store, experiment: Experiment, follower: Follower, troubles: list[tuple[int, str]], qtbot: QtBot, what: str
) -> None:
    good, bad = make(store, experiment), make(store, experiment)
    begin(good)
    if what == "pipe":
        os.mkfifo(bad.dir.events)
    else:
        bad.dir.events.touch()
        os.truncate(bad.dir.events, 1 << 30)
    follower.start()
    follower.show(bad.id)
    all_followed(store, follower, [good], qtbot)
    qtbot.waitUntil(lambda: store.run(bad.id).state is RunState.INTERRUPTED)
    failure = store.run(bad.id).failure
    if what == "endless":
        assert "a line longer than 4 MB" in failure
        return
    assert f"{bad.dir.events} is a named pipe" in failure
    bad.dir.events.unlink()
    begin(bad)  # fixed: it is followed again
    all_followed(store, follower, [bad], qtbot)
    assert troubles[0] == (bad.id, failure)
    assert {sentence for _, sentence in troubles[1:]} <= {""}, "said once"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ZeroDivisionError("by nothing"), "The run in {} cannot be followed: ZeroDivisionError: by nothing."),
        (OSError(5, "Input/output error"), "The run folder {} cannot be read: Input/output error."),
    ],
)
def test_an_error_with_one_run_stops_no_other(
    store: Store, experiment: Experiment, follower: Follower, troubles: list[tuple[int, str]], qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str,
) -> None:  # fmt: skip
    good, bad = make(store, experiment), make(store, experiment)
    begin(good)
    poll = LiveRun.poll

    def broken(live: LiveRun) -> object:
        if live.run_id == bad.id:
            raise error
        return poll(live)

    monkeypatch.setattr(LiveRun, "poll", broken)
    follower.start()
    all_followed(store, follower, [good], qtbot)
    qtbot.waitUntil(lambda: bool(troubles))
    sentence = said.format(bad.folder)
    assert troubles == [(bad.id, sentence)]
    if not isinstance(error, OSError):
        progress = follower.progress(bad.id)
        assert progress is not None
        assert progress.failure == sentence


def test_a_bug_with_the_store_does_not_end_the_thread(
    store: Store, experiment: Experiment, follower: Follower, troubles: list[tuple[int, str]], qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    good = make(store, experiment)
    begin(good)
    stamps = store.change_markers
    broken = [1, 2]

    def failing() -> dict[int, tuple[object, ...]]:
        if broken:
            broken.pop()
            raise KeyError("nobody thought of it")
        return stamps()

    monkeypatch.setattr(store, "change_markers", failing)
    follower.start()
    qtbot.waitUntil(lambda: follower.state(good.id) is RunState.INTERRUPTED)
    said = [(0, "The runs cannot be followed: KeyError: 'nobody thought of it'."), (0, "")]
    qtbot.waitUntil(lambda: troubles == said)  # once, and that it is over


def test_the_reason_for_missing_events_survives_a_restart(store: Store, experiment: Experiment, qtbot: QtBot) -> None:
    bad = make(store, experiment)
    bad.dir.events.write_bytes(GARBAGE)
    failures = []
    for _ in range(2):
        follower = Follower(store, poll_seconds=0.02)
        follower.start()
        qtbot.waitUntil(lambda follower=follower: follower.state(bad.id) is RunState.INTERRUPTED)
        follower.close()
        failures.append(store.run(bad.id).failure)
        assert store.run(bad.id).offset == len(GARBAGE)
    assert failures[0] == failures[1]
    assert "Input should be a valid number, not None" in failures[0]


def test_a_replaced_events_file_replaces_all_curves(
    store: Store, experiment: Experiment, follower: Follower, qtbot: QtBot
) -> None:
    """Also where the new one begins without a start, which would cut what is later than it."""
    run = make(store, experiment)
    losses = [Metrics(step=step, values={"train/loss": 1.0, "train/former": 1.0}) for step in range(1, 30)]
    with_events(run, RunStarted(step=0, total_steps=40, config_digest="d"), *losses)
    follower.start()
    history = follower.show(run.id)
    qtbot.waitUntil(lambda: last_step(history) == 29 and store.run(run.id).step == 29)
    other = RunDir(run.folder / "exports")
    writer = EventWriter(other.events)
    writer.write(Metrics(step=3, values={"train/loss": 8.0}))
    writer.close()
    other.events.replace(run.dir.events)
    qtbot.waitUntil(lambda: last_step(follower.history(run.id)) == 3)
    qtbot.waitUntil(lambda: store.run(run.id).step == 3)
    history = follower.show(run.id)
    assert history.curve("train/loss").steps.tolist() == [3.0]
    assert history.names == ("train/loss",)
    assert history.starts == ()
    assert set(store.summaries([run.id])[run.id]) == {"train/loss"}


def test_the_state_of_a_remote_run_is_reported_on_change(store: Store, experiment: Experiment) -> None:
    outbox = Outbox()
    follower = FollowerThread(store, outbox, lambda: None, 60.0)
    run = replace(store.add_run(experiment.id), owner_host="another computer", state=RunState.RUNNING)
    assert not run.is_local
    for state, told in (
        (RunState.RUNNING, {run.id: RunState.RUNNING}),
        (RunState.RUNNING, {}),
        (RunState.DONE, {run.id: RunState.DONE}),
    ):
        follower._publish_record(replace(run, state=state))
        assert follower.progress[run.id].state is state
        assert dict(outbox.take().states) == told
