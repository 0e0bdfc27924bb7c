"""Proposals: the same after any kill, none twice, and better than chance."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import Trial

from core.spec.study.sweep import Params, Sweep
from core.studies.study.claiming import StudyError
from core.studies.sweep.searcher import Searcher
from tests.core.studies.sweep.test_sweep_files import RATE, sweep_dict

SPACE = {
    "optim.learning_rate": RATE,
    "optim.weight_decay": {"low": 0.0, "high": 0.5},
    "teacher.momentum": {"low": 0.5, "high": 0.999},
}


def planted(params: Params) -> float:
    """A smooth hill; the learning rate matters most."""
    rate, decay, momentum = (float(params[name] or 0) for name in SPACE)
    hill = math.exp(-((math.log10(rate) + 3) ** 2) / 0.6)
    return hill * (1 - ((decay - 0.3) / 0.5) ** 2) * (1 - 3 * (momentum - 0.9) ** 2)


def sweep_of(**more: Any) -> Sweep:
    return Sweep.model_validate(sweep_dict(**{"preset": "sd-clip", "space": SPACE, **more}))


def searched(
    journal: Path, sweep: Sweep, trials: int, score: Callable[[Params], float], again: bool = False
) -> list[Mapping[str, Any]]:
    """The settings of so many trials; ``again``: the program is started anew for each."""
    searcher = Searcher(sweep, journal)
    while len(searcher.trials()) < trials:
        number = searcher.propose()
        if number is None:
            break
        if again:
            searcher = Searcher(sweep, journal)
        searcher.complete(number, [score(searcher.trials()[number].params)], {})
    return [trial.params for trial in searcher.trials()]


@pytest.mark.parametrize("kind", ["asha", "median"])
def test_a_kill_changes_no_decision_of_early_stopping(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed during each report, then restarted: all reports of the open trials are repeated."""
    sweep = sweep_of(early_stopping={"kind": kind, "first_step": 1, "reduction": 2, "first_trials": 1})
    draw = random.Random(0)
    reports = [
        (number, step, step * ((0.3 if kind == "asha" else 0.0) + draw.random()))
        for step in range(1, 9)
        for number in range(6)
    ]

    def decide(journal: Path, killed: bool) -> dict[int, int]:
        """Trials that were stopped -> the step."""
        searcher, stopped = Searcher(sweep, journal), dict[int, int]()
        for _ in range(8):
            searcher.propose()
        for number, constant in ((6, 0.3), (7, 0.9)):
            for step in range(1, 9):
                searcher.report(number, step, step * constant)
        searcher.complete(6, [0.3], {})
        for index, (number, step, value) in enumerate(reports):
            if index == len(reports) // 2:  # the median changes, but earlier steps are not judged again
                searcher.complete(7, [0.9], {})
            for attribute in ["set_user_attr", "tell"] if killed and number not in stopped else []:
                with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
                    patch.setattr(Trial if attribute == "set_user_attr" else optuna.Study, attribute, _interrupt)
                    if searcher.report(number, step, value):
                        searcher.stop_early(number)
                searcher = Searcher(sweep, journal)
            for repeated in reports[: index + 1] if killed else [reports[index]]:
                if repeated[0] not in stopped and searcher.report(*repeated):
                    searcher.stop_early(repeated[0])
                    stopped[repeated[0]] = step
        return stopped

    whole = decide(tmp_path / "whole", killed=False)
    assert len(set(whole.values())) > 1
    assert decide(tmp_path / "killed", killed=True) == whole


@pytest.mark.parametrize("decision", ["x", {"step": "1"}, {"rungs": {"a": {}}}])
def test_a_journal_with_a_malformed_decision_is_refused(decision: object, tmp_path: Path) -> None:
    sweep = sweep_of(early_stopping={"kind": "asha", "first_step": 1, "reduction": 2})
    searcher = Searcher(sweep, tmp_path / "journal")
    number = searcher.propose()
    assert number is not None
    searcher._open_trial(number).set_user_attr("early_stopping", decision)
    with pytest.raises(StudyError, match="damaged"):
        Searcher(sweep, tmp_path / "journal")


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_a_restart_changes_no_proposal(sampler: str, tmp_path: Path) -> None:
    sweep = sweep_of(sampler=sampler)
    trials = 13
    whole = searched(tmp_path / "whole", sweep, trials, planted)
    torn = tmp_path / "torn"
    searched(torn, sweep, 5, planted, again=True)
    with torn.open("ab") as journal:
        journal.write(b'{"op_code":4,"worker_id":"killed here')
    assert searched(torn, sweep, trials, planted, again=True) == whole
    other = searched(tmp_path / "other", sweep_of(sampler=sampler, seed=1), trials, planted)
    assert other != whole


