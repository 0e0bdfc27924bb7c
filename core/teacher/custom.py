"""A teacher that follows the student by a custom rule, the class in ``teacher.kind``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from core.custom.calling import accepted_parameters, construct
from core.custom.failures import file_of, user_code
from core.custom.loading import CustomCode
from core.model.network import Network
from core.ranks.tensors import full_tensor, is_split, local
from core.spec.config import TeacherConfig
from core.spec.run.code import CodeError
from core.teacher.ema import EmaTeacher


class CustomTeacher(EmaTeacher):
    """A copy of the student that a rule updates after each step, with ``update(teacher, student, momentum)``.

    ``teacher`` and ``student`` map names to parameters (to this rank's shards if weights are split over ranks).
    ``update`` changes the teacher's parameters in place, without gradient. ``momentum`` is the scheduled value of the
    step. Buffers are copied from the student. If the rule is a module, its state is saved in checkpoints. Calling the
    rule makes each step wait for the device.
    """

    def __init__(self, config: TeacherConfig, student: Network, code: CustomCode) -> None:
        """Raises CodeError if the rule cannot be used."""
        super().__init__(config, student)
        rule = code.load(config.kind)
        self._file = file_of(rule)
        self._rule = construct(config.kind, rule, {}) if isinstance(rule, type) else rule
        if not callable(getattr(self._rule, "update", None)):
            raise CodeError(f"{config.kind} has no method update(teacher, student, momentum); add one.")
        self._argument_names = accepted_parameters(
            f"{config.kind}.update", self._rule.update, ("teacher", "student"), ("momentum",)
        )

    @torch.no_grad()
    def update(self, student: Network, momentum: float, skipped: Tensor | None = None) -> None:
        if skipped is not None and bool(skipped):
            return
        reshard: Any = getattr(self.network, "reshard", None)  # exists if weights are split over ranks
        if reshard is not None:
            reshard()
        student_parameters = dict(student.named_parameters())
        separate = {
            name: value for name, value in self.network.named_parameters() if value is not student_parameters[name]
        }  # without parameters that teacher and student share
        values = {
            "teacher": {name: local(value) for name, value in separate.items()},
            "student": {name: _in_layout_of(student_parameters[name], value) for name, value in separate.items()},
            "momentum": momentum,
        }
        with user_code(self.config.kind, self._file):
            self._rule.update(**{name: values[name] for name in self._argument_names})
        self._update_buffers(student, 1.0 - momentum, None)

    def rule_state(self) -> dict[str, Tensor]:
        """The state of the rule; empty if it has none."""
        return self._rule.state_dict() if isinstance(self._rule, nn.Module) else {}

    def load_rule_state(self, state: Mapping[str, Tensor]) -> None:
        """Load the result of ``rule_state``."""
        if isinstance(self._rule, nn.Module):
            self._rule.load_state_dict(state)


def _in_layout_of(value: Tensor, current: Tensor) -> Tensor:
    """The student's ``value`` in the layout of the teacher's ``current``: this rank's shard, or the full tensor."""
    if not is_split(value):
        return value
    return local(value) if is_split(current) else full_tensor(value)
