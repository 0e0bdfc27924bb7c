"""Exceptions that end training before its last step."""

from __future__ import annotations

from core.spec.errors import UserError
from core.spec.run.events import Outcome


class TrainingError(UserError):
    """A run that cannot go on; the message says at which step, why and what to change."""


class Interrupt(Exception):
    """The user asked to stop or pause, through ``control`` or a signal."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class RankLost(UserError):
    """Another rank of the run is gone or does not answer: the run is interrupted, and goes on from its checkpoint."""
