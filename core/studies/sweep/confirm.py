"""Retrain the best trials of a sweep with fresh seeds, as an ordinary study: the best of many trials is partly luck.

Flow: ``python -m core sweep confirm OUT`` -> `confirm_study` -> `core.studies.study.queue`.
"""

from __future__ import annotations

import tempfile
import threading

from core.spec.files import write_whole
from core.spec.study import Study, StudyDir, read_study
from core.spec.study.machines import trains_here
from core.spec.study.sweep import DEFAULT, Sweep, read_sweep
from core.spec.study.sweep_report import SweepDir, trial_name
from core.studies.study.budgets import measure_arms, step_time
from core.studies.study.claiming import StudyError
from core.studies.study.data import prepare
from core.studies.study.queue import Log
from core.studies.sweep.show import rank_trials


def confirm_study(out: SweepDir, folder: StudyDir, best: int, seeds: int, budget: float, log: Log) -> Study:
    """A study that compares the ``best`` trials with the default config at equal compute, with ``seeds`` fresh seeds.

    If ``folder`` already holds this study, it is returned to be resumed.

    ``budget``: seconds of training for each run. With 0, the sweep's budget is used; a sweep with a fixed number of
    steps gets the time that the default config needs for them, measured on this computer. Raises StudyError when fewer
    than ``best`` trials are complete and feasible, when the time cannot be measured, and when ``folder`` holds a study
    of other trials or seeds.
    """
    sweep, report = read_sweep(out.sweep), out.read_report()
    trials = [trial for trial in (rank_trials(report) if report else []) if trial.values and trial.feasible][:best]
    if len(trials) < best:
        raise StudyError(f"{out.path} has {len(trials)} complete feasible trials; choose fewer than {best}.")
    first_seed = max(sweep.seeds) + 1
    fresh_seeds = [first_seed + index for index in range(seeds)]
    study = sweep.study([(trial_name(trial.number), trial.params) for trial in trials])
    arms = [arm.model_copy(update={"budget": 0.0}) for arm in study.arms]
    if folder.study.exists():
        existing = read_study(folder.study)
        if (existing.arms, existing.seeds) == (arms, fresh_seeds) and budget in (0, *existing.budgets):
            return existing
        raise StudyError(f"{folder.path} confirms other trials, or other seeds; give --out DIR for a new folder.")
    budget = budget or sweep.budget or _measure_default_seconds(sweep, study, log)
    changes = {
        "name": f"{sweep.name[:50]} confirmed",
        "about": f"The best {best} trials of {sweep.name} with fresh seeds, {budget:g} s of training each.",
        "seeds": fresh_seeds,
        "steps": 0,
        "budgets": [budget],
        "arms": [arm.model_dump() for arm in arms],
    }
    return Study.model_validate({**study.model_dump(), **changes})


def _measure_default_seconds(sweep: Sweep, study: Study, log: Log) -> float:
    """Seconds that the default config needs for the sweep's steps on this computer, to 3 digits."""
    if not trains_here(sweep.machines):
        raise StudyError("the sweep was trained on another machine; give --budget SECONDS of training for each run.")
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        scratch = StudyDir(folder)
        default_only = study.model_copy(update={"arms": [study.arm(DEFAULT)], "compare": []})
        write_whole(scratch.study, default_only.to_json().encode())
        prepare(scratch, default_only, log)
        problems = measure_arms(scratch, [DEFAULT], threading.Event(), log, lambda: None)
        if DEFAULT in problems:
            raise StudyError(f"what a step of the default config takes cannot be measured: {problems[DEFAULT]}")
        seconds = sweep.steps * step_time(scratch, default_only, DEFAULT).step_seconds
    return float(f"{seconds:.3g}")
