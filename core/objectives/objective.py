"""The interface of an objective: a loss over the student's and the teacher's outputs, with its diagnostics.

Flow: ``core.objectives.build`` finds every class of this package and builds those that a config gives a weight; the
trainer sums ``weight * loss``. A new objective is one module here and one config class in ``core.spec.config``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from core.data.batch import Batch
from core.model.errors import ModelError
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.parts.schedule import ObjectiveValues, objective_schedule
from core.spec.config import ObjectiveConfig, ObjectivesConfig

Report = dict[str, Tensor]
"""Diagnostics by name: detached scalars, left on the device so that reporting costs no synchronisation."""


class Objective(nn.Module, ABC):
    """One loss. ``name`` is its field in ``ObjectivesConfig`` and its metric (``train/<name>``).

    The towers' features of every view are computed for all objectives. One that needs more declares it: flags for what
    the towers shall keep, learnt parts (``build_head``), which live in the network, so that the optimiser moves them,
    the teacher averages them and checkpoints keep them; and outputs of its own (``head_outputs``), which ``forward``
    finds in ``output.extra[name]``.
    """

    name: str
    config_class: ClassVar[type[ObjectiveConfig]]
    needs_text_tokens = False  # whether the state of each word is asked for, not only the caption's
    needs_patches = False  # whether the last state of each patch is asked for
    needs_views = False  # whether it reads the student's further views
    needs_prototypes = False  # whether it reads the network's shared prototypes
    learns_from_teacher = False  # whether the teacher's outputs are its targets; it waits for one that begins late
    asks_teacher = False  # whether it reads the teacher's outputs; those that learn from a teacher always do

    def __init__(self, config: ObjectiveConfig) -> None:
        super().__init__()
        self.weight = config.weight
        self.learns_from_teacher = self.asks_teacher = config.learns_from_teacher
        self.needs_views = config.reads_views()
        self.now: ObjectiveValues = objective_schedule(config, 1).at(1)  # all ramps are over, until ``begin_step``

    @classmethod
    def serves(cls, config: ObjectiveConfig) -> bool:
        """Whether this class computes what ``config``, one of its config class, asks for."""
        return isinstance(config, cls.config_class)

    @classmethod
    def build(cls, config: ObjectiveConfig, every: ObjectivesConfig) -> Self:
        """The objective of ``config``; ``every`` holds the settings of the others, for one that shares with them."""
        return cls(config)

    def build_shared_head(self, network: Network) -> None:
        """Learnt parts in ``network.heads`` that other objectives read too; built before any ``build_head``."""

    def build_head(self, network: Network) -> nn.Module | None:
        """Learnt parts for ``network.heads[name]``, sized to fit it; None without any."""
        return None

    def build_buffers(self, network: Network) -> None:
        """Add what is remembered from step to step, where its size depends on the network; by default nothing."""

    def check_teacher(self, student: Network, teacher: Network) -> None:
        """Raise ModelError when a trained ``teacher`` cannot give what this objective compares; by default, never."""

    @property
    def compares_vectors(self) -> str:
        """The setting for which the student's vectors are compared with a teacher's own; "" when they are not.

        Both then need one width, and the teacher is a single network.
        """
        return ""

    def begin_step(self, network: Network, now: ObjectiveValues) -> None:
        """Take over the values of this step's schedules, before the networks see the batch."""
        self.now = now

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> Any:
        """What this objective computes with the student besides, under autocast; kept in ``output.extra[name]``."""
        return None

    def teacher_head_outputs(self, network: Network, batch: Batch, output: Output) -> Any:
        """What it computes with the teacher besides, without gradient; by default nothing."""
        return None

    @abstractmethod
    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        """The loss, unweighted, and diagnostics. ``teacher`` is None where nobody asks a teacher."""


def require(teacher: Output | None, name: str) -> Output:
    """``teacher``, which the objective ``name`` cannot do without."""
    if teacher is None:
        raise ValueError(f"{name} compares with a teacher, and was given none")
    return teacher


def require_head(name: str, student: Network, teacher: Network, objective: str = "") -> None:
    """Raise ModelError when the student has the head ``name``, learnt by ``objective``, and the teacher has not."""
    if name in student.heads and name not in teacher.heads:
        trained = objective or name
        raise ModelError(f"the teacher was not trained with objectives.{trained} as it is here; it cannot teach it.")


def require_same_length(setting: str, student: Network, teacher: Network) -> None:
    """Raise ModelError when the teacher reads shorter captions than the student, and ``setting`` compares by word."""
    ours, theirs = student.towers.context_length, teacher.towers.context_length
    if theirs < ours:
        raise ModelError(
            f"objectives.{setting} compares word by word, and the teacher reads {theirs} tokens where "
            f"the student reads {ours}; choose a teacher that reads as many, or set it to 0."
        )
