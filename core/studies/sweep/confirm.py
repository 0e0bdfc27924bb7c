"""Creates or resumes the study of ``sweep confirm``.

Flow: ``python -m core sweep confirm OUT`` -> `confirm_study` -> `core.studies.study.queue`.
"""

from __future__ import annotations

import tempfile
import threading

from core.spec.files import write_whole
from core.spec.study import Study, StudyDir, read_study
from core.spec.study.confirming import confirming_study
from core.spec.study.machines import trains_here
from core.spec.study.sweep import DEFAULT_ARM, Sweep, read_sweep
from core.spec.study.sweep_report import SweepDir
from core.studies.study.budgets import measure_arms, measure_locally, step_time
from core.studies.study.claiming import StudyError
from core.studies.study.data import prepare
from core.studies.study.queue import Log


def confirm_study(out: SweepDir, folder: StudyDir, best: int, seeds: int, budget: float, log: Log) -> Study:
    """Create the study (see `confirming_study`), or return the study in ``folder`` if it is the same, to resume it.

    With a ``budget`` of 0, the sweep's is used; a sweep with a fixed number of steps gets the time that the default
    config needs for them, measured on this computer. Raises StudyError if it cannot be measured, and when ``folder``
    contains a study of other trials or seeds.
    """
    sweep, report = read_sweep(out.sweep), out.read_report()
    seconds = budget or sweep.budget
    study = confirming_study(sweep, report, best, seeds, seconds or 1.0)
    if folder.study.exists():
        existing = read_study(folder.study)
        if (existing.arms, existing.seeds) == (study.arms, study.seeds) and budget in (0, *existing.budgets):
            return existing
        raise StudyError(
            f"{folder.path} contains a study of other trials or seeds; choose a new folder with --out DIR."
        )
    if seconds:
        return study
    return confirming_study(sweep, report, best, seeds, _measure_default_seconds(sweep, log))


def _measure_default_seconds(sweep: Sweep, log: Log) -> float:
    """Seconds that the default config needs for the sweep's steps on this computer, to 3 digits."""
    if not trains_here(sweep.machines):
        raise StudyError("the sweep was trained on another machine; set the training time with --budget SECONDS.")
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        scratch = StudyDir(folder)
        default_only = sweep.study([])
        write_whole(scratch.study, default_only.to_json().encode())
        prepare(scratch, default_only, log)
        problems = measure_arms(scratch, [DEFAULT_ARM], threading.Event(), log, lambda: None, measure_locally)
        if DEFAULT_ARM in problems:
            raise StudyError(f"cannot measure the step time of the default config: {problems[DEFAULT_ARM]}")
        seconds = sweep.steps * step_time(scratch, default_only, DEFAULT_ARM).step_seconds
    return float(f"{seconds:.3g}")
