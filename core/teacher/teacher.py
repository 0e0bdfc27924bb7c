"""The teacher: the network that makes the targets and is never given a gradient.

Flow: in each step the trainer asks ``targets`` before the student answers, and calls ``update`` after the optimiser has
moved the student. ``EmaTeacher`` follows the student; ``core.teacher.frozen`` holds trained networks, and builds
whichever an experiment asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from core.data.batch import Batch
from core.model.network import Network
from core.model.outputs import Output
from core.spec.config import TeacherConfig

Look = Callable[[Network, Batch, Output], Output]


class Teacher:
    """What every teacher is; ``moves`` says whether it follows the student."""

    moves: bool
    networks: tuple[Network, ...]

    def __init__(self, config: TeacherConfig) -> None:
        self.config = config

    @property
    def network(self) -> Network:
        """What is judged beside the student and kept as the teacher."""
        return self.networks[0]

    def targets(self, batch: Batch, look: Look | None = None) -> Output:
        """What the teacher makes of its view of the batch, and what ``look`` asks of it besides."""
        raise NotImplementedError

    def update(self, student: Network, momentum: float, skipped: Tensor | None = None) -> None:
        """Follow ``student``, keeping the share ``momentum``; call it after the optimiser's step.

        ``skipped``: 1.0 where the optimiser left the student as it was, else 0.0; a scalar on the device, not read.
        The teacher then stays as it is too.
        """

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of it; empty where it is kept elsewhere."""
        raise NotImplementedError

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` gave."""
