"""A sweep through the study's queue with real processes: resumed, extended, edited, failing and stopped early."""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import filelock
import pytest

from core.__main__ import main
from core.spec.errors import UserError
from core.spec.machines.record import RemoteRecord, write_record
from core.spec.study import StudyDir
from core.spec.study.sweep import EarlyStopping, Sweep, read_sweep
from core.spec.study.sweep_report import SweepDir, SweepReport
from core.studies.study import queue
from core.studies.study.claiming import StudyError
from core.studies.study.places import local_place
from core.studies.study.places.selection import PlaceOptions
from core.studies.sweep.confirm import confirm_study
from core.studies.sweep.queue import SweepQueue
from core.studies.sweep.report import write_report
from core.studies.sweep.run import run_sweep
from core.studies.sweep.searcher import Searcher
from tests.core.images import write_pairs
from tests.core.studies.sweep.test_sweep_files import sweep_dict

RATES = [1e-5, 1e-3, 1e-4, 1e-2]
RATE_IN_JOURNAL = '"params":{"optim.learning_rate":'
GRID = {"space": {"optim.learning_rate": {"choices": RATES}}, "sampler": "grid"}


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(local_place, "JOB", (sys.executable, str(Path(__file__).with_name("fake_trial.py"))))
    monkeypatch.setattr(queue, "POLL_SECONDS", 0.02)
    write_pairs(tmp_path)
    (tmp_path / "out").mkdir()
    return tmp_path


def run(folder: Path, jobs: int = 1, **more: Any) -> SweepReport:
    sweep = Sweep.model_validate(sweep_dict(**more))
    report = run_sweep(sweep, folder, SweepDir(folder / "out"), lambda text: None, PlaceOptions(jobs=jobs))
    assert SweepDir(folder / "out").read_report() == report
    return report


def calls(folder: Path) -> list[str]:
    return (folder / "out" / "calls.txt").read_text().splitlines()


def test_a_sweep_is_extended_and_edited_without_repeating_a_trial(folder: Path) -> None:
    first = run(folder, trials=3)
    assert [one.state for one in first.trials] == ["complete"] * 3
    assert len(run(folder, trials=5).trials) == 5
    narrow = {"optim.learning_rate": {"low": 5e-4, "high": 2e-3, "log": True}}
    last = run(folder, trials=8, space=narrow)
    assert last.trials[:3] == first.trials
    assert calls(folder) == [f"trial-{number} 0" for number in range(8)]
    assert all(5e-4 <= float(str(one.params["optim.learning_rate"])) <= 2e-3 for one in last.trials[5:])
    (best,) = last.best
    assert last.trials[best].values[0] == max(one.values[0] for one in last.trials)
    assert last.importance["val/R@1"] == {"optim.learning_rate": 1.0}
    for change in ({"steps": 11}, {"seeds": [3]}, {"objectives": [{"metric": "step_seconds"}]}):
        with pytest.raises(StudyError, match="restore them or choose a new folder"):
            run(folder, trials=9, **change)
    assert len(calls(folder)) == 8


def test_trials_proposed_before_a_kill_are_trained_after_it(folder: Path) -> None:
    """Killed after the proposal reached the journal, and again after the run was measured."""
    sweep = Sweep.model_validate(sweep_dict()).absolute(folder)
    out = SweepDir(folder / "out")
    out.sweep.write_text(sweep.to_json())
    searcher = Searcher(sweep, out.journal)
    searcher.propose()
    proposed = dict(searcher.trials()[0].params)
    report = run(folder, trials=1)
    assert report.trials[0].params == proposed
    lines = out.journal.read_text().splitlines(keepends=True)
    out.journal.write_text("".join(lines[:-1]))  # the trial's values are lost, its measures are not
    assert run(folder, trials=1).trials[0].values == report.trials[0].values
    assert calls(folder) == ["trial-0 0"]


def test_a_running_sweep_applies_an_edit(folder: Path) -> None:
    out = SweepDir(folder / "out")

    def edit(text: str) -> None:
        if "trial-1," in text:
            assert main(["sweep", "run", str(folder / "sweep.json"), str(out.path), "--trials", "4"]) == 0

    (folder / "sweep.json").write_text(json.dumps(sweep_dict(trials=2)))
    report = run_sweep(read_sweep(folder / "sweep.json"), folder, out, edit, PlaceOptions())
    assert (report.wanted, len(calls(folder))) == (4, 4)
    with filelock.FileLock(out.lock):
        with pytest.raises(StudyError, match="in use by another process"):
            run(folder, trials=4)
        with pytest.raises(StudyError, match="steps or budget of the sweep have changed"):
            run(folder, trials=4, steps=20)


