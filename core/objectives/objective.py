"""The interface of an objective: a loss from the outputs of student and teacher, with diagnostics.

Flow: ``core.objectives.build`` builds the objectives with a weight above 0; the trainer sums ``weight * loss``. A new
objective consists of one module in this package and one config class in ``core.spec.config``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from core.data.batch import Batch
from core.data.dataset import Progress
from core.model.errors import ModelError
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.parts.schedule import ObjectiveValues, objective_schedule
from core.spec.config import ObjectiveConfig, ObjectivesConfig, RunConfig

Report = dict[str, Tensor]
"""Diagnostics by name: detached scalars, kept on the device to avoid synchronisation."""


class Objective(nn.Module, ABC):
    """One loss. ``name`` is its field in ``ObjectivesConfig`` and its metric (``train/<name>``).

    All objectives can read the towers' features of every view. An objective declares additional requirements: tower
    outputs (flags); parameters (``build_head``), which belong to the network, so that they are optimised, averaged by
    the teacher and saved; and additional outputs (``head_outputs``), which ``forward`` reads from
    ``output.extra[name]``.
    """

    name: str
    config_class: ClassVar[type[ObjectiveConfig]]
    needs_text_tokens = False  # reads the state of each word
    needs_patches = False  # reads the last state of each patch
    needs_views = False  # reads the student's additional views
    needs_prototypes = False  # reads the network's shared prototypes
    learns_from_teacher = False  # the teacher's outputs are targets
    needs_teacher = False  # reads the teacher's outputs, as targets or otherwise

    def __init__(self, config: ObjectiveConfig) -> None:
        super().__init__()
        self.weight = config.weight
        self.learns_from_teacher, self.needs_teacher = config.learns_from_teacher, bool(config.needs_teacher())
        self.needs_views = config.reads_additional_views()
        self.step_values: ObjectiveValues = objective_schedule(config, 1).at(1)  # final values until ``begin_step``

    @classmethod
    def implements(cls, config: ObjectiveConfig) -> bool:
        """Whether this class implements ``config``."""
        return isinstance(config, cls.config_class)

    @classmethod
    def build(cls, config: ObjectiveConfig, all_objectives: ObjectivesConfig) -> Self:
        """Build the objective of ``config``; ``all_objectives`` is for those that depend on others' settings."""
        return cls(config)

    def build_shared_head(self, network: Network) -> None:
        """Add to ``network.heads`` the heads that several objectives share; called before any ``build_head``."""

    def build_head(self, network: Network) -> nn.Module | None:
        """The head for ``network.heads[name]``; None by default."""
        return None

    def build_buffers(self, network: Network) -> None:
        """Add buffers whose size depends on the network; none by default."""

    def prepare(self, network: Network, config: RunConfig, progress: Progress) -> None:
        """Compute what the objective needs from the initial ``network``, before training; nothing by default."""

    def check_teacher(self, student: Network, teacher: Network) -> None:
        """Raise ModelError if a trained ``teacher`` does not have the outputs that this objective compares."""

    @property
    def vector_comparison_setting(self) -> str:
        """The setting that makes this objective compare the student's vectors with the teacher's; "" if it does not.

        If they are compared, both need the same width, and the teacher must be a single network.
        """
        return ""

    def begin_step(self, network: Network, values: ObjectiveValues) -> None:
        """Set the scheduled values of this step, before the forward passes."""
        self.step_values = values

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> Any:
        """Additional outputs of the student, under autocast; stored in ``output.extra[name]``."""
        return None

    def teacher_head_outputs(self, network: Network, batch: Batch, output: Output) -> Any:
        """Additional outputs of the teacher, without gradient; none by default."""
        return None

    @abstractmethod
    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        """The unweighted loss and diagnostics. ``teacher`` is None if no objective needs it."""


def require(teacher: Output | None, name: str) -> Output:
    """``teacher``; raises ValueError if it is None."""
    if teacher is None:
        raise ValueError(f"{name} needs the teacher's outputs, but got None")
    return teacher


def require_head(name: str, student: Network, teacher: Network) -> None:
    """Raise ModelError if the student has the head of the objective ``name``, but the teacher does not."""
    if name in student.heads and name not in teacher.heads:
        raise ModelError(
            f"the teacher was not trained with objectives.{name} as in this config; choose another teacher, or set "
            "the objective's weight to 0."
        )


def require_same_length(setting: str, student: Network, teacher: Network) -> None:
    """Raise ModelError if the teacher's context is too short for ``setting``, which compares word by word."""
    ours, theirs = student.towers.context_length, teacher.towers.context_length
    if theirs < ours:
        raise ModelError(
            f"objectives.{setting} compares word by word, but the teacher reads {theirs} tokens, and the student reads "
            f"{ours}; choose a teacher with a context length of {ours}, or set objectives.{setting} to 0."
        )
