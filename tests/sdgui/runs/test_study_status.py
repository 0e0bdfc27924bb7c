"""What a study's folder says of it: its state, its runs, what they took, and results that cannot be used."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from core.spec.study import StudyDir, StudyStatus
from core.spec.study.folder import StudyRun
from sdgui.runs.study_status import (
    StudyRunSnapshot,
    StudySnapshot,
    last_request,
    read_study_folder,
    record_request,
    time_left,
)
from tests.sdgui.runs.test_study_programs import a_study

EMPTY: dict[str, Any] = {"version": 1, "arms": {}, "compare": [], "metrics": [], "seeds": [0, 1]}


@pytest.fixture
def out(tmp_path: Path) -> StudyDir:
    return a_study(tmp_path / "study", seeds=2)


def a_run(seed: int, state: Any, message: str = "") -> StudyRun:
    return StudyRun("clip", seed, f"runs/clip-{seed}", state, message)


def told(out: StudyDir, *runs: StudyRun, finished: bool = False, alive: bool = False) -> StudySnapshot:
    """The study once its program, which is this one or one that is gone, has told this."""
    status = StudyStatus(finished=finished, runs=list(runs)).touch()
    if not alive:
        status.started -= 1000.0
    out.write_status(status)
    return read_study_folder(out.path)


def measured(out: StudyDir, seed: int, seconds: float, evaluated: float = 0.0) -> None:
    measures, events = out.measures("clip", seed), out.run("clip", seed).events
    measures.parent.mkdir(parents=True, exist_ok=True)
    measures.write_text(json.dumps({"train_seconds": seconds}), encoding="utf-8")
    events.touch()
    os.utime(events, (1e9, 1e9))
    os.utime(measures, (1e9 + evaluated, 1e9 + evaluated))


def states(look: StudySnapshot) -> list[str]:
    return [run.state for run in look.runs]


def test_the_state_of_a_study_follows_its_program_and_requests(out: StudyDir) -> None:
    assert read_study_folder(out.path).state == "not started"
    assert told(out, alive=True).state == "starting"
    look = told(out, a_run(0, "training"), a_run(1, "waiting"), alive=True)
    assert (look.state, look.alive, states(look)) == ("running", True, ["training", "waiting"])
    look = told(out, a_run(0, "training"), a_run(1, "waiting"))
    assert (look.state, look.alive, states(look)) == ("interrupted", False, ["waiting", "waiting"])
    for what, state in (("pause", "paused"), ("stop", "stopped"), ("", "interrupted")):
        record_request(out.path, what)
        assert last_request(out) == what
        assert read_study_folder(out.path).state == state
    assert told(out, a_run(0, "done"), finished=True).state == "extended", "a seed was added"
    assert told(out, a_run(0, "done"), a_run(1, "done"), finished=True).state == "done"
    look = told(out, a_run(0, "done"), a_run(1, "failed", "no memory"), finished=True)
    assert (look.state, [run.message for run in look.failures]) == ("failed", ["no memory"])
    assert (look.done, len(look.runs)) == (1, 2)


def test_a_measured_run_is_done_whatever_was_reported(out: StudyDir) -> None:
    measured(out, 0, 60.0, evaluated=15.0)
    look = told(out, a_run(0, "training"), a_run(1, "training"), alive=True)
    assert states(look) == ["done", "training"]
    assert look.runs[0].seconds == 75.0
    assert look.runs[1].seconds is None
    out.measures("clip", 0).write_text("{", encoding="utf-8")
    assert read_study_folder(out.path).runs[0].seconds is None


def test_results_are_read_once_and_again_when_they_change(out: StudyDir) -> None:
    out.results.write_text(json.dumps(EMPTY), encoding="utf-8")
    os.utime(out.results, (1e9, 1e9))
    look = read_study_folder(out.path)
    assert look.results == EMPTY
    assert (look.results_stamp, look.results_problem) == (1e9, "")
    again = read_study_folder(out.path, look)
    assert again.results is look.results
    out.results.write_text(json.dumps(EMPTY | {"seeds": [0]}), encoding="utf-8")
    changed = read_study_folder(out.path, look)
    assert changed.results is not None
    assert changed.results["seeds"] == [0]
    out.results.unlink()
    assert (read_study_folder(out.path, changed).results, read_study_folder(out.path).results_stamp) == (None, 0.0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "cannot be read; delete the file"),
        (json.dumps(EMPTY | {"version": 2}), "has version 2, but this sdgui reads version 1"),
        (json.dumps({"version": 1, "arms": {}}), "does not contain study results"),
        (json.dumps(EMPTY | {"metrics": 7}), "Delete it and press Start to recreate it."),
    ],
)
def test_unusable_results_give_the_reason(out: StudyDir, text: str, sentence: str) -> None:
    out.results.write_text(text, encoding="utf-8")
    look = read_study_folder(out.path)
    assert look.results is None
    assert sentence in look.results_problem
    assert read_study_folder(out.path, look).results_problem == look.results_problem


def test_a_missing_or_wrong_folder_is_a_problem(out: StudyDir, tmp_path: Path) -> None:
    gone = read_study_folder(tmp_path / "nowhere")
    assert (gone.state, gone.study) == ("gone", None)
    assert "was not found" in gone.problem
    out.study.write_text('{"steps": 0}', encoding="utf-8")
    wrong = read_study_folder(out.path)
    assert (wrong.state, wrong.study, wrong.runs) == ("not started", None, ())
    assert "steps" in wrong.problem


DONE = [("slow", "done", 100.0), ("slow", "done", 200.0), ("fast", "done", 30.0)]


@pytest.mark.parametrize(
    ("runs", "left"),
    [
        (DONE, 0.0),
        ([*DONE, ("slow", "waiting", None)], 150.0),  # as its arm took
        ([*DONE, ("fast", "waiting", None), ("fast", "waiting", None)], 60.0),
        ([*DONE, ("new", "waiting", None)], 110.0),  # as all took
        ([*DONE, ("slow", "measuring", None)], 37.5),
        ([*DONE, ("slow", "failed", None)], 0.0),
        ([("new", "waiting", None)], None),
        ([("new", "training", 8.0)], 8.0),  # it says so itself
        ([("new", "training", 8.0), ("new", "waiting", None)], None),
        ([*DONE, ("slow", "training", 8.0), ("fast", "training", None)], 8.0),  # both at once
        ([*DONE, *2 * [("fast", "training", 8.0)], *3 * [("fast", "waiting", None)]], 68.0),  # two at once
    ],
)
def test_time_left_is_estimated_from_runs_of_the_same_arm(
    tmp_path: Path, runs: list[tuple[str, str, float | None]], left: float | None
) -> None:
    found = [
        StudyRunSnapshot(
            arm,
            seed,
            state,
            "",
            tmp_path,
            seconds=seconds if state == "done" else None,
            seconds_left=None if state == "done" else seconds,
        )
        for seed, (arm, state, seconds) in enumerate(runs)
    ]
    assert time_left(found, "running") == left
    assert time_left(found, "paused") is None
