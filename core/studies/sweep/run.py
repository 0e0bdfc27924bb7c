"""Starts, resumes and edits a sweep.

Flow: ``python -m core sweep run FILE OUT`` -> `run_sweep` -> `core.studies.sweep.queue`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from core.spec.files import write_whole
from core.spec.study.machines import read_machines
from core.spec.study.sweep import Sweep, read_sweep
from core.spec.study.sweep_report import SweepDir, SweepReport
from core.studies.study.claiming import StudyError, check_folders, claim
from core.studies.study.data import prepare
from core.studies.study.places.place import THIS_COMPUTER
from core.studies.study.places.selection import PlaceOptions, open_places
from core.studies.study.queue import FolderInUse, Log, explaining_write_errors, study_lock
from core.studies.sweep.queue import SweepQueue, check_edit, contradiction, has_complete_trial, trained_trials
from core.studies.sweep.report import write_report
from core.studies.sweep.searcher import Searcher, explaining_read_errors


def run_sweep(sweep: Sweep, origin: Path, out: SweepDir, log: Log, options: PlaceOptions) -> SweepReport:
    """Train the trials of ``sweep`` that ``out`` does not have yet, and return the report of all trials.

    Call it again to resume, also with more trials or another space. If the sweep is already running, the change is
    handed to the running process. ``origin``: the folder that relative paths of ``sweep`` refer to.

    Raises StudyError if ``out`` contains another sweep, if an objective is not measured, and if `MAX_FAILURES`
    trials fail in a row; ConfigError for an invalid space; KeyboardInterrupt when the sweep is interrupted.
    """
    sweep = sweep.absolute(origin)
    sweep.check_space()
    with explaining_write_errors(out):
        out.path.mkdir(parents=True, exist_ok=True)
        check_folders(out, sweep.study([]))
        try:
            with study_lock(out):
                return _run(sweep, out, log, options)
        except FolderInUse:
            report = out.read_report()
            if report is None or not out.sweep.exists() or (running_sweep := read_sweep(out.sweep)) == sweep:
                raise
            check_edit(running_sweep, sweep, objectives_fixed=bool(report.best))
            write_whole(out.sweep, sweep.to_json().encode())
            log(f"the sweep in {out.path} is running; it takes over the change before its next trial")
            return report


def _run(sweep: Sweep, out: SweepDir, log: Log, options: PlaceOptions) -> SweepReport:
    if out.sweep.exists():
        searcher = Searcher(read_sweep(out.sweep), out.journal)
        check_edit(searcher.sweep, sweep, has_complete_trial(searcher))
        searcher.sweep = sweep
    elif out.study.exists():
        raise StudyError(f"{out.path} contains a study; choose a new folder for the sweep.")
    else:
        searcher = Searcher(sweep, out.journal)
    write_whole(out.sweep, sweep.to_json().encode())
    with explaining_read_errors(out.journal):  # Optuna does not check the values in it
        write_report(out, searcher)
    for trial in searcher.trials():
        if not trial.state.is_finished() and (problem := contradiction(searcher, trial.number)):
            searcher.fail(trial.number, problem, has_invalid_config=True)
    study = sweep.study(trained_trials(searcher))
    check_folders(out, study)
    claim(out, study)
    options = replace(options, machines=options.machines or read_machines(out, study).on or sweep.machines)
    with open_places(study, out, options, log) as places:
        if places[0].name == THIS_COMPUTER:
            prepare(out, study, log)
        SweepQueue(searcher, study, out, places, log).work()
    return write_report(out, searcher)
