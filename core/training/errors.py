"""Exceptions that end training before its last step."""

from __future__ import annotations

from core.spec.errors import UserError
from core.spec.run.events import Outcome


class TrainingError(UserError):
    """A run that cannot continue; the message gives the step, the reason and what to change."""


class Interrupt(Exception):
    """The user asked to stop or pause, through ``control`` or a signal."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class RankLost(UserError):
    """Another rank died or does not respond: the run is interrupted, and can resume from its last checkpoint."""
