"""The interface between a study's queue and the places that train its runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from core.spec.errors import UserError
from core.spec.machines.record import read_record
from core.spec.run.folder import RunDir
from core.spec.study import RunState, Study, StudyRun

THIS_COMPUTER = ""  # the name of this computer among places


@dataclass(frozen=True)
class Ended:
    """The outcome of a run."""

    problem: str = ""  # why it has no measures; "" on success
    requeue: bool = False  # queue the run again
    killed: bool = False  # by a signal


class Training(Protocol):
    """A run in progress. No method blocks for long."""

    state: RunState  # "training" or "measuring"
    trouble: str  # a temporary problem, such as a lost connection, or ""

    def poll(self) -> Ended | None:
        """The outcome of the run; None while it is in progress."""

    def request_stop(self) -> None:
        """Request the run to save its state and stop."""

    def abandon(self) -> None:
        """Stop waiting for the run: kill it on this computer; on another machine, let it continue."""


class Place(Protocol):
    """A machine with devices."""

    name: str
    problem: str  # why no run can start until the user fixes it, or ""
    trouble: str  # why the machine cannot be reached at the moment, or ""

    def offer(self) -> str | None:
        """A free device ("" on a machine without selectable devices); None if nothing is free."""

    def begin(self, run: StudyRun, steps: int, device: str) -> Training:
        """Train or resume ``run``. Raises UserError if that is impossible."""

    def stop(self, run: StudyRun) -> None:
        """Stop ``run`` if a killed process of this study left it in training."""

    def extend(self, study: Study) -> None:
        """Replace the study by ``study``, which has new arms."""


def trained_on(run: RunDir) -> str | None:
    """The name of the machine on which ``run`` was started; None if it was not started.

    Raises UserError if its record cannot be read.
    """
    if (record := read_record(run)) is not None:
        return record.machine
    has_begun = run.events.exists() or any(run.checkpoints.glob("*")) or any(run.exports.glob("measures.json"))
    return THIS_COMPUTER if has_begun else None


def known_machine(run: RunDir) -> str | None:
    """The machine of `trained_on`; None also if the run's record cannot be read."""
    try:
        return trained_on(run)
    except UserError:
        return None
