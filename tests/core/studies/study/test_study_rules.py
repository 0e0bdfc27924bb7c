"""A study's rules one by one: the last that is allowed, what goes on, who gets which place, what is collected."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from core.spec.chain import Chain, ChainStage
from core.spec.config import RunConfig, override
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.study import Study, StudyDir, StudyRun, StudyStatus, absolute
from core.spec.study.records import MIN_STEP_SECONDS, MeasuresFile
from core.studies.study.claiming import StudyError, claim
from core.studies.study.places.place import Ended
from core.studies.study.queue import StudyQueue
from core.studies.study.results import collect
from tests.core.studies.study.test_study import study_dict

BASE = {"name": "base", "preset": "clip"}


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ({"arms": [BASE | {"name": "x" * 61}]}, {"arms": [BASE | {"name": "x" * 62}]}, "letters, digits"),
        ({"steps": 0, "budgets": [1e9]}, {"steps": 0, "budgets": [1.01e9]}, "not a valid training time"),
        ({"steps": 0, "budgets": [*range(1, 251)]}, {"steps": 0, "budgets": [*range(1, 252)]},
         "251 budgets x 2 arms are more than 500 combinations"),
        ({"steps": 0, "arms": [BASE | {"budget": 5.0}]}, {"steps": 0}, "needs steps, or budgets"),
        ({"noise": {"kind": "in-group", "within": "kind"}}, {"noise": {"kind": "in-group"}}, "to a label column"),
        ({"noise": {"kind": "word"}}, {"noise": {"kind": "word", "within": "kind"}}, "leave it empty for other kinds"),
        ({"noise": {"name": "a", "kept": "b"}}, {"noise": {"name": "a", "kept": "A"}}, "both called 'a'"),
        ({"noise": {"name": "n"}, "train": "n"}, {"noise": {"name": "n"}, "train": "m"}, "no data set 'm'"),
        ({"arms": [BASE | {"config": "", "train": "val"}]}, {"arms": [BASE | {"config": "a.json"}]},
         "either a preset or a config"),
        ({"compare": [["better", "base"]]}, {"compare": [["better", "bse"]]}, "'bse' is not an arm"),
    ],
)  # fmt: skip
def test_the_last_allowed_and_the_first_refused_value(good: dict[str, Any], bad: dict[str, Any], said: str) -> None:
    Study.model_validate(study_dict() | good)
    with pytest.raises(ValidationError, match=said):
        Study.model_validate(study_dict() | bad)


@pytest.mark.parametrize(
    ("change", "goes_on"),
    [
        ({}, True),
        ({"compare": [["better", "base"]]}, True),
        ({"measures": [{"name": "other", "task": "retrieval", "data": "val"}]}, True),
        ({"data": {"train": "other.csv", "val": "val.csv"}}, False),
        ({"seeds": [0, 1, 2, 3]}, True),
        ({"seeds": [0, 1]}, False),
        ({"arms": [*study_dict()["arms"], {"name": "third", "preset": "coca"}]}, True),
        ({"arms": study_dict()["arms"][:1]}, False),
        ({"arms": [BASE | {"set": ["seed=1"]}, study_dict()["arms"][1]]}, False),
        ({"set": ["optim.beta1=0.8"]}, False),
        ({"name": "other"}, False),
        ({"steps": 0, "budgets": [5]}, False),
    ],
)
def test_changes_a_study_may_make_and_resume(change: dict[str, Any], goes_on: bool) -> None:
    before, after = Study.model_validate(study_dict()), Study.model_validate(study_dict() | change)
    assert after.can_continue(before) == goes_on
    assert (after.digest() == before.digest()) == (not change)
    assert Study.model_validate(study_dict() | change | {"about": "other words"}).digest() == after.digest()


def test_budgets_may_be_added_and_not_removed() -> None:
    def of(*budgets: float) -> Study:
        return Study.model_validate(study_dict(budgets=list(budgets), steps=0))

    assert of(10, 80).can_continue(of(10))
    assert not of(10).can_continue(of(10, 80))
    assert not of(10).can_continue(of(80))


def test_arm_settings_override_study_settings() -> None:
    arms = [{"name": "plain", "preset": "clip"}, {"name": "own", "preset": "clip", "set": ["optim.beta1=0.7"]}]
    study = Study.model_validate(study_dict(*arms, set=["optim.beta1=0.8", "optim.beta2=0.9"]))
    recipes = [study.recipe(arm).optim for arm in study.arms]
    assert [(one.beta1, one.beta2) for one in recipes] == [(0.8, 0.9), (0.7, 0.9)]


def test_paths_are_relative_to_the_file_and_demo_data_stay(tmp_path: Path) -> None:
    data = {"train": "a.csv", "val": "demo:val.csv", "art": "openclipart:train.csv", "far": "/far/b.csv"}
    arms = [{"name": "own", "config": "own.json"}, BASE]
    study = absolute(Study.model_validate(study_dict(*arms, data=data)), tmp_path)
    assert study.data == data | {"train": str(tmp_path / "a.csv")}
    assert [arm.config for arm in study.arms] == [str(tmp_path / "own.json"), ""]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("optim.beta1=0.5", r"base-s0 was trained with optim\.beta1=0\.5, but the arm base now has 0\.9, "),
        ("name=other seed=9 optim.epochs=3 data.train=other.csv data.val=other.csv", None),
    ],
)
def test_per_run_settings_are_no_other_recipe(tmp_path: Path, setting: str, said: str | None) -> None:
    study, out = Study.model_validate(study_dict(BASE, seeds=[0])), StudyDir(tmp_path)
    claim(out, study)
    out.run("base", 0).create()
    trained = override(preset_config("clip", "tiny"), ["data.train=a.csv", "optim.beta1=0.9", *setting.split()])
    study = study.model_copy(update={"set": ["optim.beta1=0.9"]})
    out.study.write_text(study.to_json())
    out.run("base", 0).config.write_text(trained.to_json())
    if said is None:
        claim(out, study)
        return
    with pytest.raises(StudyError, match=said):
        claim(out, study)


def test_another_recipe_is_refused_until_every_run_is_measured(tmp_path: Path) -> None:
    study, out = Study.model_validate(study_dict(BASE, seeds=[0, 1])), StudyDir(tmp_path)
    claim(out, study)
    measured(out, "base", 1)
    out.run("base", 0).create()
    trained = override(preset_config("clip", "tiny"), ["data.train=a.csv", "optim.beta1=0.5"])
    out.run("base", 0).config.write_text(trained.to_json())
    with pytest.raises(StudyError, match=r"base-s0 was trained with optim\.beta1=0\.5"):
        claim(out, study)
    measured(out, "base", 0)
    claim(out, study)


class Pretended:
    """A place with ``free`` devices, at which every run ends as it is told."""

    trouble = ""

    def __init__(self, name: str, free: list[str], problem: str = "") -> None:
        self.name, self.free, self.problem = name, free, problem
        self.begun: list[tuple[str, int, str]] = []
        self.ends: Ended | None = None

    def offer(self) -> str | None:
        return self.free[0] if self.free else None

    def begin(self, run: StudyRun, steps: int, device: str) -> Any:
        self.free.remove(device)
        self.begun.append((run.arm, steps, device))
        return SimpleNamespace(state="measuring", trouble="slowly", poll=lambda: self.ends)


def queue_of(tmp_path: Path, *places: Pretended, seeds: tuple[int, ...] = (0,)) -> StudyQueue:
    study, out = Study.model_validate(study_dict(seeds=list(seeds))), StudyDir(tmp_path)
    out.runs.mkdir(exist_ok=True)
    return StudyQueue(study, out, places, lambda text: None)


def test_a_run_that_cannot_be_begun_fails_alone(tmp_path: Path) -> None:
    class Refusing(Pretended):
        def begin(self, run: StudyRun, steps: int, device: str) -> Any:
            if run.arm == "base":
                raise UserError("its folder is a link.")
            return super().begin(run, steps, device)

    place = Refusing("", ["0"])
    queue = queue_of(tmp_path, place)
    queue._start()
    assert [(run.state, run.message) for run in queue.status.runs] == [
        ("failed", "its folder is a link."), ("training", ""),
    ]  # fmt: skip


def test_a_device_that_is_no_longer_known_to_be_free_gets_no_run(tmp_path: Path) -> None:
    """The facts about a remote machine may become too old between two questions."""

    class Fleeting(Pretended):
        def offer(self) -> str | None:
            self.asked = getattr(self, "asked", 0) + 1
            return super().offer() if self.asked % 2 else None

    place = Fleeting("far", ["4"])
    queue = queue_of(tmp_path, place)
    queue._start()
    assert (place.begun, queue.running) == ([], {})
    assert [run.state for run in queue.status.runs] == ["waiting", "waiting"]


def test_runs_go_to_free_devices_and_refused_ones_wait_again(tmp_path: Path) -> None:
    near, far = Pretended("", ["0"]), Pretended("far", ["4", "5"])
    queue = queue_of(tmp_path, near, far, seeds=(0, 1))
    queue._start()
    assert (near.begun, far.begun) == ([("base", 10, "0")], [("better", 10, "4"), ("base", 10, "5")])
    assert [(run.machine, run.device, run.state) for run in queue.status.runs] == [
        ("", "0", "training"), ("far", "4", "training"), ("far", "5", "training"), ("", "", "waiting"),
    ]  # fmt: skip
    queue._collect()
    assert [(run.state, run.message) for run in queue.status.runs[:3]] == [("measuring", "slowly")] * 3
    near.ends, far.ends = Ended("it broke"), Ended("the line is cut", requeue=True)
    queue._collect()
    assert [(run.state, run.message, run.machine, run.device) for run in queue.status.runs] == [
        ("failed", "it broke", "", "0"), ("waiting", "", "", ""), ("waiting", "", "", ""), ("waiting", "", "", ""),
    ]  # fmt: skip
    assert (far.problem, queue.running) == ("the line is cut", {})
    near.free, far.free = ["0"], ["4"]
    queue._start()
    assert [run.state for run in queue.status.runs] == ["failed", "training", "waiting", "waiting"], "far is out"
    assert len(far.begun) == 2
    queue._write_status()
    assert queue.status.trouble == "the line is cut"


def test_a_run_resumes_where_it_started_or_fails_naming_the_place(tmp_path: Path) -> None:
    queue = queue_of(tmp_path, Pretended("far", ["4"]), seeds=(0,))
    run = queue.out.run("base", 0)
    run.create()
    run.events.write_text("")
    queue._start()
    assert [one.state for one in queue.status.runs] == ["failed", "training"]
    assert queue.status.runs[0].message.startswith("it was started on this computer, which is not among the chosen")
    assert str(run.path) in queue.status.runs[0].message
    broken = queue_of(tmp_path, Pretended("", ["0"], problem="Set up the machine first."))
    broken._start()
    assert [(one.state, one.message) for one in broken.status.runs] == [("failed", "Set up the machine first.")] * 2


def measured(out: StudyDir, arm: str, seed: int, **more: Any) -> None:
    out.run(arm, seed).create()
    networks = {"student": {"val/R@1": 0.5}}
    out.measures(arm, seed).write_text(json.dumps({"networks": networks} | more))


def test_costs_cover_the_seeds_of_both_arms(tmp_path: Path) -> None:
    study, out = Study.model_validate(study_dict()), StudyDir(tmp_path)
    for seed, seconds in ((0, 0.1), (1, 0.2)):
        measured(out, "base", seed, step_seconds=seconds, train_seconds=10.0)
    measured(out, "better", 1, step_seconds=0.6, train_seconds=20.0, notes=["no labels"])
    measured(out, "better", 2, step_seconds=9.0, train_seconds=40.0)
    out.write_status(
        StudyStatus(runs=[StudyRun("better", 0, "", "failed", "broke"), StudyRun("base", 2, "", "waiting")])
    )
    found = collect(out, study)
    base, better = found["arms"]["base"], found["arms"]["better"]
    assert better["cost"]["ratio"]["values"] == pytest.approx([3.0])
    assert better["cost"]["step_seconds"]["mean"] == pytest.approx(4.8)
    assert better["cost"]["train_seconds"]["values"] == (20.0, 40.0)
    assert (base["failed"], better["failed"], better["notes"]) == ({}, {"0": "broke"}, {"1": ["no labels"]})
    (compared,) = found["compare"]
    assert compared["seeds"] == [1]
    assert compared["cost_ratio"]["values"] == pytest.approx([3.0])
    assert compared["metrics"]["val/R@1"]["final"]["difference"]["values"] == (0.0,)
    measured(out, "base", 1, step_seconds=0.0)
    assert collect(out, study)["arms"]["better"]["cost"]["ratio"] is None
    out.measures("better", 2).write_text('{"networks": {}}')
    assert collect(out, study)["arms"]["better"]["seeds"] == [1]


def test_only_metrics_of_both_arms_are_compared(tmp_path: Path) -> None:
    study, out = Study.model_validate(study_dict()), StudyDir(tmp_path)
    for arm, values in (("base", {"val/R@1": 0.5}), ("better", {"val/R@1": 0.75, "new/acc1": 0.9})):
        measured(out, arm, 0, networks={"student": values}, train_seconds=10.0)
    found = collect(out, study)
    assert found["metrics"] == ["val/R@1", "new/acc1"]
    (compared,) = found["compare"]
    assert compared["metrics"].keys() == {"val/R@1"}
    assert compared["metrics"]["val/R@1"]["final"]["difference"]["values"] == (0.25,)


def test_the_shortest_step() -> None:
    assert MeasuresFile.model_validate({"step_seconds": MIN_STEP_SECONDS}).step_seconds == MIN_STEP_SECONDS
    assert MeasuresFile.model_validate({"step_seconds": 0.0}).step_seconds == 0
    with pytest.raises(ValidationError, match="no step is as short"):
        MeasuresFile.model_validate({"step_seconds": MIN_STEP_SECONDS / 2})


def stage(name: str, **more: Any) -> ChainStage:
    return ChainStage(name=name, config=RunConfig(), **more)


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([stage("a"), stage("A")], "two stages are called 'A'"),
        ([stage("a", takes={"teacher.checkpont": "a"})], "stage a, takes: there is no setting 'teacher.checkpont'"),
        ([stage("a", takes={"teacher.checkpoint": "a"})], "stage a, takes: 'a' is not an earlier stage"),
        ([stage("a", before="caption-filter")], "caption-filter needs an earlier stage"),
        ([stage(f"s{number}") for number in range(101)], "at most 100"),
    ],
)
def test_an_invalid_chain_names_the_stage(stages: list[ChainStage], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Chain(name="c", stages=stages)
    Chain(name="c", stages=[stage(f"s{number}") for number in range(100)])
