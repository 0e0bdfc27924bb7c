"""A sweep's folder and ``trials.json``: all trials, the best trials and the importance of each setting.

The window imports this module, so it needs neither torch nor Optuna.

A sweep folder is a study folder (see `StudyDir`) with these additional files:

    sweep.json       the sweep's config; a running sweep reloads it when it changes
    trials.journal   Optuna's storage, one line of JSON per operation
    trials.json      a `SweepReport`; rewritten after every change
    confirm/         a study of the best trials with fresh seeds, written by ``sweep confirm``
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator

from core.spec.reading import MEGABYTE, read_json, validate
from core.spec.study.config import Count, Number
from core.spec.study.folder import StudyDir
from core.spec.study.sweep import EarlyStopping, Objective, SearchRange, Value

MAX_REPORT_BYTES = 64 * MEGABYTE
TrialState = Literal["running", "complete", "stopped early", "failed"]
MAX_TEXT_LENGTH = 10_000
ShortText = Annotated[str, Field(max_length=MAX_TEXT_LENGTH)]


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, defer_build=True)


class TrialRecord(_Record):
    """A trial. ``values``: one per objective; empty unless the trial is complete."""

    number: Count
    state: TrialState
    params: dict[ShortText, Value]
    values: list[Number] = Field([], max_length=4)
    feasible: bool = True  # whether the trial satisfies all constraints
    intermediate: list[Annotated[tuple[Count, Number], Strict(False)]] = []  # (step or seed index, value)
    message: ShortText = ""  # error message of a failed trial
    started: Number = 0.0  # seconds since the epoch
    ended: Number = 0.0


class SweepReport(_Record):
    """The content of ``trials.json``."""

    version: Literal[1] = 1
    name: ShortText = ""
    optuna: ShortText = ""  # the version of Optuna that wrote the journal
    wanted: Count = 0  # number of trials that the sweep should run
    objectives: list[Objective] = Field(min_length=1, max_length=4)
    space: dict[ShortText, SearchRange]
    early_stopping: EarlyStopping | None = None  # the rule whose values are in ``TrialRecord.intermediate``
    trials: list[TrialRecord] = Field(max_length=10_000)
    best: list[Count] = []  # numbers of the best trial or of the Pareto front
    importance: dict[ShortText, dict[ShortText, Number]] = {}  # objective -> setting -> share

    @model_validator(mode="after")
    def _consistent(self) -> SweepReport:
        for position, trial in enumerate(self.trials):
            if trial.number != position:
                raise ValueError(f"trials: the trial at position {position} has the number {trial.number}")
            if trial.values and len(trial.values) != len(self.objectives):
                raise ValueError(f"trials: trial {position} has {len(trial.values)} values, not one per objective")
        if any(number >= len(self.trials) or not self.trials[number].values for number in self.best):
            raise ValueError("best: it names a trial that is missing or has no values")
        if len(set(self.best)) < len(self.best):
            raise ValueError("best: it names a trial twice")
        return self

    @property
    def done(self) -> int:
        """The number of trials that have ended, including failed trials."""
        return sum(trial.state != "running" for trial in self.trials)


class SweepDir(StudyDir):
    """Paths in a sweep folder."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self.sweep = self.path / "sweep.json"
        self.journal = self.path / "trials.journal"
        self.trials = self.path / "trials.json"
        self.confirm = self.path / "confirm"

    def written_paths(self) -> list[Path]:
        return [*super().written_paths(), self.journal, self.path / ".journal.lock"]

    def read_report(self) -> SweepReport | None:
        """Read ``trials.json``; None before it is first written. Raises UserError for an invalid file."""
        try:
            raw = read_json(self.trials, MAX_REPORT_BYTES)
        except FileNotFoundError:
            return None
        return validate(SweepReport, raw, str(self.trials), remedy="`sweep run` writes it again.")


def trial_name(number: int) -> str:
    """The name of a trial's arm in the study."""
    return f"trial-{number}"


def rank_trials(report: SweepReport) -> list[TrialRecord]:
    """Complete and feasible trials by the first objective, best first; then the other trials by state and number."""
    sign = -1 if report.objectives[0].direction == "maximize" else 1

    def rank(trial: TrialRecord) -> tuple[int, float, int]:
        order = ("complete", "stopped early", "running", "failed").index(trial.state)
        if trial.values and trial.feasible:
            return (0, sign * trial.values[0], trial.number)
        return (1 + order, 0.0, trial.number)

    return sorted(report.trials, key=rank)
