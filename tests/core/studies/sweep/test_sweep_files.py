"""Sweep files: what is refused and how, the values of a space, and reports from other people."""

from __future__ import annotations

import json
import math
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from core.__main__ import main
from core.spec.config import ConfigError, field_names
from core.spec.errors import UserError
from core.spec.study.sweep import (
    SET_BY_SWEEP,
    SearchRange,
    Sweep,
    combinations,
    grid,
    is_integer,
    parse_sweep,
    read_sweep,
    settings,
)
from core.spec.study.sweep_report import SweepDir

RATE = {"low": 1e-5, "high": 1e-1, "log": True}


def sweep_dict(**more: Any) -> dict[str, Any]:
    return {
        "name": "rates",
        "preset": "clip",
        "size": "tiny",
        "steps": 10,
        "data": {"train": "train.csv", "val": "val.csv"},
        "space": {"optim.learning_rate": RATE},
        "trials": 4,
        **more,
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"space": {"optim.learning_rat": RATE}}, "no setting 'optim.learning_rat'; did you mean optim.learning_rate"),
        ({"space": {"seed": {"choices": [1, 2]}}}, "seed is set by the sweep itself"),
        ({"space": {"optim.learning_rate": {"low": 1, "high": 0.1}}}, "low 1 is not below high 0.1"),
        (
            {"space": {"optim.learning_rate": {"low": 0, "high": 0.1, "log": True}}},
            "a logarithmic range cannot start at 0",
        ),
        ({"space": {"optim.learning_rate": {**RATE, "step": 0.1}}}, "log and step cannot be combined"),
        ({"space": {"optim.learning_rate": {**RATE, "choices": [1]}}}, "choices or a range"),
        ({"space": {"optim.learning_rate": {"low": 1e-5}}}, "set low and high, or choices"),
        ({"space": {"optim.learning_rate": {"low": 0, "high": 1, "step": 2}}}, "step 2 is larger than the range"),
        ({"space": {"optim.batch_size": {"low": 2.5, "high": 9}}}, "optim.batch_size is a whole number"),
        ({"space": {"teacher.kind": {"low": 0, "high": 1}}}, "teacher.kind is not a number; list its choices"),
        ({"space": {}}, "space"),
        ({"sampler": "grid"}, "a grid needs choices or a larger step for optim.learning_rate"),
        ({"steps": 0}, "steps or a budget"),
        ({"budget": 5}, "steps or a budget"),
        ({"early_stopping": {"kind": "median"}, "seeds": [0, 1]}, "median compares runs of one seed"),
        ({"early_stopping": {"kind": "wilcoxon"}, "seeds": [0, 1]}, "wilcoxon needs at least 5 seeds"),
        (
            {"early_stopping": {"kind": "asha"}, "objectives": [{"metric": "a"}, {"metric": "b"}]},
            "early_stopping needs a single objective",
        ),
        (
            {"early_stopping": {"kind": "asha", "metric": "val/caption_loss"}},
            "lower values of val/caption_loss are better",
        ),
        (
            {
                "early_stopping": {"kind": "asha"},
                "objectives": [{"metric": "val/text_to_image_median_rank", "direction": "minimize"}],
            },
            "higher values of val/R@1 are better",
        ),
        ({"trialz": 3}, "trialz"),
    ],
)
def test_an_invalid_sweep_names_the_field(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps(sweep_dict() | change))
    with pytest.raises(ConfigError, match=said) as error:
        read_sweep(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"optim.learning_rate": {"low": -1.0, "high": 0.1}}, "optim.learning_rate cannot be -1.0"),
        ({"teacher.kind": {"choices": ["none", "emma"]}}, 'teacher.kind cannot be "emma"'),
    ],
)
def test_an_invalid_value_is_reported_before_training(space: dict[str, Any], said: str) -> None:
    sweep = Sweep.model_validate(sweep_dict(space=space))
    with pytest.raises(ConfigError, match=said):
        sweep.check_space()


