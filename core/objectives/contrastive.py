"""Contrastive learning of images and texts.

Legend: B batch, D embed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from core.config import ContrastiveConfig
from core.model.outputs import Output
from core.objectives.objective import Objective, Report


class Contrastive(Objective):
    """Symmetric InfoNCE over the batch (Radford et al. 2021, figure 3), on the clean view.

    With ``s`` the logit scale, ``z = s * image @ text.T`` (B, B), and pair i on the diagonal:

        loss = (cross_entropy(z, i) + cross_entropy(z.T, i)) / 2

    With label smoothing e, a row's target is (1 - e) for its pair, plus e / B for each of the batch (ALIGN, Jia et al.
    2021). A logit bias cancels in both softmaxes.
    """

    name = "contrastive"

    def __init__(self, config: ContrastiveConfig) -> None:
        super().__init__(config)
        self.label_smoothing = config.label_smoothing

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        image = student.clean.image
        with torch.autocast(image.device.type, enabled=False):
            logits = student.logit_scale.float() * image.float() @ student.text.float().T  # (B, B)
            pairs = torch.arange(len(logits), device=logits.device)
            by_image = F.cross_entropy(logits, pairs, label_smoothing=self.label_smoothing)
            by_text = F.cross_entropy(logits.T, pairs, label_smoothing=self.label_smoothing)
            loss = (by_image + by_text) / 2
        return loss, {
            "diag/contrastive_over_ln_batch": loss.detach() / math.log(max(2, len(logits))),
            "diag/logit_scale": student.logit_scale.detach(),
        }
