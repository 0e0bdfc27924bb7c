"""The queue of a study: how many at once, what an interrupt leaves, and which arms wait for another's time."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.spec.study import Study, StudyDir, read_study
from core.studies.study.queue import StudyError, run_study
from core.studies.study.selection import RunSelection
from tests.core.images import write_pairs
from tests.core.studies.study.test_study import fake_jobs, study_dict

__all__ = ["fake_jobs"]  # the fixture

SLOW: tuple[dict[str, Any], ...] = (
    {"name": "slow", "preset": "clip"},
    {"name": "base", "preset": "clip"},
    {"name": "longer", "preset": "clip", "set": ["seed=1"]},
)


def study_in(folder: Path, **more: Any) -> tuple[Study, StudyDir]:
    write_pairs(folder)
    return Study.model_validate(study_dict(*SLOW, seeds=[0], **more)), StudyDir(folder / "out")


def test_an_interrupt_stops_running_jobs_and_the_next_start_resumes(tmp_path: Path, fake_jobs: None) -> None:
    """One job at a time; the first waits until it is ended. The handlers of signals are given back."""
    study, out = study_in(tmp_path)
    handler = signal.getsignal(signal.SIGINT)
    running: list[int] = []

    def interrupt() -> None:
        while not (out.path / "calls.txt").exists():
            time.sleep(0.02)
        time.sleep(0.2)
        children = psutil.Process().children(recursive=True)
        running.extend(child.pid for child in children if any("fake_job" in word for word in child.cmdline()))
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        run_study(study, tmp_path, out, 1, lambda text: None)
    watcher.join()
    assert signal.getsignal(signal.SIGINT) == handler
    assert (out.path / "calls.txt").read_text().splitlines() == ["slow 0 10"], "one at a time"
    assert running
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in running)
    status = out.read_status()
    assert status is not None
    assert not status.finished
    assert {run.arm: run.state for run in status.runs} == {"slow": "waiting", "base": "waiting", "longer": "waiting"}
    assert out.read_results() is not None
    (out.path / "go").touch()
    status = run_study(study, tmp_path, out, 2, lambda text: None)
    assert status.finished
    assert status.done == 3
    calls = (out.path / "calls.txt").read_text().splitlines()
    assert calls[-1] == "longer 0 10", "it waits for the time of base"


def test_runs_get_one_gpu_each(tmp_path: Path, fake_jobs: None) -> None:
    """The first keeps its GPU until both others, one after another, are done on the second."""
    write_pairs(tmp_path)
    arms = [{"name": name, "preset": "clip"} for name in ("slow", "base", "other")]
    study, out = Study.model_validate(study_dict(*arms, seeds=[0])), StudyDir(tmp_path / "out")

    def let_it_go() -> None:
        while not out.measures("other", 0).exists():
            time.sleep(0.02)
        (out.path / "go").touch()

    watcher = threading.Thread(target=let_it_go)
    watcher.start()
    status = run_study(study, tmp_path, out, 1, lambda text: None, devices=["4", "7"])
    watcher.join()
    assert status.done == 3
    assert {run.arm: run.device for run in status.runs} == {"slow": "4", "base": "7", "other": "7"}
    seen = (out.path / "devices.txt").read_text().split("\n")
    assert sorted(seen) == ["", "base 7", "other 7", "slow 4"]
    read = out.read_status()
    assert read is not None
    assert [run.device for run in read.runs] == ["4", "7", "7"]


def test_selected_arms_and_seeds_are_trained_now_and_the_others_wait(tmp_path: Path, fake_jobs: None) -> None:
    study, out = study_in(tmp_path)
    (tmp_path / "out").mkdir()
    (out.path / "go").touch()
    study = study.model_copy(update={"seeds": [0, 1]})
    with pytest.raises(StudyError, match="no seed 7; available: 0, 1"):
        run_study(study, tmp_path, out, 1, lambda text: None, selection=RunSelection((), (7,)))
    assert not (out.path / "calls.txt").exists()
    status = run_study(study, tmp_path, out, 1, lambda text: None, selection=RunSelection(("base", "slow"), (1,)))
    assert (out.path / "calls.txt").read_text().splitlines() == ["slow 1 10", "base 1 10"]
    assert not status.finished
    assert sorted((run.arm, run.seed) for run in status.runs if run.state == "done") == [("base", 1), ("slow", 1)]
    assert run_study(study, tmp_path, out, 1, lambda text: None).finished
    found = out.read_results()
    assert found is not None
    assert found["config"] == read_study(out.study).digest()


def test_a_study_may_run_in_a_thread_and_ends_itself(tmp_path: Path, fake_jobs: None) -> None:
    """Signals are the main thread's; asking for them elsewhere is an error."""
    study, out = study_in(tmp_path)
    out.path.mkdir()
    (out.path / "go").touch()
    ended: list[object] = []

    def work() -> None:
        try:
            ended.append(run_study(study, tmp_path, out, 2, lambda text: None).finished)
        except BaseException as error:  # noqa: BLE001  what ends the thread is what is looked at
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(120)
    assert ended == [True]
