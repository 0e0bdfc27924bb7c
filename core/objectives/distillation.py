"""Self-distillation: the student matches the teacher's softmax, over the batch or over prototypes.

Legend: B batch, D embed, K prototypes, V distilled views.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from core.config import DistillPrototypesConfig, DistillSimilarityConfig
from core.model.outputs import Output
from core.objectives.objective import Objective, Report, require


def entropy(probabilities: Tensor) -> Tensor:
    """Mean entropy of the rows, in nats; 0 log 0 is 0."""
    return torch.xlogy(probabilities, probabilities).sum(dim=-1).mean().neg()


def cross_entropy(target: Tensor, logits: Tensor) -> Tensor:
    """Mean cross-entropy of the rows of softmax(``logits``) under the distributions ``target``."""
    return (target * logits.log_softmax(dim=-1)).sum(dim=-1).mean().neg()


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
