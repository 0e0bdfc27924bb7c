"""Self-distillation of similarities: the student matches the teacher's softmax over the batch.

Legend: B batch, D embed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from core.config import DistillSimilarityConfig
from core.model.outputs import Output
from core.objectives.objective import Objective, Report, require
from core.objectives.probabilities import cross_entropy, entropy


class DistillSimilarity(Objective):
    """Match the teacher's similarities between the batch's images and texts (ALBEF, Li et al. 2021, section 3.2).

    Each network softmaxes by its own logit scale. With q the teacher's distributions and p the student's,

        loss = (KL(q_image_to_text || p_image_to_text) + KL(q_text_to_image || p_text_to_image)) / 2

    averaged over the distilled views. Where the student's view is interpolated with share a and partner r (a
    permutation of the batch), picture i' is a of picture i and 1 - a of r(i), and the targets are blended alike:

        q'(text j | i')  = a q(j | i) + (1 - a) q(j | r(i))      rows of image-to-text
        q'(picture i' | j) = a q(i | j) + (1 - a) q(r(i) | j)    columns of text-to-image

    Both remain distributions. The first is a convex combination of two. The second sums over i' to
    a sum_i q(i | j) + (1 - a) sum_i q(r(i) | j) = a + (1 - a) = 1, since r visits each picture once.
    """

    name = "distill_similarity"

    def __init__(self, config: DistillSimilarityConfig) -> None:
        super().__init__(config)

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        teacher = require(teacher, self.name)
        with torch.autocast(student.text.device.type, enabled=False):
            to_text, to_image = (logits.softmax(dim=-1) for logits in _similarities(teacher, 0))
            losses = [self._of_view(student, view, to_text, to_image) for view in range(len(student.distilled))]
            loss = torch.stack(losses).mean()
            sharpness = (entropy(to_text) + entropy(to_image)) / 2 / math.log(max(2, len(to_text)))
        return loss, {
            "diag/similarity_kl": loss.detach(),
            "diag/teacher_similarity_entropy_over_ln_batch": sharpness,
        }

    @staticmethod
    def _of_view(student: Output, view: int, to_text: Tensor, to_image: Tensor) -> Tensor:
        mix = student.distilled[view].mix
        if mix is not None:
            to_text, to_image = mix.blend(to_text), mix.blend(to_image.T).T
        parts = zip((to_text, to_image), _similarities(student, view), strict=True)
        return torch.stack([cross_entropy(target, logits) - entropy(target) for target, logits in parts]).mean()


def _similarities(output: Output, view: int) -> tuple[Tensor, Tensor]:
    """Image-to-text (B, B) and text-to-image (B, B) logits of a distilled view."""
    logits = output.logit_scale.float() * output.distilled[view].image.float() @ output.text.float().T
    return logits, logits.T
