"""A sweep's folder and ``trials.json``: every trial, the best ones and the importance of each setting. No torch, no
Optuna; the window reads it.

A sweep folder is a study folder (see `StudyDir`) with these files beside:

    sweep.json       the sweep; a running sweep reads it again when it has changed
    trials.journal   Optuna's storage, one line of JSON an operation
    trials.json      what `SweepReport` holds; written whole after every change
    confirm/         a study of the best trials with fresh seeds, where ``sweep confirm`` was run
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict

from core.spec.reading import MEGABYTE, checked, excerpt, read_json
from core.spec.study.folder import StudyDir
from core.spec.study.records import Count, Number
from core.spec.study.sweep import Objective, SearchRange, Value

LARGEST_REPORT = 64 * MEGABYTE
TrialState = Literal["running", "complete", "stopped early", "failed"]
ShortText = Annotated[str, Field(max_length=10_000)]


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, defer_build=True)


class TrialRecord(_Record):
    """One trial. ``values``: one for each objective, [] unless it is complete."""

    number: Count
    state: TrialState
    params: dict[ShortText, Value]
    values: list[Number] = Field([], max_length=4)
    feasible: bool = True  # keeps all constraints
    intermediate: list[Annotated[tuple[Count, Number], Strict(False)]] = []  # step (or index of the seed) and value
    message: ShortText = ""  # why it failed
    started: Number = 0.0  # seconds since the epoch
    ended: Number = 0.0


class SweepReport(_Record):
    """``trials.json``."""

    version: Literal[1] = 1
    name: ShortText = ""
    optuna: ShortText = ""  # the version that wrote the journal
    wanted: Count = 0  # trials in all
    objectives: list[Objective] = Field(max_length=4)
    space: dict[ShortText, SearchRange]
    trials: list[TrialRecord] = Field(max_length=10_000)
    best: list[Count] = []  # trial numbers: the best one, or the Pareto front
    importance: dict[ShortText, dict[ShortText, Number]] = {}  # objective -> setting -> share

    @property
    def done(self) -> int:
        """Trials that have ended, failed ones too."""
        return sum(one.state != "running" for one in self.trials)


class SweepDir(StudyDir):
    """Paths in a sweep folder."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self.sweep = self.path / "sweep.json"
        self.journal = self.path / "trials.journal"
        self.trials = self.path / "trials.json"
        self.confirm = self.path / "confirm"

    def written(self) -> list[Path]:
        return [*super().written(), self.journal, self.path / ".journal.lock"]

    def read_report(self) -> SweepReport | None:
        """``trials.json``; None when there is none yet. UserError for a wrong file."""
        try:
            raw = read_json(self.trials, LARGEST_REPORT)
        except FileNotFoundError:
            return None
        return checked(SweepReport, raw, excerpt(str(self.trials)), remedy="`sweep run` writes it again.")


def trial_name(number: int) -> str:
    """The name of a trial's arm."""
    return f"trial-{number}"
