"""A run folder before and after a training: prepared once, refused in words, its ending recorded whatever it is."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from core.ranks.messages import Failure
from core.spec.config import override, read_config
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.events import EventReader, EventWriter, RunFailed, RunFinished, RunStarted
from core.spec.run.folder import RunDir, RunDirError
from core.spec.run.processes import own_start_time
from core.training import over_ranks
from core.training.errors import TrainingError
from core.training.team import recording
from core.training.team.recording import disk_full_error, open_events, prepare_run, record_failure, record_refusal
from core.training.team.signals import DUPLICATE_SIGNAL_S, signals_as_requests
from core.training.team.team import Team

CONFIG = preset_config("clip", "tiny")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    run.create()
    return run


def write(run: RunDir, *events: Any) -> None:
    writer = EventWriter(run.events)
    for event in events:
        writer.write(event)
    writer.close()


def finished(outcome: Any) -> RunFinished:
    return RunFinished(step=3, outcome=outcome)


def test_a_folder_is_prepared_with_its_config_and_a_finished_one_is_left(run: RunDir) -> None:
    assert prepare_run(CONFIG, run) is None
    assert run.config.read_text() == CONFIG.to_json()
    for events, outcome in (
        ([RunStarted(step=0, total_steps=3, config_digest="d")], None),
        ([finished("paused")], None),
        ([finished("done")], "done"),
        ([RunStarted(step=0, total_steps=3, config_digest="d")], None),
        ([RunFailed(step=1, error="E", message="m")], None),
    ):
        write(run, *events)
        assert prepare_run(CONFIG, run) == outcome


def test_older_requests_to_the_trainer_are_dropped_and_newer_ones_count(run: RunDir) -> None:
    for seconds, asked in ((-9.0, None), (9.0, "pause")):
        run.ask("pause")
        os.utime(run.control, (own_start_time() + seconds,) * 2)
        prepare_run(CONFIG, run)
        assert run.pending_request() == asked
    write(run, finished("done"))
    os.utime(run.control, (1.0, 1.0))
    prepare_run(CONFIG, run)
    assert run.pending_request() == "pause", "nothing is begun"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["name=other", "runtime.threads=3", "checkpoint.keep=9", "data.workers=5", "data.cache_mib=7"], ""),
        (["seed=7"], "seed is 0 in the folder, but 7 in this config; choose another folder"),
        (["seed=7", "optim.epochs=99"], " in the folder, but .* in this config and 1 more fields; choose"),
    ],
)
def test_settings_that_may_differ_on_resume(run: RunDir, settings: list[str], said: str) -> None:
    prepare_run(CONFIG, run)
    before = run.config.read_bytes()
    if said:
        with pytest.raises(RunDirError, match=said):
            prepare_run(override(CONFIG, settings), run)
    else:
        assert prepare_run(override(CONFIG, settings), run) is None
    assert run.config.read_bytes() == before


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (
            errno.ENOSPC,
            TrainingError,
            r"the disk with .*/run is full; the last checkpoint is intact\. Free some",
        ),
        (errno.EDQUOT, TrainingError, "is full"),
        (errno.EFBIG, TrainingError, "is full"),
        (errno.EACCES, RunDirError, "cannot write the run folder .*/run: Permission denied; choose another"),
    ],
)
def test_an_unwritable_folder_is_reported_with_the_reason(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[UserError], said: str
) -> None:
    def refuse(*_: object) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(recording, "EventWriter", refuse)
    with pytest.raises(kind, match=said):
        open_events(run)
    monkeypatch.setattr(recording.Lifecycle, "read", refuse)
    with pytest.raises(kind, match=said):
        prepare_run(CONFIG, run)
    assert (disk_full_error(run, OSError(number, "")) is None) == (number == errno.EACCES)


def last(run: RunDir) -> RunFailed:
    event = EventReader(run.events).read_all()[-1]
    assert isinstance(event, RunFailed)
    return event


def test_a_failure_is_recorded_with_its_location(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    events = open_events(run)
    for error, said in ((UserError("No room."), "No room."), (KeyError("x"), "KeyError: 'x'")):
        try:
            raise error
        except (UserError, KeyError) as caught:
            record_failure(events, 7, caught)
        found = last(run)
        assert (found.step, found.error, found.message) == (7, type(error).__name__, said)
        assert "test_recording.py" in found.traceback
    events.close()

    class Full:
        def write(self, event: object) -> None:
            raise OSError(errno.ENOSPC, "No space left")

    full: Any = Full()
    record_failure(full, 7, UserError("x"))
    assert capsys.readouterr().err == "the failure could not be written to the event log: No space left\n"


def test_a_refused_start_is_recorded_unless_the_run_is_finished(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "new")
    assert not record_refusal(CONFIG, run, UserError("Too few devices."))
    assert (last(run).message, last(run).step) == ("Too few devices.", 0)
    assert run.config.is_file()
    run.claim().release()
    write(run, finished("done"))
    count = len(EventReader(run.events).read_all())
    assert record_refusal(CONFIG, run, UserError("Too few devices."))
    assert len(EventReader(run.events).read_all()) == count
    run.claim().release()


def test_a_folder_accepts_a_corrected_config_until_it_has_started(tmp_path: Path) -> None:
    run, corrected = RunDir(tmp_path / "new"), override(CONFIG, ["seed=5"])
    assert not record_refusal(CONFIG, run, UserError("Too few devices."))
    assert not record_refusal(corrected, run, UserError("Too few devices."))
    assert read_config(run.config).seed == 5
    write(run, RunStarted(step=0, total_steps=9, config_digest=corrected.digest(), device="cpu"))
    with pytest.raises(RunDirError, match="another config"):
        record_refusal(CONFIG, run, UserError("x"))
    run.claim().release()


def test_the_first_signal_counts_and_handlers_are_restored() -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in numbers]
    for first, what in zip(numbers, ("stop", "stop", "pause", "pause"), strict=True):
        with signals_as_requests() as asked:
            assert not asked.is_set()
            signal.raise_signal(first)
            signal.raise_signal(signal.SIGUSR1)
            assert (asked.is_set(), asked.request) == (True, what)
            assert asked.requested_at <= time.monotonic()
            if first == signal.SIGTERM:
                assert signal.getsignal(first) is signal.SIG_DFL, "the second one ends it"
            if first == signal.SIGINT:
                with pytest.raises(KeyboardInterrupt):
                    signal.raise_signal(first)
        assert [signal.getsignal(number) for number in numbers] == before


def test_under_a_launcher_a_repeated_signal_is_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[int] = []
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with signals_as_requests(launched=True) as asked:
        handler: Any = signal.getsignal(signal.SIGTERM)
        monkeypatch.setattr(signal, "raise_signal", raised.append)
        for seconds in (0.0, 1.0, DUPLICATE_SIGNAL_S - 1.0):
            now[0] += seconds
            handler(signal.SIGTERM, None)
            assert signal.getsignal(signal.SIGTERM) is handler
        assert (asked.request, asked.requested_at, raised) == ("stop", 100.0, [])
        now[0] += 0.1
        handler(signal.SIGTERM, None)
        assert raised == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_thread_handles_no_signal() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), list[object]()

    def work() -> None:
        with signals_as_requests() as asked:
            seen.append((signal.getsignal(signal.SIGTERM), asked.is_set()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, False)]


class OneRank:
    """The messages of a run whose only rank is this one."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []

    def exchange(self, topic: str, value: Any) -> list[Any]:
        return [value]

    def failure(self, seconds: float = 0.0) -> None:
        return None

    def report_failure(self, failure: Failure) -> None:
        self.failures.append(failure)


def test_a_full_disk_ends_a_run_on_several_ranks_with_the_remedy(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_disk(*_: object) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(over_ranks, "Loop", fill_disk)
    messages: Any = OneRank()
    with pytest.raises(TrainingError, match=r"the disk with .*/run is full; the last checkpoint"):
        over_ranks._train_and_record(CONFIG, run, Team(messages=messages), [], True, "check")
    assert last(run).message == messages.failures[0].message
    assert last(run).error == "TrainingError"
