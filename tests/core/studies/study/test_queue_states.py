"""The queue of a study over places that are made up here: what is told of them, logged, left, and when it is over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

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
