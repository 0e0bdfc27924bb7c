"""A teacher that follows the student by a custom rule: ``teacher.kind`` names its class."""

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
    """A copy of the student that a rule moves after each step, with ``update(teacher, student, momentum)``.

    ``teacher`` and ``student`` are the parameters by name, where weights are split over ranks this rank's parts;
    ``update`` writes to the teacher's in place, without gradient. ``momentum`` is that of the step's schedule. Buffers
    are the student's. A rule that is a module keeps its state in checkpoints. The device is waited for at each step.
    """

    def __init__(self, config: TeacherConfig, student: Network, code: CustomCode) -> None:
        """Raises CodeError when the rule cannot be used."""
        super().__init__(config, student)
        kind = code.load(config.kind)
        self._file = file_of(kind)
        self._rule = construct(config.kind, kind, {}) if isinstance(kind, type) else kind
        if not callable(getattr(self._rule, "update", None)):
            raise CodeError(f"{config.kind} has no method update(teacher, student, momentum); add one.")
        self._takes = accepted_parameters(
            f"{config.kind}.update", self._rule.update, ("teacher", "student"), ("momentum",)
        )

    @torch.no_grad()
    def update(self, student: Network, momentum: float, skipped: Tensor | None = None) -> None:
        if skipped is not None and bool(skipped):
            return
        reshard: Any = getattr(self.network, "reshard", None)  # over ranks, where weights are split
        if reshard is not None:
            reshard()
        ours, theirs = dict(self.network.named_parameters()), dict(student.named_parameters())
        changed = {name: value for name, value in ours.items() if value is not theirs[name]}
        values = {
            "teacher": {name: local(value) for name, value in changed.items()},
            "student": {name: _fitting(theirs[name], value) for name, value in changed.items()},
            "momentum": momentum,
        }
        with user_code(self.config.kind, self._file):
            self._rule.update(**{name: values[name] for name in self._takes})
        self._update_buffers(student, 1.0 - momentum, None)

    def rule_state(self) -> dict[str, Tensor]:
        """What its rule remembers from step to step."""
        return self._rule.state_dict() if isinstance(self._rule, nn.Module) else {}

    def load_rule_state(self, state: Mapping[str, Tensor]) -> None:
        """Load the result of ``rule_state``."""
        if isinstance(self._rule, nn.Module):
            self._rule.load_state_dict(state)


def _fitting(value: Tensor, current: Tensor) -> Tensor:
    """The student's ``value`` as the teacher has its ``current``: this rank's part, or the whole."""
    if not is_split(value):
        return value
    return local(value) if is_split(current) else full_tensor(value)
