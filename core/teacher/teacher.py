"""The teacher: the network that makes the targets and is never given a gradient.

Flow: in each step the trainer asks ``targets`` before the student's forward pass, and calls ``update`` after the
optimiser's step. ``EmaTeacher`` follows the student, ``FrozenTeacher`` holds trained networks; ``core.teacher.build``
makes the one that an experiment asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor

from core.data.batch import Batch
from core.model.network import Network
from core.model.outputs import Output
from core.spec.config import TeacherConfig

HeadOutputs = Callable[[Network, Batch, Output], Output]
"""Adds to a network's output of a batch what objectives compute from it."""


class ComparesWithTeacher(Protocol):
    """The side of an objective that a trained teacher is checked against."""

    name: str

    @property
    def compares_vectors(self) -> str:
        """The setting for which vectors are compared with a teacher's own; "" when they are not."""

    def check_teacher(self, student: Network, teacher: Network) -> None:
        """Raise ModelError when ``teacher`` cannot give what the objective compares."""


class Teacher:
    """The interface of a teacher; ``moves`` says whether it follows the student."""

    moves: bool
    networks: tuple[Network, ...]

    def __init__(self, config: TeacherConfig) -> None:
        self.config = config

    @property
    def network(self) -> Network:
        """The network that is validated beside the student and saved as the teacher."""
        return self.networks[0]

    def targets(self, batch: Batch, head_outputs: HeadOutputs | None = None) -> Output:
        """The teacher's outputs of its views of the batch, with those of ``head_outputs``."""
        raise NotImplementedError

    def update(self, student: Network, momentum: float, skipped: Tensor | None = None) -> None:
        """Follow ``student``, keeping the share ``momentum``; call it after the optimiser's step.

        ``skipped``: 1.0 where the optimiser left the student as it was, else 0.0; a scalar on the device, not read.
        The teacher then stays as it is too.
        """

    def state_dict(self) -> dict[str, Tensor]:
        """Its tensors in a checkpoint; empty where they are kept elsewhere."""
        raise NotImplementedError

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what ``state_dict`` gave."""
