"""Self-distillation of prototypes: the student matches the teacher's softmax over learnt prototypes.

Legend: B batch, K prototypes, V distilled views.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from core.config import DistillPrototypesConfig
from core.model.outputs import Output
from core.objectives.objective import Objective, Report, require
from core.objectives.probabilities import cross_entropy, entropy


class DistillPrototypes(Objective):
    """Match the teacher's softmax over learnt prototypes (DINO, Caron et al. 2021, section 3.1).

    With the teacher's logits t, the student's s, temperatures u and v and the centre c,

        q = softmax((t - c) / u),  p = softmax(s / v),  loss = H(q, p) = - sum_k q_k log p_k

    averaged over the distilled views; where a view is interpolated, so is q. Centring and sharpening hold each other
    back: the centre alone would drive q to uniform, a small u alone to one prototype. After use, in training,
    c <- m c + (1 - m) mean_B t.
    """

    name = "distill_prototypes"
    centre: Tensor  # (K,)

    def __init__(self, config: DistillPrototypesConfig) -> None:
        super().__init__(config)
        self.student_temperature = config.student_temperature
        self.teacher_temperature = config.teacher_temperature
        self.momentum = config.center_momentum
        self.register_buffer("centre", torch.zeros(config.prototypes))

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        logits = _prototypes(require(teacher, self.name), 0)
        with torch.autocast(logits.device.type, enabled=False):
            target = ((logits - self.centre) / self.teacher_temperature).softmax(dim=-1)  # (B, K)
            losses, entropies = [], []
            for index, view in enumerate(student.distilled):
                wanted = target if view.mix is None else view.mix.blend(target)
                losses.append(cross_entropy(wanted, _prototypes(student, index) / self.student_temperature))
                entropies.append(entropy(wanted))
            loss = torch.stack(losses).mean()
            report = {
                "diag/teacher_entropy_over_ln_prototypes": entropy(target) / math.log(len(self.centre)),
                "diag/prototype_kl": loss.detach() - torch.stack(entropies).mean(),
                "diag/centre_norm": torch.linalg.vector_norm(self.centre),
            }
            if self.training:
                self.centre.lerp_(logits.mean(dim=0), 1.0 - self.momentum)
        return loss, report


def _prototypes(output: Output, view: int) -> Tensor:
    """A distilled view's logits over prototypes, (B, K) float32."""
    prototypes = output.distilled[view].prototypes
    if prototypes is None:
        raise ValueError("distill_prototypes compares prototypes, and the network was built without them")
    return prototypes.float()