def test_a_journal_with_impossible_values_is_refused_before_training(folder: Path) -> None:
    space = {"optim.learning_rate": {"low": 1e-5, "high": 1e-1, "log": True}}
    run(folder, trials=4, space=space)
    journal = folder / "out" / "trials.journal"
    whole = journal.read_text()
    for change in (('values":[', 'values":[1e300,'), (RATE_IN_JOURNAL, f"{RATE_IN_JOURNAL}9")):
        damaged = whole.replace(*change)
        assert damaged != whole
        journal.write_text(damaged)
        with pytest.raises(StudyError, match=r"cannot read .*trials\.journal"):
            run(folder, trials=5, space=space)
        assert journal.read_text() == damaged
    assert len(calls(folder)) == 4


def test_a_failed_trial_is_listed_and_the_others_continue(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "out" / "fail").touch()
    report = run(folder, **GRID)
    assert [one.state for one in report.trials] == ["complete", "failed", "complete", "complete"]
    assert report.trials[1].message == "error: it is broken"
    assert report.best == [2]
    assert main(["sweep", "show", str(folder / "out")]) == 0
    shown = capsys.readouterr().out
    assert "4 of 4 trials have ended: 3 complete, 1 failed." in shown
    assert "- trial-1: error: it is broken" in shown
    assert main(["sweep", "best", str(folder / "out"), "--config", str(folder / "best.json")]) == 0
    assert "--set optim.learning_rate=0.0001" in capsys.readouterr().out
    assert json.loads((folder / "best.json").read_text())["optim"]["learning_rate"] == 1e-4
    assert main(["sweep", "best", str(folder / "out"), "--config", str(folder / "best.json")]) == 1
    assert "best.json already exists; choose another file" in capsys.readouterr().err
    assert main(["sweep", "run", str(folder / "out")]) == 0
    assert len(calls(folder)) == 4, "a failed trial is not trained again"


def test_trials_begun_on_a_machine_that_is_not_chosen_do_not_block_the_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, sweep = SweepDir(folder / "out"), Sweep.model_validate(sweep_dict()).absolute(folder)
    out.sweep.write_text(sweep.to_json())
    Searcher(sweep, out.journal).propose()
    begun = out.run("trial-0", 0)
    begun.create()
    write_record(begun, RemoteRecord(machine="gone", folder="/there/trial-0"))
    polls = itertools.count()
    write_status = SweepQueue._write_status

    def count_polls(self: SweepQueue) -> None:
        assert next(polls) < 1000, "the sweep never ends"
        write_status(self)

    monkeypatch.setattr(SweepQueue, "_write_status", count_polls)
    said: list[str] = []
    wanted = Sweep.model_validate(sweep_dict(trials=2, parallel=1))
    report = run_sweep(wanted, folder, out, said.append, PlaceOptions())
    assert [one.state for one in report.trials] == ["running", "complete"]
    status = out.read_status()
    assert status is not None
    assert "it was started on gone, which is not among the chosen machines" in status.runs[0].message
    assert f"failed: trial-0, seed 0: {status.runs[0].message}" in said


def test_a_diverged_trial_is_reported_without_its_values(folder: Path) -> None:
    out = SweepDir(folder / "out")
    searcher = Searcher(Sweep.model_validate(sweep_dict(early_stopping={"kind": "median"})), out.journal)
    for step, value in enumerate((1.0, math.nan, math.inf, 1e30)):
        searcher.report(searcher.propose() or 0, step, value)
    searcher.fail(0, "x" * 20_000)
    write_report(out, searcher)
    report = out.read_report()
    assert report is not None
    assert [one.intermediate for one in report.trials] == [[(0, 1.0)], [], [], []]


def test_a_killed_trainer_resumes_beside_others(folder: Path) -> None:
    (folder / "out" / "kill").touch()
    report = run(folder, jobs=3, **GRID)
    assert [one.state for one in report.trials] == ["complete"] * 4
    assert sorted(calls(folder)) == ["trial-0 0", "trial-1 0", "trial-1 0", "trial-2 0", "trial-3 0"]
    assert len({json.dumps(one.params) for one in report.trials}) == 4


