"""What an objective is: it compares the student's output with the teacher's, and says how much that counts.

Flow: ``core.objectives.build`` makes those of an experiment; the trainer sums ``weight_at(progress) * loss``.
"""

from __future__ import annotations

from torch import Tensor, nn

from core.config import ObjectiveConfig
from core.model.outputs import Output

Report = dict[str, Tensor]
"""Diagnostics by name: detached scalars, left on the device so that reporting costs no synchronisation."""


class Objective(nn.Module):
    """One loss. ``name`` is what it is called in the definition and in the metrics (``train/<name>``)."""

    name: str

    def __init__(self, config: ObjectiveConfig) -> None:
        super().__init__()
        self.weight, self.ramp = config.weight, config.ramp

    def weight_at(self, progress: float) -> float:
        """The weight when ``progress`` (0 to 1) of training is done: it rises linearly from 0 over the ramp."""
        return self.weight * min(1.0, progress / self.ramp) if self.ramp > 0 else self.weight

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        """The loss, unweighted, and diagnostics."""
        raise NotImplementedError


def require(teacher: Output | None, name: str) -> Output:
    """``teacher``, which the objective ``name`` cannot do without."""
    if teacher is None:
        raise ValueError(f"{name} compares with a teacher, and was given none")
    return teacher
