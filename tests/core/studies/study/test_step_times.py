"""What a step of an arm takes: measured in rounds, in turn, once each; why it is not known; and steps of a budget."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from core.spec.study import Study, StudyDir
from core.studies.study import budgets
from core.studies.study.budgets import MAX_STEPS, measure_arms, measure_locally, step_time, steps_within
from core.studies.study.claiming import StudyError
from tests.core.studies.study.test_study import study_dict

ARMS = [{"name": "base", "preset": "clip"}, {"name": "other", "preset": "sd-clip"}]
STUDY = Study.model_validate(study_dict(*ARMS, steps=0, budgets=[10.0, 80.0]))


@pytest.fixture
def out(tmp_path: Path) -> StudyDir:
    found = StudyDir(tmp_path / "study")
    found.times.mkdir(parents=True)
    return found


def timed(out: StudyDir, arm: str, part: int, seconds: float) -> None:
    record = {"clock": "cpu", "step_seconds": seconds, "reference_seconds": seconds, "step_flops": 2e12}
    record |= {"machine": f"m{part}", "device": "cpu"}
    out.step_time(arm, part).write_text(json.dumps(record), encoding="utf-8")


def test_unmeasured_arms_are_timed_in_turn(out: StudyDir) -> None:
    did, said = list[tuple[str, int]](), list[str]()
    ended = threading.Event()

    def measure(_out: StudyDir, arm: str, part: int, *_: Any) -> str:
        did.append((arm, part))
        return "It broke." if arm == "broken" else ""

    timed(out, "base", 1, 1.0)
    out.step_time("other", 0).write_text("damaged")
    arms = ["base", "other", "broken"]
    problems = measure_arms(out, arms, ended, said.append, lambda: None, measure)
    assert did == [("base", 0), ("broken", 0), ("other", 1), ("base", 2), ("other", 2)]
    assert problems == {"broken": "It broke."}
    assert said == [
        "measuring the step time of base", "measuring the step time of broken", "failed: broken: It broke.",
    ]  # fmt: skip
    did.clear()
    said.clear()
    timed(out, "base", 0, 1.0)
    measure_arms(out, ["base"], ended, said.append, lambda: None, measure)
    assert (did, said) == ([("base", 2)], ["measuring the step time of base"]), "it says that it measures at all"
    ended.set()
    did.clear()
    assert measure_arms(out, arms, ended, said.append, lambda: None, measure) == {}
    assert did == []


def test_step_time_is_the_median_of_three_rounds(out: StudyDir) -> None:
    for part, seconds in enumerate((0.5, 9.0)):
        timed(out, "base", part, seconds)
        with pytest.raises(StudyError, match="the step time of base has not been measured yet"):
            step_time(out, STUDY, "base-10s")
    timed(out, "base", 2, 0.4)
    found = step_time(out, STUDY, "base-80s")
    assert (found.step_seconds, found.machine, found.step_flops) == (0.5, "m0", 2e12)
    assert [steps_within(out, STUDY, "base-10s", seconds) for seconds in (10.0, 10.4, 0.1, 1e12)] == [
        20, 20, 1, MAX_STEPS,
    ]  # fmt: skip
    out.step_time("base", 1).write_text("{")
    with pytest.raises(StudyError, match="the step time of base is unknown: "):
        step_time(out, STUDY, "base-10s")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print('well')", ""),
        ("import sys; print('first'); print('no memory\\n', file=sys.stderr); sys.exit(1)", "no memory"),
        ("import sys; sys.exit(3)", "the step-time measurement exited unexpectedly with status 3"),
    ],
)
def test_reasons_why_a_local_step_time_is_missing(
    out: StudyDir, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    monkeypatch.setattr(budgets, "JOB", (sys.executable, "-S", "-c", code))
    monkeypatch.setattr(budgets, "_POLL_SECONDS", 0.005)
    waited: list[None] = []
    assert measure_locally(out, "base", 1, threading.Event(), lambda: waited.append(None)) == said
    assert waited


def test_a_measurement_ends_with_its_study(out: StudyDir, monkeypatch: pytest.MonkeyPatch) -> None:
    note = out.path / "arguments"
    code = f"import sys, time, pathlib; pathlib.Path({str(note)!r}).write_text(' '.join(sys.argv[1:])); time.sleep(1e6)"
    monkeypatch.setattr(budgets, "JOB", (sys.executable, "-S", "-c", code))
    monkeypatch.setattr(budgets, "_POLL_SECONDS", 0.005)
    ended = threading.Event()

    def wait() -> None:
        if note.exists() and note.read_text():
            ended.set()

    assert measure_locally(out, "base", 2, ended, wait) == "", "it is no failure"
    assert note.read_text() == f"{out.path} base 2"
