"""The queue of a study over places that are made up here: what is told of them, logged, left, and when it is over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.spec.run.status import own_status
from core.spec.study import Study, StudyDir
from core.studies.study import queue as queue_module
from core.studies.study.places.place import Ended
from core.studies.study.queue import StudyQueue
from core.studies.study.selection import ALL_RUNS, RunSelection
from tests.core.studies.study.test_study import study_dict
from tests.core.studies.study.test_study_rules import Pretended


class Logged(StudyQueue):
    """A queue that keeps what it says."""

    said: list[str]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Logged]:
    monkeypatch.setattr(queue_module, "write_results", lambda out, study: wrote.append(None))
    wrote: list[None] = []

    def make(*places: Any, seeds: tuple[int, ...] = (0,), selection: RunSelection = ALL_RUNS) -> Logged:
        study, out, said = Study.model_validate(study_dict(seeds=list(seeds))), StudyDir(tmp_path), list[str]()
        out.runs.mkdir(exist_ok=True)
        queue = Logged(study, out, places, said.append, selection)
        queue.said, queue.wrote = said, wrote  # type: ignore[attr-defined]
        return queue

    return make


class Training:
    """A run at work whose looks are given beforehand."""

    state, trouble = "training", ""

    def __init__(self, *looks: Ended | None) -> None:
        self.looks, self.did = list(looks), list[str]()

    def poll(self) -> Ended | None:
        return self.looks.pop(0) if self.looks else None

    def request_stop(self) -> None:
        self.did.append("ask")

    def abandon(self) -> None:
        self.did.append("leave")


def test_problems_of_places_are_logged_on_change_and_in_the_status(made: Callable[..., Logged]) -> None:
    near, far, last = Pretended("", []), Pretended("far", []), Pretended("last", [])
    queue = made(near, far, last)
    trouble = []
    for problem, told in (("", ""), ("", "far waits."), ("", "far waits."), ("far is full.", "far waits."), ("", "")):
        far.problem, far.trouble = problem, told
        last.trouble = told
        queue._write_status()
        status = queue.out.read_status()
        assert status is not None
        trouble.append(status.trouble)
        assert status.pid > 0
    assert trouble == ["", "far waits.", "far waits.", "far is full.\nfar waits.", ""]
    assert queue.said == ["far waits.", "far is full.\nfar waits."], "once each, and the same words once"


def test_runs_get_stop_signals_and_unresponsive_ones_are_left(
    made: Callable[..., Logged], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, queue = Pretended("", []), made(Pretended("", []), seeds=(0, 1))
    stopped, done, deaf = Training(None, Ended("stopped")), Training(Ended()), Training()
    queue.running = {0: (place, stopped), 1: (place, done), 2: (place, deaf)}  # type: ignore[dict-item]
    for run in queue.status.runs[:3]:
        run.state, run.message = "training", "slowly"
    now = [0.0]
    monkeypatch.setattr("core.studies.study.queue.time.monotonic", lambda: now[0])
    monkeypatch.setattr("core.studies.study.queue.time.sleep", lambda seconds: now.__setitem__(0, now[0] + 30.0))
    queue._end_all()
    assert [(run.state, run.message) for run in queue.status.runs] == [
        ("waiting", ""), ("done", ""), ("waiting", ""), ("waiting", ""),
    ]  # fmt: skip
    assert (stopped.did, done.did, deaf.did) == (["ask"], ["ask"], ["ask", "leave"])
    assert len(queue.wrote) == 1, "what was done is in the results"  # type: ignore[attr-defined]


def test_the_end_of_a_run_is_logged_and_an_unused_device_released(made: Callable[..., Logged]) -> None:
    place, queue = Pretended("far", []), made(Pretended("", []))
    run = queue.status.runs[0]
    for ended, state, message, wrote in (
        (Ended("no room"), "failed", "no room", 0),
        (Ended(), "done", "", 1),
        (Ended("cut", again=True), "waiting", "", 1),
    ):
        run.state, run.message, run.machine, run.device = "training", "slowly", "far", "3"
        queue.running[0] = (place, Training())  # type: ignore[assignment]
        queue.settle(0, place, ended)
        assert (run.state, run.message, queue.running) == (state, message, {})
        assert (run.machine, run.device) == (("", "") if ended.again else ("far", "3"))
        assert len(queue.wrote) == wrote  # type: ignore[attr-defined]
    assert queue.said == [f"failed: {run.arm}, seed 0: no room"]
    assert place.problem == "cut"


def test_ending_and_unselected_runs_wait(made: Callable[..., Logged]) -> None:
    queue = made(Pretended("", ["0", "1", "2"]), seeds=(0, 1), selection=RunSelection((), (0,)))
    first = queue.status.runs[0]
    folder = queue.out.run(first.arm, 0)
    folder.create()
    folder.write_status(own_status())
    queue._start()
    assert [run.state for run in queue.status.runs] == ["waiting", "training", "waiting", "waiting"]
    assert [(run.arm, run.seed) for run in queue._selected_runs()] == [(run.arm, 0) for run in queue.status.runs[:2]]
    folder.status.unlink()
    queue._start()
    assert [run.state for run in queue.status.runs] == ["training", "training", "waiting", "waiting"]


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_study_is_finished_when_the_selected_runs_are(
    made: Callable[..., Logged], monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    ended = threading.Event()

    @contextmanager
    def asked() -> Any:
        yield ended

    monkeypatch.setattr(queue_module, "_stop_signals", asked)
    monkeypatch.setattr(queue_module, "POLL_SECONDS", 0.001)
    for chosen, finished in ((ALL_RUNS, True), (RunSelection((), (0,)), False)):
        place = Pretended("", [str(number) for number in range(4)])
        place.ends = Ended("it broke")
        queue = made(place, seeds=(0, 1), selection=chosen)
        if interrupted:
            ended.set()
            with pytest.raises(KeyboardInterrupt):
                queue.work()
        else:
            assert queue.work() is queue.status
        assert queue.status.finished is (finished and not interrupted)
        status = queue.out.read_status()
        assert status is not None
        assert status.finished == queue.status.finished
        states = [run.state for run in queue.status.runs]
        assert states == (
            ["waiting"] * 4 if interrupted else ["failed"] * 4 if finished else ["failed"] * 2 + ["waiting"] * 2
        )
