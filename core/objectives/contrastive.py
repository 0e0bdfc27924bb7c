"""Contrastive learning of images and texts.

Legend: B batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from core.model.outputs import Output
from core.objectives.objective import Objective, Report
from core.objectives.parts.pairs import both_logits, one_hot_pairs, true_columns
from core.objectives.weighting.self_confidence import weighted_mean
from core.ranks.collectives import world_size
from core.spec.config import ContrastiveConfig


class Contrastive(Objective):
    """Pulls matching pairs together and other pairs apart, on the clean view.

    softmax: symmetric InfoNCE over the batch (Radford et al. 2021, figure 3). With ``s`` the logit scale,
    ``z = s * image @ text.T`` (B, B), and pair i on the diagonal:

        loss = (cross_entropy(z, i) + cross_entropy(z.T, i)) / 2

    With label smoothing e, a row's target is (1 - e) for its pair, plus e / B for every pair of the batch (ALIGN, Jia
    et al. 2021). A logit bias cancels in both softmaxes. If pairs are weighted (``output.pair_weights``), the means are
    weighted too; a pair with weight 0 is still a negative for other pairs.

    sigmoid: a binary classification per image and text (SigLIP, Zhai et al. 2023, algorithm 1). With ``b`` the logit
    bias, and y_ij = 1 if i = j and -1 otherwise:

        loss = - sum_ij log sigmoid(y_ij (z_ij + b)) / B

    A pair's weight applies to the row of its image: with weight 0 the image contributes no loss, but the text is still
    a negative for other images.
    """

    name = "contrastive"
    config_class = ContrastiveConfig

    def __init__(self, config: ContrastiveConfig) -> None:
        super().__init__(config)
        self.kind, self.label_smoothing = config.kind, config.label_smoothing

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        image, text, scale = student.clean.image, student.text, student.logit_scale
        with torch.autocast(image.device.type, enabled=False):
            if self.kind == "sigmoid":
                return self._sigmoid_loss(student)
            gathered_image, gathered_text = student.clean.gathered_image, student.gathered_text
            to_text, to_image = both_logits(image, text, gathered_image, gathered_text, scale)  # (B, B) each
            weights = student.pair_weights
            loss = (self._cross_entropy(to_text, weights) + self._cross_entropy(to_image, weights)) / 2
        return loss, {
            "diag/contrastive_over_ln_batch": loss.detach() / math.log(max(2, world_size() * len(image))),
            "diag/logit_scale": scale.detach(),
        }

    def _cross_entropy(self, logits: Tensor, weights: Tensor | None) -> Tensor:
        losses = F.cross_entropy(logits, true_columns(logits), label_smoothing=self.label_smoothing, reduction="none")
        return weighted_mean(losses, weights)

    def _sigmoid_loss(self, student: Output) -> tuple[Tensor, Report]:
        if student.logit_bias is None:
            raise ValueError("the sigmoid loss needs a logit bias, but the towers have none")
        logits = student.logit_scale.float() * student.clean.image.float() @ student.gathered_text.float().T
        logits = logits + student.logit_bias.float()
        signs = 2 * one_hot_pairs(logits) - 1
        loss = weighted_mean(-F.logsigmoid(signs * logits).sum(dim=1), student.pair_weights)
        return loss, {
            "diag/logit_scale": student.logit_scale.detach(),
            "diag/logit_bias": student.logit_bias.detach(),
        }
