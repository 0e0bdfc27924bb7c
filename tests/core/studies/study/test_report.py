"""The report of a study by hand: each row as it is written, and what is left out where nothing is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.spec.errors import UserError
from core.spec.study import Arm, Study, StudyDir
from core.spec.study.records import results_problem
from core.studies.study.places.place import trained_on
from core.studies.study.results import _equal, collect
from core.studies.study.table import markdown
from tests.core.studies.study.test_study import study_dict


def mean(value: float, half: float | None = None) -> dict[str, Any]:
    low, high = (None, None) if half is None else (value - half, value + half)
    return {"mean": value, "low": low, "high": high, "values": [value]}


def paired(
    value: float, half: float | None = None, p: float | None = None, significant: bool = False
) -> dict[str, Any]:
    return {"difference": mean(value, half), "p_t": p, "p_exact": 0.25, "significant": significant, "seeds": 1}


def results(**changed: Any) -> dict[str, Any]:
    def arm(of: str, value: float, **more: Any) -> dict[str, Any]:
        networks = {"student": {"val/R@1": mean(value, 0.1), "val/CIDEr": mean(value)}}
        networks["final"] = networks["student"]
        cost = {"step_seconds": mean(0.25), "train_seconds": mean(61.0), "ratio": mean(1.5), "flops": 2.5e12}
        return {"of": of, "seeds": [0], "notes": {}, "failed": {}, "cost": cost, "networks": networks} | more

    compare = {
        "arm": "better",
        "baseline": "base",
        "seeds": [0],
        "cost_ratio": mean(2.0),
        "metrics": {"val/R@1": {"final": paired(0.1, 0.05, 0.0123, True), "student": paired(-0.1)}},
    }
    return {
        "name": "small",
        "config": "abc",
        "machine": "a computer",
        "about": "About it.",
        "steps": 10,
        "seeds": [0, 1],
        "metrics": ["val/R@1", "val/CIDEr"],
        "arms": {"base": arm("base", 0.5), "better": arm("better", 0.6, seeds=[0, 1])},
        "compare": [compare],
        "budgets": [],
        "crossings": [],
    } | changed


def test_arms_with_their_own_budgets_have_no_common_steps() -> None:
    assert "Each arm is trained for its own budget, seeds 0, 1." in markdown(results(steps=0))


def test_an_unreadable_record_of_a_machine_does_not_prevent_the_results(tmp_path: Path) -> None:
    study, out = Study.model_validate(study_dict()), StudyDir(tmp_path)
    run = out.run(study.arms[0].name, study.seeds[0])
    run.create()
    (run.path / "remote.json").symlink_to("remote.json")
    with pytest.raises(UserError):
        trained_on(run)
    assert collect(out, study)["machine"]


def test_a_report_matches_a_hand_written_one() -> None:
    assert results_problem(results()) == ""
    lines = markdown(results()).splitlines()
    assert lines[0] == "# Study: small"
    facts = next(line for line in lines if line.startswith("10 steps per arm, seeds 0, 1. 3 of 4 runs are done. "))
    assert facts.endswith("no p (t). Config abc, on a computer.")
    for row in (
        "| base, student | 1 | 50.0 (40.0 to 60.0) | 0.500 |",
        "| better, student | 2 | 60.0 (50.0 to 70.0) | 0.600 |",
        "| base | 250 ms | 61 s | 1.50 | 2.50 |",
        "| val/R@1 | final | +10.0 (5.0 to 15.0) | 10.0 | 0.012 | 0.250 | 0.012 | yes |",
        "| val/R@1 | student | -10.0 | -10.0 |  | 0.250 |  |  |",
    ):
        assert row in lines
    assert not any("## By budget" in line or "## Failed runs" in line or "Not evaluated" in line for line in lines)


def test_a_report_omits_unknown_values_and_lists_failures() -> None:
    found = results(config="")
    base, better = found["arms"]["base"], found["arms"]["better"]
    base["seeds"], base["cost"] = [0, 1], {}
    better["cost"] = {"step_seconds": mean(0.1), "train_seconds": mean(9.0), "ratio": None}
    better["failed"], better["notes"] = {"1": "it broke"}, {"0": ["no labels", "no captions"]}
    found["compare"][0]["cost_ratio"] = None
    text = markdown(found)
    assert "runs are done" not in text
    assert "Config" not in text
    assert "| better | 100 ms | 9 s |  |  |" in text
    assert "| base | " not in text
    assert "## Failed runs\n\n- better, seed 1: it broke\n\n## Not evaluated\n\n- better, seed 0: no labels\n" in text
    assert text.endswith("- better, seed 0: no captions\n")
    found["compare"][0]["metrics"] = {}
    assert "## better - base" not in markdown(found)
    assert "No run is finished yet." in markdown(results(arms={}, compare=[]))


@pytest.mark.parametrize(
    ("kind", "seconds", "said"),
    [
        ("overtakes", 40.4, "overtakes at 40 s"),
        ("falls behind", 12.0, "falls behind at 12 s"),
        ("ahead", 80.0, "ahead from 80 s"),
        ("behind", None, "behind"),
    ],
)
def test_a_report_by_budget(kind: str, seconds: float | None, said: str) -> None:
    found = results(budgets=[10.0, 80.0], steps=0)
    for arm, clock in (("base", "cpu"), ("better", "cpu")):
        found["arms"][arm]["cost"] |= {"budget": 10.0, "clock": clock}
    last = {"seconds": 80.0, "mean": 0.1, "low": 0.0, "high": 0.2}
    crossed = {"arm": "better", "baseline": "base", "metric": "val/R@1", "kind": kind, "seconds": seconds, "last": last}
    found["crossings"] = [crossed]
    text = markdown(found)
    assert "Each arm is trained for each budget (10 s, 80 s), seeds 0, 1." in text
    assert f"| better - base | val/R@1 | +10.0 (5.0 to 15.0) |  | {said} |" in text
    assert "equal budgets (CPU time of all threads)" in text
    found["arms"]["base"]["cost"]["clock"] = "wall"
    assert "equal budgets (elapsed time)" in markdown(found)
    assert "## By budget" not in markdown(found | {"crossings": []})


@pytest.mark.parametrize(
    ("arm", "baseline", "equal", "told"),
    [
        ({}, {}, "steps", "At equal steps:"),
        ({"budget": 30.0}, {"budget": 30.0}, "budget", "At equal budgets (30 s of training):"),
        ({"budget": 30.0}, {}, "", "Trained for different numbers of steps and times:"),
    ],
)
def test_a_comparison_is_titled_by_what_was_equal(
    arm: dict[str, Any], baseline: dict[str, Any], equal: str, told: str
) -> None:
    arms = [
        Arm.model_validate({"name": name, "preset": "clip"} | more)
        for name, more in (("better", arm), ("base", baseline))
    ]
    assert _equal(*arms) == equal
    found = results()
    found["compare"][0]["equal"] = equal
    found["arms"]["better"]["cost"]["budget"] = arm.get("budget", 0.0)
    assert results_problem(found) == ""
    assert f"## better - base\n\n{told}\n" in markdown(found)
