"""One run by hand, at chosen times: when it is read and judged, what is said of it, and what is recorded."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.spec.run.events import EventWriter, Metrics, RunFinished, RunStarted, encode
from core.spec.run.status import RunState, RunStatus, own_status
from sdgui.runs import live as live_module
from sdgui.runs.live import LiveRun
from sdgui.shared.run_texts import state_line
from sdgui.store.records import Run

NOW = time.time()
GONE = RunStatus(pid=2**22 + 4321, started=1.0, heartbeat=1.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that ``LiveRun`` sees."""
    monkeypatch.setattr(live_module, "_CHECK_SECONDS", 0.5)
    now = [NOW]
    monkeypatch.setattr(live_module, "time", SimpleNamespace(time=lambda: now[0]))
    return now


def record(folder: Path, **known: object) -> Run:
    run = Run(1, 1, "k", folder, "d", NOW, RunState.STARTING, launched=NOW)
    return replace(run, **known)  # type: ignore[arg-type]


def new(folder: Path, **known: object) -> LiveRun:
    run = record(folder, **known)
    run.dir.create()
    return LiveRun(run, {})


def write(live: LiveRun, *events: object) -> None:
    writer = EventWriter(live.dir.events)
    for event in events:
        writer.write(event)
    writer.close()


def started(step: int = 0) -> RunStarted:
    return RunStarted(step=step, total_steps=50, config_digest="d", time=NOW)


def metrics(step: int) -> Metrics:
    return Metrics(step=step, values={"train/loss": float(step)}, time=NOW)