def test_a_grid_has_every_combination_once() -> None:
    space = {
        "optim.batch_size": {"low": 4, "high": 13, "step": 4},
        "optim.weight_decay": {"low": 0.0, "high": 0.3, "step": 0.1},
        "runtime.precision": {"choices": ["fp32", "bf16"]},
    }
    sweep = Sweep.model_validate(sweep_dict(space=space, sampler="grid"))
    points = list(grid(sweep))
    assert combinations(sweep) == len(points) == len({tuple(point.values()) for point in points}) == 3 * 4 * 2
    assert settings(points[-1]) == ["optim.batch_size=12", "optim.weight_decay=0.3", "runtime.precision=bf16"]
    assert SearchRange(choices=[1, True]).has(True)
    assert not SearchRange(choices=[1]).has(True)


@pytest.mark.parametrize(
    "values", [{"low": -1e308, "high": 1e308, "step": 0.1}, {"low": 0.0, "high": 0.5, "step": 5e-324}]
)
def test_a_grid_with_more_values_than_a_float_can_count_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="a grid needs choices or a larger step"):
        parse_sweep(sweep_dict(space={"optim.weight_decay": values}, sampler="grid"), "it")


def test_combinations_are_counted_beyond_the_largest_float() -> None:
    large = {name: {"low": 1, "high": 2**62} for name in field_names() if is_integer(name) and name not in SET_BY_SWEEP}
    assert len(large) > 20
    assert 1e308 < combinations(Sweep.model_validate(sweep_dict(space=large))) < math.inf
    space = {**large, "optim.weight_decay": {"low": 0.0, "high": 0.5}}
    assert combinations(Sweep.model_validate(sweep_dict(space=space))) == math.inf


def test_a_huge_grid_is_not_listed_in_memory() -> None:
    space = {name: {"low": 1, "high": 90_000} for name in ("optim.batch_size", "checkpoint.keep", "runtime.threads")}
    tracemalloc.start()
    try:
        first = next(grid(Sweep.model_validate(sweep_dict(space=space, sampler="grid"))))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert set(first.values()) == {1}


def test_a_sweep_is_an_ordinary_study_of_its_trials(tmp_path: Path) -> None:
    sweep = Sweep.model_validate(sweep_dict(set=["optim.batch_size=4"])).absolute(tmp_path)
    study = sweep.study([("trial-0", {"optim.learning_rate": 0.01})])
    assert [arm.name for arm in study.arms] == ["default", "trial-0"]
    recipe = study.recipe(study.arms[1])
    assert (recipe.optim.learning_rate, recipe.optim.batch_size) == (0.01, 4)
    assert study.data["train"] == str(tmp_path / "train.csv")
    assert read_back(sweep, tmp_path) == sweep


def read_back(sweep: Sweep, folder: Path) -> Sweep:
    (folder / "back.json").write_text(sweep.to_json())
    return read_sweep(folder / "back.json")


TRIAL = {"number": 0, "state": "complete", "params": {}, "values": [0.5]}
REPORT = {"objectives": [{"metric": "val/R@1"}], "space": {}, "trials": [TRIAL], "best": [0]}


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '{"trials": 3}',
        "{",
        json.dumps(REPORT | {"best": [1]}),
        json.dumps(REPORT | {"best": [0, 0]}),
        json.dumps(REPORT | {"trials": [TRIAL | {"values": []}]}),
        json.dumps(REPORT | {"trials": [TRIAL | {"values": [0.5, 0.5]}]}),
        json.dumps(REPORT | {"trials": [TRIAL | {"number": 3}], "best": []}),
        json.dumps(REPORT | {"objectives": [], "trials": [], "best": []}),
    ],
)
def test_an_invalid_report_is_a_user_error(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "trials.json").write_text(content)
    with pytest.raises(UserError, match=r"trials\.json"):
        SweepDir(tmp_path).read_report()
    assert main(["sweep", "show", str(tmp_path)]) == 1
    assert main(["sweep", "best", str(tmp_path / "none")]) == 1
    assert "is not the folder of a sweep" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["1e999", "NaN", str(2**64)])
def test_a_parameter_in_a_report_is_a_finite_number_of_64_bits(value: str, tmp_path: Path) -> None:
    trial = f'{{"number": 0, "state": "complete", "params": {{"optim.learning_rate": {value}}}, "values": [1.0]}}'
    sweep = SweepDir(tmp_path)
    sweep.trials.write_text(f'{{"objectives": [{{"metric": "val/a"}}], "space": {{}}, "trials": [{trial}]}}')
    with pytest.raises(UserError, match=r"not finite|beyond 64 bits"):
        sweep.read_report()
