"""Studies by budget: arms at several budgets, steps from a measured cost, and where an arm overtakes another."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from pydantic import ValidationError

from core.spec.config import override, with_absolute_paths
from core.spec.presets import preset_config
from core.spec.study import Study, StudyDir, read_study
from core.spec.study.records import results_problem
from core.studies.study import budgets, queue, step_time
from core.studies.study.claiming import StudyError
from core.studies.study.crossings import Difference, crossing
from core.studies.study.places import local_place
from core.studies.study.queue import run_study
from tests.core.images import write_pairs

# A step of `base` takes 0.5 s and one of `better` 1 s; better gains 0.1 with each doubling from 0.2 at 10 s.
STEP_TIME = """
import json, sys
out, arm, part = sys.argv[1:]
with open(f"{out}/timed.txt", "a") as calls:
    calls.write(f"{arm} {part}\\n")
if arm == "broken":
    print("error: it is broken", file=sys.stderr)
    sys.exit(1)
load = {"base": [1.0, 9.0, 0.8], "better": [7.0, 7.0, 1.0]}[arm][int(part)]  # the machine was busier for better
seconds = {"base": 0.5, "better": 1.0}[arm] * load
record = {"clock": "cpu", "step_seconds": seconds, "reference_seconds": 0.5 * load, "step_flops": 2e12}
record |= {"machine": "here", "device": "cpu"}
open(f"{out}/times/{arm}-{part}.json", "w").write(json.dumps(record))
"""
JOB = """
import json, math, sys
out, arm, seed, steps = sys.argv[1:]
with open(f"{out}/calls.txt", "a") as calls:
    calls.write(f"{arm} {seed} {steps}\\n")