def test_a_long_file_is_read_one_chunk_per_poll(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = 2 * len(encode(metrics(10))) + 5
    monkeypatch.setattr(live_module, "_CHUNK", chunk)
    live = new(tmp_path)
    write(live, started(), *(metrics(step) for step in range(10, 31)))
    size, steps, behind = live.dir.events.stat().st_size, [], []
    assert not live.has_backlog, "nothing was read yet"
    for _ in range(30):
        steps.append(live.poll().step)
        behind.append(live.has_backlog)
        assert behind[-1] == (live._last_poll_read_events and size - live._reader.offset > chunk)
    assert steps[0] < 13 < steps[-1] == 30
    assert behind[0]
    assert not behind[-1]
    live.dir.events.unlink()
    assert live.poll().step == 30, "out of reach: what is known stands"
    write(live, metrics(31))
    live.dir.events.chmod(0o600)
    assert not live.has_backlog


def test_processes_are_checked_at_intervals_and_only_for_active_runs(tmp_path: Path, clock: list[float]) -> None:
    live = new(tmp_path)
    judged: list[float] = []
    judge = live._determine_state

    def noted(now: float) -> None:
        judged.append(round(now - NOW, 1))
        judge(now)

    live._determine_state = noted  # type: ignore[method-assign]
    live.dir.write_status(own_status(doing="training"))
    for seconds in (0.0, 0.2, 0.5, 0.6, 0.9, 1.2):
        clock[0] = NOW + seconds
        assert live.poll().state is RunState.RUNNING
    assert judged == [0.0, 0.6, 1.2]
    clock[0] = NOW + 1.3
    live.dir.write_status(own_status(step=3, doing="training"))
    assert live.poll().step == 3
    write(live, started())
    live.poll()
    assert judged == [0.0, 0.6, 1.2, 1.3, 1.3], "news is judged at once"
    assert live.state.alive
    live.dir.write_status(GONE)
    assert live.poll().state is RunState.INTERRUPTED
    assert not live.state.alive
    clock[0] = NOW + 60
    live.poll()
    assert judged[-1] == 1.3, "the dead are left alone"
    live.refresh(record(tmp_path))
    live.poll()
    assert judged[-1] == 1.3, "the record says nothing new"
    live.refresh(record(tmp_path, launched=NOW + 59))
    live.poll()
    assert judged[-1] == 60.0
    live.dir.status.unlink()
    assert live.poll().state is RunState.STARTING
    for position, state in ((2, RunState.QUEUED), (None, RunState.STARTING)):
        live.refresh(record(tmp_path, launched=NOW + 59, queue_position=position))
        assert live.poll().state is state


def test_a_start_that_never_reached_the_trainer_is_a_failure(tmp_path: Path, clock: list[float]) -> None:
    live = new(tmp_path, launched=None)
    assert live.poll().state is RunState.INTERRUPTED
    live.refresh(record(tmp_path, launched=None, ending="failed", failure="No such program.", finished=NOW))
    live._checked_at = 0.0
    found = live.poll()
    assert (found.state, found.failure) == (RunState.FAILED, "No such program.")
    other = new(tmp_path / "other")
    other.dir.write_status(own_status())
    other.refresh(record(tmp_path / "other", ending="failed", failure="of an earlier time", finished=NOW - 9e6))
    assert other.poll().state is RunState.RUNNING, "it was launched since"


def test_a_folder_that_disappears_while_its_run_starts(tmp_path: Path, clock: list[float]) -> None:
    run = record(tmp_path / "run")
    live = LiveRun(run, {})
    assert live.poll().state is RunState.STARTING, "its folder is yet to come"
    run.dir.create()
    live._checked_at = 0.0
    assert live.poll().state is RunState.STARTING
    for path in sorted(run.folder.rglob("*"), reverse=True):
        path.rmdir()
    run.folder.rmdir()
    live._checked_at = 0.0
    found = live.poll()
    assert (found.state, found.failure) == (
        RunState.INTERRUPTED, f"The run folder {run.folder} no longer exists.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("events", "note", "stderr", "said"),
    [
        (b"", "", "", "The trainer exited unexpectedly; it may have been killed or run out of memory."),
        (b"", "", "loading\n  Killed \n\n", "The trainer exited unexpectedly: Killed"),
        (b"", "", "step 40 of 310, 2 min left\n", "exited unexpectedly; it may have been killed or run out of memory."),
        (b"", "Slurm ended job 12.", "Killed\n", "Slurm ended job 12."),
        (b"garbage\n", "Slurm ended job 12.", "Killed\n", "None of its events can be read: "),
        (b"garbage\n" + encode(metrics(1)), "", "Killed\n", "unexpectedly: Killed"),
    ],
    ids=[
        "nothing",
        "an error",
        "progress",
        "Slurm's word",
        "no event",
        "an event",
    ],  # what is written has the time in it
)
def test_reasons_of_an_interruption(
    tmp_path: Path, clock: list[float], events: bytes, note: str, stderr: str, said: str
) -> None:
    live = new(tmp_path)
    live.dir.events.write_bytes(events)
    live.dir.stderr.write_text(stderr)
    live.dir.write_status(replace(GONE, note=note))
    found = live.poll()
    assert found.state is RunState.INTERRUPTED
    assert said in found.failure


def test_a_run_that_was_ended_before_it_could_save_is_not_called_unexpected(tmp_path: Path, clock: list[float]) -> None:
    live = new(tmp_path)
    live.dir.stderr.write_text("Terminated\n")
    live.dir.write_status(GONE)
    live.dir.ask("stop")
    found = live.poll()
    assert found.state is RunState.INTERRUPTED
    assert found.failure == "Ended as requested, before it could save. Resume continues from the last checkpoint."


def test_a_finished_run_with_a_missing_folder_is_reported_until_it_is_back(tmp_path: Path, clock: list[float]) -> None:
    run = record(tmp_path / "run", state=RunState.DONE)
    live = new(run.folder, state=RunState.DONE)
    write(live, started(), metrics(50), RunFinished(step=50, time=NOW + 1))
    assert (live.poll().state, live.poll().folder_missing) == (RunState.DONE, False)
    aside = run.folder.rename(tmp_path / "aside")
    gone = live.poll()
    assert (gone.state, gone.folder_missing, gone.step) == (RunState.DONE, True, 50)
    assert state_line(run, gone) == "Done · folder missing · 50 steps"
    aside.rename(run.folder)
    assert not live.poll().folder_missing
    again = LiveRun(replace(run, offset=99, started=NOW, ending="done"), {})
    shutil.rmtree(run.folder)
    assert again.poll().folder_missing, "it went while no window was open"
