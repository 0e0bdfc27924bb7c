"""Contrastive learning of images and texts.

Legend: B batch, D embed, Q queued pairs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from core.model.outputs import Output
from core.objectives.objective import Report, require
from core.objectives.parts.pairs import both_logits, of_true_pairs, pair_rows, true_pairs
from core.objectives.parts.queue import FeatureQueue, similarities
from core.objectives.queued import QueuedObjective
from core.objectives.weighting.belief import weighted_mean
from core.ranks.collectives import size
from core.spec.config import ContrastiveConfig


class Contrastive(QueuedObjective):
    """Matching pairs pulled together, others apart, on the clean view.

    softmax: symmetric InfoNCE over the batch (Radford et al. 2021, figure 3). With ``s`` the logit scale,
    ``z = s * image @ text.T`` (B, B), and pair i on the diagonal:

        loss = (cross_entropy(z, i) + cross_entropy(z.T, i)) / 2

    With label smoothing e, a row's target is (1 - e) for its pair, plus e / B for each of the batch, its own too
    (ALIGN, Jia et al. 2021). A logit bias cancels in both softmaxes. Where pairs are weighted (``output.belief``) the
    means are; a pair of weight 0 is still a negative of the others. With a queue (MoCo, He et al. 2020; ALBEF,
    Li et al. 2021) the student's features are queries, and the keys are the teacher's: of this batch, then of previous
    ones.

    sigmoid: each image with each text is a question of its own (SigLIP, Zhai et al. 2023, algorithm 1). With ``b``
    the logit bias and y_ij 1 for i = j and -1 else:

        loss = - sum_ij log sigmoid(y_ij (z_ij + b)) / B

    A pair's weight is that of its image's row: with weight 0 its image is compared with no text, and its text is still
    a negative of the other images.
    """

    name = "contrastive"
    config_class = ContrastiveConfig

    def __init__(self, config: ContrastiveConfig) -> None:
        super().__init__(config)
        self.kind, self.label_smoothing = config.kind, config.label_smoothing
        self.asks_teacher = config.kind == "softmax" and config.queue > 0

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        image, text, scale = student.clean.image, student.text, student.logit_scale
        with torch.autocast(image.device.type, enabled=False):
            if self.kind == "sigmoid":
                return self._sigmoid(student)
            if self.queue is not None:
                loss = self._with_queue(student, require(teacher, self.name), self.queue)
            else:
                both = both_logits(image, text, student.clean.every_image, student.every_text, scale)  # (B, B) each
                belief = student.belief
                loss = (self._cross_entropy(both[0], belief) + self._cross_entropy(both[1], belief)) / 2
        return loss, {
            "diag/contrastive_over_ln_batch": loss.detach() / math.log(max(2, size() * len(image))),
            "diag/logit_scale": scale.detach(),
        }

    def _cross_entropy(self, logits: Tensor, belief: Tensor | None) -> Tensor:
        losses = F.cross_entropy(logits, true_pairs(logits), label_smoothing=self.label_smoothing, reduction="none")
        return weighted_mean(losses, belief)

    def _with_queue(self, student: Output, teacher: Output, queue: FeatureQueue) -> Tensor:
        filled, scale = queue.filled(), student.logit_scale.float()
        texts, images = teacher.every_text, teacher.clean.every_image
        to_text = similarities(student.clean.image.float(), texts.float(), queue.text, filled, scale)
        to_image = similarities(student.text.float(), images.float(), queue.image, filled, scale)
        losses = []
        for logits in (to_text, to_image):  # (B, B + Q)
            chances = logits.log_softmax(dim=-1)
            wanted = weighted_mean(-of_true_pairs(chances), student.belief)
            B = len(texts)
            queued = chances[:, B:].masked_fill(~filled, 0.0)  # choosing columns would wait for the device
            spread = -(chances[:, :B].sum() + queued.sum()) / (B + filled.sum())
            smooth = self.label_smoothing
            losses.append((1 - smooth) * wanted + smooth * spread / len(chances) if smooth else wanted)
        if self.training:
            queue.push(images, texts)
        return (losses[0] + losses[1]) / 2

    def _sigmoid(self, student: Output) -> tuple[Tensor, Report]:
        if student.logit_bias is None:
            raise ValueError("the sigmoid loss has a logit bias, and the towers were built without one")
        logits = student.logit_scale.float() * student.clean.image.float() @ student.every_text.float().T
        logits = logits + student.logit_bias.float()
        signs = 2 * pair_rows(logits) - 1
        loss = weighted_mean(-F.logsigmoid(signs * logits).sum(dim=1), student.belief)
        return loss, {
            "diag/logit_scale": student.logit_scale.detach(),
            "diag/logit_bias": student.logit_bias.detach(),
        }