def test_a_finite_space_is_exhausted_without_repeats(tmp_path: Path) -> None:
    space = {"optim.batch_size": {"choices": [4, 8, 12]}, "runtime.precision": {"choices": ["fp32", "bf16"]}}
    for sampler in ("tpe", "grid"):
        sweep = sweep_of(space=space, sampler=sampler)
        params = searched(tmp_path / sampler, sweep, 100, lambda one: float(str(one["optim.batch_size"])))
        assert len(params) == len({json.dumps(one) for one in params}) == 6


def test_an_edited_space_continues_from_the_finished_trials(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    before = searched(journal, sweep_of(), 12, planted)
    narrow = {
        "optim.learning_rate": {"low": 5e-4, "high": 2e-3, "log": True},
        "teacher.momentum": {"low": 0.5, "high": 0.999},
        "optim.batch_size": {"choices": [4, 8]},
    }
    after = searched(journal, sweep_of(space=narrow), 16, lambda params: 0.5)
    assert after[:12] == before
    assert all(5e-4 <= one["optim.learning_rate"] <= 2e-3 and one["optim.batch_size"] in (4, 8) for one in after[12:])


@pytest.mark.parametrize(
    "line",
    ["not json", '{"op_code":99,"worker_id":"x"}', '{"op_code":4,"worker_id":"x","study_id":0}', "[" * 100_000],
)
def test_a_journal_of_another_version_is_a_user_error_and_kept(line: str, tmp_path: Path) -> None:
    journal = tmp_path / "trials.journal"
    searched(journal, sweep_of(), 2, planted)
    with journal.open("a") as file:
        file.write(f"{line}\n")
        file.write('{"op_code":2,"worker_id":"x","study_id":0,"user_attr":{}}\n')
    content = journal.read_bytes()
    with pytest.raises(StudyError, match=r"Optuna .* cannot read .*trials\.journal .* another version"):
        Searcher(sweep_of(), journal)
    assert journal.read_bytes() == content


def test_a_huge_journal_is_refused_unread(tmp_path: Path) -> None:
    journal = tmp_path / "trials.journal"
    with journal.open("wb") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(StudyError, match=r"trials\.journal"):
        Searcher(sweep_of(), journal)


def test_other_directions_are_refused(tmp_path: Path) -> None:
    searched(tmp_path / "journal", sweep_of(), 1, planted)
    with pytest.raises(StudyError, match="recorded for the objectives maximize, but the sweep now has minimize"):
        Searcher(sweep_of(objectives=[{"metric": "val/R@1", "direction": "minimize"}]), tmp_path / "journal")


def test_important_parameters_rank_first_and_constraints_hold(tmp_path: Path) -> None:
    sweep = sweep_of(sampler="random", constraints={"memory_gib": 8.0})
    searcher = Searcher(sweep, tmp_path / "journal")
    for number in range(40):
        assert searcher.propose() == number
        params = searcher.trials()[number].params
        searcher.complete(
            number, [planted(params)], {"memory_gib": 9.0 if params["optim.weight_decay"] > 0.25 else 7.0}
        )
    shares = searcher.importance()["val/R@1"]
    assert max(shares, key=lambda name: shares[name]) == "optim.learning_rate"
    assert sum(shares.values()) == pytest.approx(1.0)
    (best,) = searcher.best()
    feasible = [one for one in searcher.trials() if one.params["optim.weight_decay"] <= 0.25]
    assert best.values[0] == max(one.values[0] for one in feasible)
    assert best.values[0] < max(one.values[0] for one in searcher.trials())


@pytest.mark.slow
def test_tpe_finds_a_planted_optimum_and_beats_random_search(tmp_path: Path) -> None:
    """60 trials of 3 settings, 10 seeds; against the best of a grid of 10,000 points."""
    rates, decays, momenta = np.logspace(-5, -1, 25), np.linspace(0, 0.5, 20), np.linspace(0.5, 0.999, 20)
    points = (
        dict(zip(SPACE, (float(a), float(b), float(c)), strict=True)) for a in rates for b in decays for c in momenta
    )
    optimum = max(planted(point) for point in points)
    best = {
        sampler: [
            max(
                map(
                    planted, searched(tmp_path / f"{sampler}-{seed}", sweep_of(sampler=sampler, seed=seed), 60, planted)
                )
            )
            for seed in range(10)
        ]
        for sampler in ("tpe", "random")
    }
    assert sum(value >= 0.95 * optimum for value in best["tpe"]) >= 9
    assert sum(tpe > random for tpe, random in zip(best["tpe"], best["random"], strict=True)) >= 9