base, _, seconds = arm.rpartition("-")
value = 0.4 if base == "base" else 0.2 + 0.1 * math.log2(float(seconds.rstrip("s")) / 10)
value += 0.01 * int(seed)
value += 0.0004 * (int(seed) - 0.5) * (base == "better")  # gains of two seeds are never quite the same
measures = {"step_seconds": 0.1, "train_seconds": 1.0, "networks": {"student": {"val/R@1": value}}}
open(f"{out}/runs/{arm}-s{seed}/exports/measures.json", "w").write(json.dumps(measures))
"""


def budget_study_dict(**more: Any) -> dict[str, Any]:
    return {
        "name": "small",
        "size": "tiny",
        "budgets": [10, 80],
        "seeds": [0, 1],
        "data": {"train": "train.csv", "val": "val.csv"},
        "arms": [{"name": "base", "preset": "clip"}, {"name": "better", "preset": "sd-clip"}],
        "measures": [{"name": "val", "task": "retrieval", "data": "val"}],
        **more,
    }


@pytest.fixture
def fake_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, code in ((local_place, "job.py", JOB), (budgets, "time.py", STEP_TIME)):
        (tmp_path / name).write_text(code)
        monkeypatch.setattr(module, "JOB", (sys.executable, str(tmp_path / name)))
    monkeypatch.setattr(queue, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(budgets, "_POLL_SECONDS", 0.02)


def test_each_arm_is_retrained_for_each_budget(tmp_path: Path, fake_jobs: None) -> None:
    write_pairs(tmp_path)
    study, out = Study.model_validate(budget_study_dict()), StudyDir(tmp_path / "out")
    status = run_study(study, tmp_path, out, 1, lambda text: None)
    assert status.finished
    timed = (out.path / "timed.txt").read_text().split("\n")[:-1]
    assert timed == ["base 0", "better 0", "base 1", "better 1", "base 2", "better 2"]  # in turn
    calls = set((out.path / "calls.txt").read_text().splitlines())
    # the median of 0.5, 4.5 and 0.4 s is 0.5 s, and better takes twice as long as base did then
    assert {"base-10s 0 20", "better-10s 0 10", "base-80s 1 160", "better-80s 1 80"} <= calls
    assert len(calls) == 8

    results = out.read_results()
    assert results is not None
    assert results_problem(results) == ""
    cost = results["arms"]["better-80s"]["cost"]
    assert (cost["budget"], cost["steps"], cost["flops"], cost["clock"]) == (80, 80, 80 * 2e12, "cpu")
    assert cost["ratio"]["mean"] == pytest.approx(2.0)
    differences = [one["metrics"]["val/R@1"]["final"]["difference"]["mean"] for one in results["compare"]]
    assert differences == pytest.approx([-0.2, 0.1])  # at 10 s and at 80 s, never across budgets
    (found,) = results["crossings"]
    assert (found["arm"], found["baseline"], found["kind"]) == ("better", "base", "overtakes")
    assert found["seconds"] == pytest.approx(40.0)  # 0.2 + 0.1 log2(s / 10) is 0.4
    table = out.table.read_text()
    assert "| better - base | val/R@1 | -20.0 (-20.3 to -19.7) | +10.0 (9.7 to 10.3) | overtakes at 40 s |" in table
    assert "CPU time" in table
    drawn = ElementTree.fromstring(out.costs.read_text())
    assert sum(part.tag.endswith("circle") for part in drawn.iter()) == 4  # two arms at two budgets


def test_a_study_resumes_with_measured_steps_and_may_gain_budgets(tmp_path: Path, fake_jobs: None) -> None:
    write_pairs(tmp_path)
    out = StudyDir(tmp_path / "out")

    def run(**more: Any) -> int:
        run_study(Study.model_validate(budget_study_dict(seeds=[0], **more)), tmp_path, out, 1, lambda text: None)
        return len((out.path / "timed.txt").read_text().splitlines())

    assert run(budgets=[10]) == 6
    assert run() == 6  # the new budget takes the same measurements
    assert len((out.path / "calls.txt").read_text().splitlines()) == 4
    assert {run.arm for run in read_status(out).runs} == {"base-10s", "better-10s", "base-80s", "better-80s"}
    out.step_time("base", 1).write_text('{"clock": "cpu", "step_seconds": -1}')
    assert run(budgets=[10, 80, 90]) == 6
    messages = {run.arm: run.message for run in read_status(out).runs if run.state == "failed"}
    assert set(messages) == {"base-90s", "better-90s"}, "the first arm's step is the unit of all"
    assert "step_seconds" in messages["base-90s"]
    assert "Remove the file" in messages["base-90s"]


def read_status(out: StudyDir) -> Any:
    found = out.read_status()
    assert found is not None
    return found


def test_an_arm_whose_step_cannot_be_measured_fails_and_the_others_continue(tmp_path: Path, fake_jobs: None) -> None:
    write_pairs(tmp_path)
    arms = [*budget_study_dict()["arms"], {"name": "broken", "preset": "siglip"}]
    out = StudyDir(tmp_path / "out")
    run_study(Study.model_validate(budget_study_dict(arms=arms, seeds=[0])), tmp_path, out, 1, lambda text: None)
    failed = {run.arm: run.message for run in read_status(out).runs if run.state == "failed"}
    assert failed == {"broken-10s": "error: it is broken", "broken-80s": "error: it is broken"}
    assert read_status(out).done == 4
    assert (out.path / "timed.txt").read_text().count("broken") == 1  # not tried again in each round


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"budgets": [0]}, "above 0"),
        ({"budgets": [math.inf]}, "finite"),
        ({"budgets": [10, 10]}, "listed twice"),
        ({"budgets": [10], "steps": 5}, "steps or budgets"),
        ({"arms": [{"name": "base", "preset": "clip", "budget": 5}]}, "its own budget"),
        ({"arms": [{"name": "x" * 60, "preset": "clip"}]}, "rename the arm"),
    ],
)
def test_invalid_budgets_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Study.model_validate(budget_study_dict() | change)


def test_measures_and_overrides_follow_the_arm() -> None:
    measures = [{"name": "val", "task": "retrieval", "data": "val", "arms": ["better"]}]
    study = Study.model_validate(budget_study_dict(measures=measures, compare=[["better", "base"]]))
    assert [arm.name for arm in study.arms_to_train] == ["base-10s", "better-10s", "base-80s", "better-80s"]
    assert study.pairs == [("better-10s", "base-10s"), ("better-80s", "base-80s")]
    assert study.measures_of("base-80s") == []
    assert [one.name for one in study.measures_of("better-80s")] == ["val"]
    assert study.arm("better-80s").budget == 80
    assert study.configured_arm("better-80s").name == "better"


@pytest.mark.parametrize(
    ("points", "found"),
    [
        ([], None),
        ([(10, 1.0), (20, 2.0)], ("ahead", None)),
        ([(10, 0.4)], ("not significant", None)),  # the interval holds 0
        ([(10, 0.4), (20, 1.0)], ("ahead", 20)),
        ([(10, 1.0), (20, -0.4)], ("not significant", 20)),
        ([(1000, 1.0), (10, -1.0)], ("overtakes", 100.0)),  # half way on a logarithmic scale
        ([(10, 3.0), (1000, -1.0)], ("falls behind", 10 ** (1 + 2 * 0.75))),
        ([(10, 1.0), (20, -1.0), (80, 1.0)], ("overtakes", 40.0)),  # the last change counts
        ([(2, -3.0), (10, -1.0), (1000, 1.0)], ("overtakes", 100.0)),  # from the last budget that tells otherwise
    ],
)
def test_the_budget_where_one_arm_overtakes_another(
    points: list[tuple[float, float]], found: tuple[str, float | None]
) -> None:
    """Of differences whose intervals reach half a point to either side."""
    got = crossing([Difference(seconds, mean, mean - 0.5, mean + 0.5) for seconds, mean in points])
    if found is None:
        assert got is None
        return
    assert got is not None
    kind, seconds = found
    assert (got.kind, got.last.seconds) == (kind, max(points)[0])
    assert got.seconds == (seconds if seconds is None else pytest.approx(seconds))
    ranks = [Difference(seconds, -mean, -mean - 0.5, -mean + 0.5) for seconds, mean in points]
    lower = crossing(ranks, lower_is_better=True)
    assert lower is not None
    assert (lower.kind, lower.seconds) == (got.kind, got.seconds)


def test_a_single_seed_has_no_significance() -> None:
    got = crossing([Difference(10, 1.0, None, None), Difference(20, 2.0, None, None)])
    assert got is not None
    assert got.kind == "not significant"


def test_step_time_includes_the_share_of_teacher_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations are counted, so they can be compared: twice the batch, twice the operations of the towers."""
    write_pairs(tmp_path)
    monkeypatch.setattr(step_time, "TIMED_STEPS", 5)
    monkeypatch.setattr(step_time, "COUNTED_STEPS", 3)
    out = StudyDir(tmp_path / "out")
    out.times.mkdir(parents=True)
    study = Study.model_validate(budget_study_dict(set=["optim.batch_size=4", "runtime.threads=1"]))
    study = study.model_copy(update={"data": {name: str(tmp_path / file) for name, file in study.data.items()}})
    out.study.write_text(study.to_json())
    assert read_study(out.study) == study
    for arm in ("base", "better"):
        assert step_time.main([str(out.path), arm, "0"]) == 0
    base, better = (out.read_step_time(arm, 0) for arm in ("base", "better"))
    assert base is not None
    assert better is not None
    assert base.clock == "cpu"
    assert base.reference_seconds == base.step_seconds > 0
    assert better.step_seconds > better.reference_seconds > 0  # a teacher's step against one without
    assert better.step_flops > 1.2 * base.step_flops > 0
    assert not (out.path / "runs").exists()  # nothing of the short runs is kept

    def with_batch(size: int) -> float:
        config = override(
            preset_config("clip", "tiny"), [f"data.train={tmp_path / 'train.csv'}", f"optim.batch_size={size}"]
        )
        return step_time.measure_step(
            lambda steps: with_absolute_paths(override(config, [f"optim.epochs={steps}"]))
        ).step_flops

    assert with_batch(4) == pytest.approx(2 * with_batch(2), rel=0.02)


