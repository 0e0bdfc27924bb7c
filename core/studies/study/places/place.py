"""What the queue of a study needs of a place and of a run that is trained there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from core.spec.machines.record import read_record
from core.spec.run.folder import RunDir
from core.spec.study import RunState, StudyRun

HERE = ""  # the name of this computer


@dataclass(frozen=True)
class Ended:
    """A run that ended. ``problem``: why it has no measures, "" when it has; ``again``: it waits as before."""

    problem: str = ""
    again: bool = False


class Training(Protocol):
    """A run at work. Nothing it does waits for long."""

    state: RunState  # training or measuring
    told: str  # what hinders it for now, such as a line that is cut; "" when nothing does

    def look(self) -> Ended | None:
        """How it ended; None while it is at work."""

    def ask_to_end(self) -> None:
        """Ask it to save its state and end."""

    def leave(self) -> None:
        """It did not end in time: killed here, left to itself elsewhere."""


class Place(Protocol):
    """A machine with devices."""

    name: str
    problem: str  # why nothing can be begun there until somebody does something about it; "" when it can
    told: str  # why it cannot be reached for now; "" when it can

    def offer(self) -> str | None:
        """A device that is free ("" where there are none to choose from); None while there is none."""

    def begin(self, run: StudyRun, steps: int, device: str) -> Training:
        """Train or resume ``run`` there. UserError when it cannot be."""

    def close(self) -> None:
        """Nothing more is begun; what is at work elsewhere goes on."""


def trained_on(run: RunDir) -> str | None:
    """The machine that has what there is of a run, by its name; None when nothing was begun. UserError, RecordError."""
    if (record := read_record(run)) is not None:
        return record.machine
    begun = run.events.exists() or any(run.checkpoints.glob("*")) or any(run.exports.glob("measures.json"))
    return HERE if begun else None
