"""Consistency with a teacher: the student predicts the teacher's classes for every view.

Legend: B batch, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from core.model.network import Network
from core.model.outputs import Output
from core.objectives.classification import check_classes, stored_logits
from core.objectives.objective import Objective, Report, require
from core.spec.config import ConsistencyConfig, ObjectiveConfig


class MeanTeacher(Objective):
    """Match the teacher's class probabilities (Tarvainen and Valpola 2017), on all rows.

        loss = mean_bc (p_student - p_teacher)^2

    averaged over the distilled views. If a view is interpolated, the teacher's probabilities are interpolated too.
    """

    name = "consistency"
    config_class = ConsistencyConfig

    @classmethod
    def implements(cls, config: ObjectiveConfig) -> bool:
        return isinstance(config, ConsistencyConfig) and config.kind == "mean-teacher"

    def check_teacher(self, student: Network, teacher: Network) -> None:
        check_classes(student, teacher)

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        teacher = require(teacher, self.name)
        with torch.autocast(student.text.device.type, enabled=False):
            probabilities = stored_logits(teacher).views[0].float().softmax(dim=-1)  # (B, C)
            losses = []
            for logits, view in zip(stored_logits(student).distilled, student.distilled, strict=True):
                target = probabilities if view.mix is None else view.mix.blend(probabilities)
                losses.append(F.mse_loss(logits.float().softmax(dim=-1), target))
            return torch.stack(losses).mean(), {"diag/pseudo_label_confidence": probabilities.amax(dim=-1).mean()}
