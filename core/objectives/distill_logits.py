"""Distillation of softened logits, from a moving average, a frozen network or a previous run."""

from __future__ import annotations

import torch
from torch import Tensor

from core.model.network import Network
from core.model.outputs import Output
from core.objectives.classification import check_classes, stored_logits
from core.objectives.distill_similarity import pair_logits
from core.objectives.objective import Objective, Report, require
from core.objectives.parts.probabilities import cross_entropy, entropy
from core.spec.config import DistillLogitsConfig


class DistillLogits(Objective):
    """Match the teacher's softened predictions (Hinton et al. 2015, section 2).

    With t the teacher's logits, s the student's and T the temperature,

        loss = T^2 KL(softmax(t / T) || softmax(s / T))

    since the gradient of the divergence scales with 1 / T^2. The loss of similarities is the mean of image-to-text and
    text-to-image; the loss of classes includes labelled and unlabelled rows. Losses are averaged over the distilled
    views. If a view is interpolated, the teacher's softmax is interpolated too.
    """

    name = "distill_logits"
    config_class = DistillLogitsConfig

    def __init__(self, config: DistillLogitsConfig) -> None:
        super().__init__(config)
        self.on, self.temperature = config.on, config.temperature

    def check_teacher(self, student: Network, teacher: Network) -> None:
        if self.on == "classes":
            check_classes(student, teacher)

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        teacher = require(teacher, self.name)
        with torch.autocast(student.text.device.type, enabled=False):
            losses = [self._view_loss(student, teacher, view) for view in range(len(student.distilled))]
            loss = torch.stack(losses).mean()
        return loss, {"diag/logits_kl": loss.detach() / self.temperature**2}

    def _view_loss(self, student: Output, teacher: Output, view: int) -> Tensor:
        mix = student.distilled[view].mix
        if self.on == "classes":
            target = self._soften(stored_logits(teacher).views[0].float())
            return self._divergence(
                target if mix is None else mix.blend(target), stored_logits(student).distilled[view].float()
            )
        to_text, to_image = (self._soften(logits) for logits in pair_logits(teacher, view=0))
        if mix is not None:  # columns of text-to-image are images, see DistillSimilarity
            to_text, to_image = mix.blend(to_text), mix.blend_columns(to_image)
        parts = zip((to_text, to_image), pair_logits(student, view), strict=True)
        return torch.stack([self._divergence(target, logits) for target, logits in parts]).mean()

    def _soften(self, logits: Tensor) -> Tensor:
        return (logits / self.temperature).softmax(dim=-1)

    def _divergence(self, target: Tensor, logits: Tensor) -> Tensor:
        return self.temperature**2 * (cross_entropy(target, logits / self.temperature) - entropy(target))