def test_a_metric_that_no_trial_reports_ends_the_sweep_and_loses_nothing(folder: Path) -> None:
    with pytest.raises(StudyError, match=r"did not report 'val/r@1'; it has memory_gib, step_seconds.*val/R@1"):
        run(folder, objectives=[{"metric": "val/r@1"}])
    report = run(folder)
    assert calls(folder) == [f"trial-{number} 0" for number in range(4)]
    assert [one.state for one in report.trials] == ["complete"] * 4


def test_contradictory_settings_fail_only_their_trial(folder: Path) -> None:
    space = {
        "optim.learning_rate": {"choices": [1e-3]},
        "teacher.kind": {"choices": ["ema", "none"]},
        "objectives.distill_similarity.weight": {"choices": [0.0, 1.0]},
    }
    report = run(folder, space=space, sampler="grid", preset="clip")
    failed = [one for one in report.trials if one.state == "failed"]
    assert [one.params["teacher.kind"] for one in failed] == ["none"]
    assert "teacher" in failed[0].message
    assert len(calls(folder)) == 3
    assert len(run(folder, space=space, sampler="grid", preset="clip", trials=9).trials) == 4, "all have been tried"


@pytest.mark.parametrize(
    ("rule", "seeds", "stopped"),
    [
        ({"kind": "median", "first_trials": 1}, [0], {0: [1, 2, 3], 2: [1]}),
        ({"kind": "asha", "first_step": 1, "reduction": 2}, [0], {0: [1, 2, 3], 2: [1]}),
        ({"kind": "wilcoxon"}, [0, 1, 2, 3, 4, 5], {0: [0, 1, 2, 3, 4, 5], 2: [0, 1, 2, 3]}),
    ],
)
def test_a_poor_trial_is_stopped_early(
    rule: Mapping[str, Any], seeds: list[int], stopped: dict[int, list[int]], folder: Path
) -> None:
    space = {"optim.learning_rate": {"choices": [1e-3, 9e-4, 1e-5]}}
    report = run(folder, space=space, sampler="grid", seeds=seeds, early_stopping=rule)
    steps = {one.number: [step for step, _ in one.intermediate] for one in report.trials}
    assert report.trials[2].state == "stopped early"
    assert report.early_stopping == EarlyStopping.model_validate(rule)
    assert {number: steps[number] for number in stopped} == stopped
    assert report.best == [0]
    trained = len(calls(folder))
    assert run(folder, space=space, sampler="grid", seeds=seeds, early_stopping=rule) == report
    assert len(calls(folder)) == trained
    if rule["kind"] == "wilcoxon":
        assert "trial-2 5" not in calls(folder)


def test_several_objectives_have_a_pareto_front(folder: Path) -> None:
    """A higher learning rate costs more in these trials, so that the front ends at the best score."""
    objectives = [{"metric": "val/R@1"}, {"metric": "step_seconds", "direction": "minimize"}]
    report = run(folder, **GRID, objectives=objectives)
    assert sorted(report.best) == [0, 1, 2]
    constrained = run(folder, **GRID, objectives=objectives, constraints={"step_seconds": 5e-4}, trials=4)
    assert [one.feasible for one in constrained.trials] == [True] * 4, "constraints are of trials that come later"


def test_the_best_trials_are_confirmed_with_fresh_seeds_beside_the_default(folder: Path) -> None:
    report = run(folder, **GRID, seeds=[0, 4], constraints={"step_seconds": 5e-3})
    assert [one.feasible for one in report.trials] == [True, True, True, False]
    out = SweepDir(folder / "out")
    study = confirm_study(out, StudyDir(out.confirm), best=2, seeds=3, budget=7.0, log=print)
    assert [arm.name for arm in study.arms] == ["default", "trial-1", "trial-2"]
    assert (study.seeds, study.budgets, study.steps) == ([5, 6, 7], [7.0], 0)
    assert study.pairs == [("trial-1-7s", "default-7s"), ("trial-2-7s", "default-7s")]
    with pytest.raises(UserError, match="has only 3 complete and feasible trials; choose at most 3"):
        confirm_study(out, StudyDir(out.confirm), best=5, seeds=3, budget=7.0, log=print)
