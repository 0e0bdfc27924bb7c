"""Which runs of a study are trained now, by names of arms and seeds, and names that it does not have."""

from __future__ import annotations

import pytest

from core.spec.study import Study
from core.spec.study.folder import StudyRun
from core.studies.study.claiming import StudyError
from core.studies.study.selection import ALL_RUNS, RunSelection
from tests.core.studies.study.test_study import study_dict

ARMS = [{"name": "base", "preset": "clip"}, {"name": "other", "preset": "sd-clip"}]
STUDY = Study.model_validate(study_dict(*ARMS, seeds=[0, 1], steps=0, budgets=[10.0, 80.0]))


def chosen(*arms: str, seeds: tuple[int, ...] = ()) -> set[str]:
    which = RunSelection(arms, seeds)
    which.check(STUDY)
    runs = [StudyRun(arm.name, seed, "") for arm in STUDY.arms_to_train for seed in STUDY.seeds]
    return {f"{run.arm} {run.seed}" for run in runs if which.has(STUDY, run)}


def test_arms_are_selected_with_or_without_their_budget_and_seeds_separately() -> None:
    everything = {f"{arm}-{budget}s {seed}" for arm in ("base", "other") for budget in (10, 80) for seed in (0, 1)}
    assert chosen() == everything
    assert all(ALL_RUNS.has(STUDY, StudyRun(arm.name, 0, "")) for arm in STUDY.arms_to_train)
    assert chosen("base") == {one for one in everything if one.startswith("base")}
    assert chosen("other-80s") == {"other-80s 0", "other-80s 1"}
    assert chosen("base", "other-10s", seeds=(1,)) == {"base-10s 1", "base-80s 1", "other-10s 1"}
    assert chosen("base", seeds=(0, 1)) == chosen("base")
    assert chosen(seeds=(0,)) == {one for one in everything if one.endswith(" 0")}


@pytest.mark.parametrize(
    ("arms", "seeds", "said"),
    [
        (("bsae",), (), "the study has no arm 'bsae'; did you mean base"),
        (("zzzzzz",), (), "has no arm 'zzzzzz'; there are base, base-10s, base-80s, other, other-10s, other-80s."),
        (("base",), (0, 7), "the study has no seed 7; available: 0, 1."),
    ],
)
def test_unknown_arms_and_seeds_are_named(arms: tuple[str, ...], seeds: tuple[int, ...], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        chosen(*arms, seeds=seeds)
