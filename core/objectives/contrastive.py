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
    """Pulls matching pairs together and others apart, on the clean view.

    softmax: symmetric InfoNCE over the batch (Radford et al. 2021, figure 3). With ``s`` the logit scale,
    ``z = s * image @ text.T`` (B, B), and pair i on the diagonal:

        loss = (cross_entropy(z, i) + cross_entropy(z.T, i)) / 2

    With label smoothing e, a row's target is (1 - e) for its pair, plus e / B for every pair of the batch (ALIGN, Jia
    et al. 2021). A logit bias cancels in both softmaxes. If pairs are weighted (``output.belief``) so are the means; a
    pair of weight 0 is still a negative for the others. With a queue (MoCo, He et al. 2020; ALBEF, Li et al. 2021) the
    student's features are queries; the keys are the teacher's features of this batch, then of previous ones.

    sigmoid: a binary classification per image and text (SigLIP, Zhai et al. 2023, algorithm 1). With ``b`` the logit
    bias and y_ij 1 for i = j and -1 else:

        loss = - sum_ij log sigmoid(y_ij (z_ij + b)) / B

    A pair's weight applies to its image's row: with weight 0 its image contributes no loss, and its text is still a
    negative for other images.
    """

    name = "contrastive"
    config_class = ContrastiveConfig

    def __init__(self, config: ContrastiveConfig) -> None:
        super().__init__(config)
        self.kind, self.label_smoothing = config.kind, config.label_smoothing
        self.needs_teacher = config.kind == "softmax" and config.queue > 0

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        image, text, scale = student.clean.image, student.text, student.logit_scale
        with torch.autocast(image.device.type, enabled=False):
            if self.kind == "sigmoid":
                return self._sigmoid_loss(student)
            if self.queue is not None:
                loss = self._queue_loss(student, require(teacher, self.name), self.queue)
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

    def _queue_loss(self, student: Output, teacher: Output, queue: FeatureQueue) -> Tensor:
        filled, scale = queue.filled(), student.logit_scale.float()
        texts, images = teacher.every_text, teacher.clean.every_image
        to_text = similarities(student.clean.image.float(), texts.float(), queue.text, filled, scale)
        to_image = similarities(student.text.float(), images.float(), queue.image, filled, scale)
        losses, smoothing = [], self.label_smoothing
        for logits in (to_text, to_image):  # (B, B + Q)
            log_p = logits.log_softmax(dim=-1)
            positive = weighted_mean(-of_true_pairs(log_p), student.belief)
            B = len(texts)
            queued = log_p[:, B:].masked_fill(~filled, 0.0)  # selecting columns would synchronise
            uniform = -(log_p[:, :B].sum() + queued.sum()) / (B + filled.sum())
            losses.append((1 - smoothing) * positive + smoothing * uniform / len(log_p) if smoothing else positive)
        if self.training:
            queue.push(images, texts)
        return (losses[0] + losses[1]) / 2

    def _sigmoid_loss(self, student: Output) -> tuple[Tensor, Report]:
        if student.logit_bias is None:
            raise ValueError("the sigmoid loss needs a logit bias, but the towers have none")
        logits = student.logit_scale.float() * student.clean.image.float() @ student.every_text.float().T
        logits = logits + student.logit_bias.float()
        signs = 2 * pair_rows(logits) - 1
        loss = weighted_mean(-F.logsigmoid(signs * logits).sum(dim=1), student.belief)
        return loss, {
            "diag/logit_scale": student.logit_scale.detach(),
            "diag/logit_bias": student.logit_bias.detach(),
        }
