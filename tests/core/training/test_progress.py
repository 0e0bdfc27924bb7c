"""Progress: time left and pace by hand, a status that says what is true, lines for a terminal, memory that fits."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from core.spec.run.folder import RunDir
from core.spec.run.status import RunStatus
from core.training import progress
from core.training.memory import largest_that_fits
from core.training.progress import Heartbeat, TimeLeft, duration


def test_time_left_is_estimated_from_the_last_steps() -> None:
    left = TimeLeft(window=3)
    assert left.seconds(0, 10, 100.0) is None
    assert left.seconds(2, 10, 104.0) == pytest.approx(16.0)
    assert left.seconds(4, 10, 112.0) == pytest.approx(18.0)
    assert left.seconds(5, 10, 116.0) == pytest.approx(5 * 12 / 3)  # the first mark has left the window
    assert left.seconds(12, 10, 117.0) == 0.0
    assert left.seconds(1, 10, 118.0) is None  # anew: what was before has another pace
    assert left.seconds(2, 10, 121.0) == pytest.approx(24.0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(59.4, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (90061, "25 h 1 min")],
)
def test_durations_as_text(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def status(run: RunDir) -> RunStatus:
    found = run.read_status()
    assert found is not None
    return found


def test_the_status_is_written_at_start_and_end_and_time_left_covers_only_training(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with Heartbeat(run, quiet=True) as heartbeat:
        assert status(run).doing == "starting"
        heartbeat.update("training", 1, 8)
        heartbeat.update("training", 2, 8)
        left = heartbeat._seconds_left
        assert left is not None
        heartbeat.update("saving", 2, 8)
        assert heartbeat._seconds_left == left
        heartbeat.update_substep("decoding images", 3, 9)
    ended = status(run)  # at once, not with the next beat
    assert (ended.step, ended.total_steps, ended.doing) == (2, 8, "decoding images 3/9")
    assert ended.pid == os.getpid()


def test_the_heartbeat_lasts_until_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beats, enough = list[float](), threading.Event()
    monkeypatch.setattr(progress, "HEARTBEAT_SECONDS", 0.002)

    def write(_run: RunDir, status: RunStatus) -> None:
        beats.append(status.heartbeat)
        if len(beats) >= 6:
            enough.set()

    monkeypatch.setattr(RunDir, "write_status", write)
    with Heartbeat(RunDir(tmp_path), quiet=True):
        assert enough.wait(60), "a window would call it lost"


def test_an_unwritable_status_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(run: RunDir, told: RunStatus) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(RunDir, "write_status", full)
    with Heartbeat(RunDir(tmp_path), quiet=True):
        pass
    assert f"cannot write {tmp_path / 'status.json'}: " in capsys.readouterr().err


def test_stderr_has_few_lines_including_the_last_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeat, now = Heartbeat(RunDir(tmp_path)), [1000.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    heartbeat.update_substep("loading", 0, 0)
    for step in range(1, 5):
        now[0] += 1.0
        heartbeat.update("training", step, 4, f"loss {step}")
    assert capsys.readouterr().err.splitlines() == ["loading", "training: step 4/4, 0 s left, loss 4"]
    now[0] += 11.0
    heartbeat.update("validating", 4, 4)
    assert capsys.readouterr().err.startswith("validating: step 4/4")


@pytest.mark.parametrize(("fits", "wanted"), [(100, 24), (11, 6), (0, 0)])
def test_the_largest_half_that_fits(fits: int, wanted: int) -> None:
    tried: list[int] = []

    def attempt(size: int) -> None:
        tried.append(size)
        if size > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")

    assert largest_that_fits(attempt, 48) == wanted
    assert max(tried) == 24  # the whole did not fit


def test_a_terminal_has_one_redrawn_line_and_a_quiet_run_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, shown = [1000.0], list[str]()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    heartbeat = Heartbeat(RunDir(tmp_path))
    for seconds in (0.0, 0.4, 0.1, 0.4):
        now[0] += seconds
        heartbeat.update_substep("decoding images", 3, 9)
        shown.append(capsys.readouterr().err)
    line = "\r\x1b[Kdecoding images 3/9"
    assert shown == [line, "", line, ""], "twice a second"
    heartbeat.update("training", 9, 9)
    assert capsys.readouterr().err == "\r\x1b[Ktraining: step 9/9"
    quiet = Heartbeat(RunDir(tmp_path), quiet=True)
    quiet.update("training", 9, 9)
    assert capsys.readouterr().err == ""


def test_the_status_of_another_rank_is_left_alone(tmp_path: Path) -> None:
    with Heartbeat(RunDir(tmp_path), quiet=True, writes=False) as heartbeat:
        heartbeat.update("training", 3, 9)
    assert not RunDir(tmp_path).status.exists()
