"""Confirms a sweep: trains the best trials with fresh seeds as an ordinary study, since the best trial is partly luck.

Flow: *Confirm* in the window, or ``sweep confirm`` -> `confirming_study` -> trained like any study.
"""

from __future__ import annotations

from core.spec.errors import UserError
from core.spec.study.config import Study
from core.spec.study.sweep import Sweep
from core.spec.study.sweep_report import SweepReport, TrialRecord, rank_trials, trial_name


def confirmable_trials(report: SweepReport | None) -> list[TrialRecord]:
    """The complete and feasible trials, best first."""
    return [trial for trial in (rank_trials(report) if report else []) if trial.values and trial.feasible]


def confirming_study(sweep: Sweep, report: SweepReport | None, best: int, seeds: int, budget: float) -> Study:
    """A study that compares the ``best`` trials with the default config at equal compute, with ``seeds`` fresh seeds.

    ``budget``: seconds of training per run. Raises UserError if fewer than ``best`` trials are complete and feasible.
    """
    trials = confirmable_trials(report)
    if len(trials) < best:
        raise UserError(
            f"{sweep.name} has only {len(trials)} complete and feasible trials; choose at most {len(trials)}."
        )
    study = sweep.study([(trial_name(trial.number), trial.params) for trial in trials[:best]])
    first_seed = max(sweep.seeds) + 1
    changes = {
        "name": f"{sweep.name[:50]} confirmed",
        "about": f"The best {best} trials of {sweep.name} with fresh seeds, {budget:g} s of training each.",
        "seeds": [first_seed + index for index in range(seeds)],
        "steps": 0,
        "budgets": [budget],
        "arms": [arm.model_copy(update={"budget": 0.0}).model_dump() for arm in study.arms],
    }
    return Study.model_validate({**study.model_dump(), **changes})
