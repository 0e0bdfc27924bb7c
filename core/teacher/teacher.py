"""The teacher: the network that computes the targets, without gradient.

Flow: in each step the trainer calls ``targets`` before the student's forward pass, and ``update`` after the optimiser's
step. ``EmaTeacher`` averages the student, ``FrozenTeacher`` uses trained networks; see ``core.teacher.build``.
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
"""Adds the objectives' additional outputs to a network's output of a batch."""


class ComparesWithTeacher(Protocol):
    """The part of an objective's interface that is needed to check a trained teacher."""

    name: str

    @property
    def vector_comparison_setting(self) -> str:
        """The setting that makes the objective compare the student's vectors with the teacher's; "" if it does not."""

    def check_teacher(self, student: Network, teacher: Network) -> None:
        """Raise ModelError if ``teacher`` cannot provide the outputs that the objective compares."""


class Teacher:
    """The interface of a teacher."""

    moves: bool  # whether its weights change during training, such as an average of the student's
    networks: tuple[Network, ...]  # several form an ensemble; none if targets are stored

    def __init__(self, config: TeacherConfig) -> None:
        self.config = config

    @property
    def network(self) -> Network:
        """The first network. If the teacher moves, it is the only one, and is validated and saved as the teacher."""
        return self.networks[0]

    def targets(self, batch: Batch, head_outputs: HeadOutputs | None = None) -> Output:
        """The teacher's outputs for its views of the batch, including the outputs of ``head_outputs``."""
        raise NotImplementedError

    def update(self, student: Network, momentum: float, skipped: Tensor | None = None) -> None:
        """Move the weights towards ``student``, keeping the share ``momentum``; called after the optimiser's step.

        ``skipped``: 1.0 if the optimiser skipped the step, otherwise 0.0; a scalar on the device. After a skipped step,
        the teacher is not updated.
        """

    def state_dict(self) -> dict[str, Tensor]:
        """The teacher's tensors in a checkpoint; empty if they are not saved."""
        raise NotImplementedError

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the result of ``state_dict``."""
