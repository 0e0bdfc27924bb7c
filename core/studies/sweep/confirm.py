"""The best trials of a sweep again, as an ordinary study with fresh seeds: the best of many trials is partly luck.

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
from core.studies.sweep.show import ranked


def confirm_study(out: SweepDir, folder: StudyDir, best: int, seeds: int, budget: float, log: Log) -> Study:
    """The study of the ``best`` trials beside the default config, at equal compute and with ``seeds`` fresh seeds; the
    one in ``folder`` where that is begun.

    ``budget``: seconds of training for each run; 0: the sweep's, or what the default config takes for the sweep's
    steps, which is measured on this computer. StudyError without so many complete trials, where it cannot be measured
    and where ``folder`` has a study of other trials.
    """
    sweep, report = read_sweep(out.sweep), out.read_report()
    trials = [one for one in (ranked(report) if report else []) if one.values and one.feasible][:best]
    if len(trials) < best:
        raise StudyError(f"{out.path} has {len(trials)} complete feasible trials; choose fewer than {best}.")
    first = max(sweep.seeds) + 1
    fresh = [first + index for index in range(seeds)]
    study = sweep.study([(trial_name(one.number), one.params) for one in trials])
    arms = [arm.model_copy(update={"budget": 0.0}) for arm in study.arms]
    if folder.study.exists():
        begun = read_study(folder.study)
        if (begun.arms, begun.seeds) == (arms, fresh) and budget in (0, *begun.budgets):
            return begun
        raise StudyError(f"{folder.path} confirms other trials, or other seeds; give --out DIR for a new folder.")
    budget = budget or sweep.budget or _default_seconds(sweep, study, log)
    changed = {
        "name": f"{sweep.name[:50]} confirmed",
        "about": f"The best {best} trials of {sweep.name} with fresh seeds, {budget:g} s of training each.",
        "seeds": fresh,
        "steps": 0,
        "budgets": [budget],
        "arms": [arm.model_dump() for arm in arms],
    }
    return Study.model_validate({**study.model_dump(), **changed})


def _default_seconds(sweep: Sweep, study: Study, log: Log) -> float:
    if not trains_here(sweep.machines):
        raise StudyError("the sweep was trained on another machine; give --budget SECONDS of training for each run.")
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        scratch = StudyDir(folder)
        alone = study.model_copy(update={"arms": [study.arm(DEFAULT)], "compare": []})
        write_whole(scratch.study, alone.to_json().encode())
        prepare(scratch, alone, log)
        problems = measure_arms(scratch, [DEFAULT], threading.Event(), log, lambda: None)
        if DEFAULT in problems:
            raise StudyError(f"what a step of the default config takes cannot be measured: {problems[DEFAULT]}")
        seconds = sweep.steps * step_time(scratch, alone, DEFAULT).step_seconds
    return float(f"{seconds:.3g}")
