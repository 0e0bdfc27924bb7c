"""The teacher: a moving average of the student's parameters that makes the targets and is never given a gradient.

Flow: in each step the trainer asks ``targets`` before the student answers, and calls ``update`` after the optimiser
has moved the student.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from core.config import RunConfig, TeacherConfig
from core.data.batch import Batch
from core.model.network import Network
from core.model.outputs import Output

Look = Callable[[Network, Batch, Output], Output]


class EmaTeacher:
    """An exponential moving average of the student's parameters (Mean Teacher, Tarvainen and Valpola 2017).

    After each step t, ``teacher = m(t) * teacher + (1 - m(t)) * student``; buffers (batch norm's statistics) are the
    student's. It starts equal to the student. Its state dict is the network's own.
    """

    def __init__(self, config: TeacherConfig, student: Network) -> None:
        self.config = config
        self._average = AveragedModel(student)
        self._average.n_averaged.fill_(1)  # at 0 the first update would copy the student, whatever the momentum
        self.network = cast(Network, self._average.module)
        self.network.requires_grad_(False).eval()

    def targets(self, batch: Batch, look: Look | None = None) -> Output:
        """What the teacher makes of its view of the batch, and what ``look`` asks of it besides."""
        with torch.no_grad():
            output = self.network.forward_teacher(batch)
            return output if look is None else look(self.network, batch, output)

    def momentum(self, step: int, total_steps: int) -> float:
        """The share of the teacher that survives ``step`` (1 after the first optimiser step) of ``total_steps``.

        constant: m(t) = m. cosine: m(t) = 1 - (1 - m) (cos(pi t / total) + 1) / 2, from m to 1 (DINO, Caron et al.
        2021). With warm-up, min(1 - 1 / (t + 1), m(t)): the plain mean of the first steps (Mean Teacher).
        """
        momentum = self.config.momentum
        if self.config.momentum_schedule == "cosine":
            momentum = 1.0 - (1.0 - momentum) * (math.cos(math.pi * min(1.0, step / max(1, total_steps))) + 1.0) / 2.0
        return min(1.0 - 1.0 / (step + 1), momentum) if self.config.momentum_warmup else momentum

    def update(self, student: Network, step: int, total_steps: int) -> None:
        """Move towards ``student``; call it after the optimiser's step."""
        self._average.multi_avg_fn = _average_by(self.momentum(step, total_steps))
        self._average.update_parameters(student)

    def state_dict(self) -> dict[str, Tensor]:
        """The network's state, so that a teacher's checkpoint loads into a Network."""
        return self.network.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state)


def _average_by(momentum: float) -> Callable[[Any, Any, Any], None]:
    """The averaging of all parameters at once that AveragedModel calls."""

    @torch.no_grad()
    def average(teacher: Any, student: Any, count: Any) -> None:
        torch._foreach_lerp_(teacher, student, 1.0 - momentum)

    return average


def build_teacher(config: RunConfig, student: Network) -> EmaTeacher | None:
    """The teacher of an experiment, equal to ``student``; None without one."""
    return EmaTeacher(config.teacher, student) if config.teacher.kind == "ema" else None
