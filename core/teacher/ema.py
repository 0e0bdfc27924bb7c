"""The moving-average teacher: an average of the student's weights, or of its full state."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from core.data.batch import Batch
from core.model.eval_mode import evaluating
from core.model.network import Network
from core.model.outputs import Output
from core.ranks.tensors import full_tensor, is_split, load_full_state, local
from core.spec.config import TeacherConfig
from core.teacher.teacher import HeadOutputs, Teacher


class EmaTeacher(Teacher):
    """An exponential moving average of the student's parameters (Mean Teacher, Tarvainen and Valpola 2017).

    After each step t, ``teacher = m(t) * teacher + (1 - m(t)) * student``, with m from
    ``core.training.schedules.momenta``. A teacher that teaches in every k-th step is updated only before these steps,
    with the product of m(t) since its last update. Buffers (batch norm statistics) are copied from the student; with
    ema-state they are averaged, except for counters (EMAN, Cai et al. 2021). The teacher starts as a copy of the
    student. Its state dict is a network's state dict.
    """

    moves = True

    def __init__(self, config: TeacherConfig, student: Network) -> None:
        super().__init__(config)
        network: Network = copy.deepcopy(student)
        self.networks = (network.requires_grad_(False).eval(),)

    def targets(self, batch: Batch, head_outputs: HeadOutputs | None = None) -> Output:
        with torch.no_grad(), evaluating(self.network):
            output = self.network.forward_teacher(batch)
            return output if head_outputs is None else head_outputs(self.network, batch, output)

    @torch.no_grad()
    def update(self, student: Network, momentum: float, skipped: Tensor | None = None) -> None:
        reshard: Any = getattr(self.network, "reshard", None)  # exists if weights are split over ranks
        if reshard is not None:
            reshard()
        teacher_parameters, student_parameters = dict(self.network.named_parameters()), dict(student.named_parameters())
        # without parameters that teacher and student share
        names = [name for name, value in teacher_parameters.items() if value is not student_parameters[name]]
        averages: list[Tensor] = [teacher_parameters[name] for name in names]
        students: list[Tensor] = [student_parameters[name] for name in names]
        if any(map(is_split, students)):  # each rank updates its own shards
            students = [
                local(value) if is_split(average) else full_tensor(value)
                for average, value in zip(averages, students, strict=True)
            ]
            averages = [local(average) for average in averages]
        weight = 1.0 - momentum
        _lerp(averages, students, weight if skipped is None else weight * (1.0 - skipped))
        self._update_buffers(student, weight, skipped)

    def _update_buffers(self, student: Network, share: float, skipped: Tensor | None) -> None:
        student_buffers = dict(student.named_buffers())
        for name, buffer in self.network.named_buffers():
            if buffer is student_buffers[name]:
                continue
            averaged = self.config.traits.averages_buffers and buffer.is_floating_point()
            value = buffer.lerp(student_buffers[name], share) if averaged else student_buffers[name]
            buffer.copy_(value if skipped is None else torch.where(skipped > 0, buffer, value))

    def state_dict(self) -> dict[str, Tensor]:
        """The network's state dict, so that a teacher's checkpoint can be loaded into a Network."""
        return self.network.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        load_full_state(self.network, state)


def _lerp(averages: list[Tensor], students: list[Tensor], share: float | Tensor) -> None:
    """Move ``averages`` in place towards ``students`` by ``share``.

    ``share`` can be a tensor, so that it is 0 after a skipped step without synchronisation. On a GPU the fused lerp
    accepts only numbers, so a tensor is applied by a difference, a product and a sum, each with one kernel for many
    parameters.
    """
    if isinstance(share, Tensor) and share.device.type == "cuda":
        steps: Any = torch._foreach_sub(students, averages)
        torch._foreach_mul_(steps, share)
        torch._foreach_add_(averages, steps)
        return
    weight: Any = [share] * len(averages) if isinstance(share, Tensor) else share  # type stubs allow only numbers
    torch._foreach_lerp_(averages, students, weight)
