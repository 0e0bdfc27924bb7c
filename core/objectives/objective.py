"""What an objective is: it compares the student's output with the teacher's, and says how much that counts.

Flow: ``core.objectives.build`` makes those of an experiment; the trainer sums ``weight * loss``.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from core.data.batch import Batch
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.parts.schedule import ObjectiveValues, objective_schedule
from core.spec.config import ObjectiveConfig

Report = dict[str, Tensor]
"""Diagnostics by name: detached scalars, left on the device so that reporting costs no synchronisation."""


class Objective(nn.Module):
    """One loss. ``name`` is what it is called in the definition and in the metrics (``train/<name>``).

    Most compare what a network makes of every batch. One that needs more says so: learnt parts (``build_head``), which
    live in the network, so that the optimiser moves them, the teacher averages them and checkpoints keep them; and
    computations besides (``look``), which ``forward`` finds in ``output.extra[name]``.
    """

    name: str
    needs_text_tokens = False  # whether the state of each word is asked for, not only the caption's
    needs_patches = False  # whether the last state of each patch is asked for
    needs_views = False  # whether it reads the student's further views; those that are taught always do
    needs_prototypes = False  # whether it reads what the network's own head makes of them
    taught = False  # whether it compares with a teacher, and waits for one that begins late
    asks_teacher = False  # whether this step needs a teacher's outputs; those that are taught always do

    def __init__(self, config: ObjectiveConfig) -> None:
        super().__init__()
        self.weight = config.weight
        self.taught = self.asks_teacher = config.learns_from_teacher
        self.needs_views = self.needs_views or self.taught
        self.now: ObjectiveValues = objective_schedule(config, 1).at(1)  # all ramps are over, until ``begin_step``

    def build_head(self, network: Network) -> nn.Module | None:
        """Learnt parts for ``network.heads[name]``, sized to fit it; None without any."""
        return None

    def build_buffers(self, network: Network) -> None:
        """Add what is remembered from step to step, where its size depends on the network; by default nothing."""

    def begin_step(self, network: Network, now: ObjectiveValues) -> None:
        """Called before the networks see the batch, with what the schedules say of this step."""
        self.now = now

    def look(self, network: Network, batch: Batch, output: Output) -> Any:
        """What more this objective asks of the student, under autocast; ``forward`` finds it in ``extra``."""
        return None

    def look_as_teacher(self, network: Network, batch: Batch, output: Output) -> Any:
        """What more it asks of the teacher, without gradient; by default nothing."""
        return None

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        """The loss, unweighted, and diagnostics."""
        raise NotImplementedError


def require(teacher: Output | None, name: str) -> Output:
    """``teacher``, which the objective ``name`` cannot do without."""
    if teacher is None:
        raise ValueError(f"{name} compares with a teacher, and was given none")
    return teacher
