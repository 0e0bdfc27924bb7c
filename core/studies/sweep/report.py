"""Writes ``trials.json`` from Optuna's journal.

Flow: the searcher -> `write_report` -> the window and ``sweep show``.
"""

from __future__ import annotations

from datetime import datetime

from optuna.trial import FrozenTrial, TrialState

from core.spec.files import write_whole
from core.spec.study.config import MAX_NUMBER
from core.spec.study.sweep_report import MAX_TEXT_LENGTH, SweepDir, SweepReport, TrialRecord
from core.spec.study.sweep_report import TrialState as StateName
from core.studies.sweep.searcher import Searcher, is_feasible

_STATES: dict[TrialState, StateName] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "stopped early",
    TrialState.FAIL: "failed",
}


def write_report(out: SweepDir, searcher: Searcher) -> SweepReport:
    """Summarise all trials and write ``trials.json`` if the summary has changed."""
    sweep = searcher.sweep
    report = SweepReport(
        name=sweep.name,
        optuna=searcher.optuna,
        wanted=sweep.trials,
        objectives=sweep.objectives,
        space=sweep.space,
        early_stopping=sweep.early_stopping,
        trials=[_record(trial) for trial in searcher.trials()],
        best=[trial.number for trial in searcher.best()],
        importance=searcher.importance(),
    )
    text = report.model_dump_json(indent=1).encode()
    if not out.trials.exists() or out.trials.read_bytes() != text:
        write_whole(out.trials, text)
    return report


def _record(trial: FrozenTrial) -> TrialRecord:
    state = _STATES.get(trial.state, "running")
    return TrialRecord(
        number=trial.number,
        state=state,
        params=trial.params,
        values=list(trial.values) if state == "complete" else [],
        feasible=is_feasible(trial),
        intermediate=[(step, value) for step, value in trial.intermediate_values.items() if abs(value) <= MAX_NUMBER],
        message=str(trial.user_attrs.get("message", ""))[:MAX_TEXT_LENGTH],
        started=_seconds(trial.datetime_start),
        ended=_seconds(trial.datetime_complete),
    )


def _seconds(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0