def test_a_step_that_cannot_be_measured_gives_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = StudyDir(tmp_path)
    out.study.write_text(json.dumps(budget_study_dict(data={"train": str(tmp_path / "no.csv"), "val": "val.csv"})))
    assert step_time.main([str(out.path), "base", "0"]) == 1
    assert "no.csv" in capsys.readouterr().err


def test_step_cost_is_the_mean_over_its_cycle() -> None:
    """By a clock that a step moves on by its number, and products of as many pairs of numbers."""
    clock = [0.0]

    class Steps:
        step = 0
        loader = SimpleNamespace(steps_per_epoch=6, batches=lambda first, last: (one for one in range(first, last)))
        parts = SimpleNamespace(loader=loader)

        def train_step(self, _batch: object) -> dict[str, torch.Tensor]:
            self.step += 1
            clock[0] += self.step
            torch.ones(1, self.step) @ torch.ones(self.step, 1)
            return {"train/loss": torch.zeros(())}

    runs = [step_time._ShortRun(Steps(), 6) for _ in range(2)]  # type: ignore[arg-type]
    assert step_time.step_seconds(runs, lambda: clock[0]) == pytest.approx([(3 + 4 + 5 + 6) / 4] * 2)
    assert step_time._ShortRun(Steps(), 6).flops() == 2 * 21 / 6  # type: ignore[arg-type]
    with pytest.raises(StudyError, match=r"measures 0 s per step.*set `steps` instead of `budgets`"):
        step_time.step_seconds(runs[:1], lambda: 1.0)  # a clock that stands still
