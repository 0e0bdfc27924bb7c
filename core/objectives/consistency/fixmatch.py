"""FixMatch: confident predictions on a weak view are the pseudo-labels of the strong views."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from core.data.labelling import NO_CLASS
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.classification import check_classes, stored_logits
from core.objectives.objective import Objective, Report, require
from core.ranks.collectives import global_count_per_rank
from core.spec.config import ConsistencyConfig, ObjectiveConfig


class FixMatch(Objective):
    """Cross-entropy of pseudo-labels on unlabelled rows (Sohn et al. 2020, equation 4).

    With q the probabilities for the weak view and p the probabilities for a strong view, over the U unlabelled rows,

        loss = sum_u [max q_u >= threshold] CE(argmax q_u, p_u) / U

    averaged over the strong views, which are the student's additional views. The weak view is the student's clean view,
    or the teacher's view (EMAN, Cai et al. 2021).
    """

    name = "consistency"
    config_class = ConsistencyConfig

    def __init__(self, config: ConsistencyConfig) -> None:
        super().__init__(config)
        self.threshold = config.threshold

    @classmethod
    def implements(cls, config: ObjectiveConfig) -> bool:
        return isinstance(config, ConsistencyConfig) and config.kind == "fixmatch"

    def check_teacher(self, student: Network, teacher: Network) -> None:
        if self.needs_teacher:
            check_classes(student, teacher)

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        weak = stored_logits(require(teacher, self.name) if self.needs_teacher else student)
        predicted = stored_logits(student)
        with torch.autocast(student.text.device.type, enabled=False):
            is_unlabelled = predicted.labels == NO_CLASS
            confidence, pseudo_labels = weak.views[0].detach().float().softmax(dim=-1).max(dim=-1)
            is_confident = ((confidence >= self.threshold) & is_unlabelled).float()
            count = global_count_per_rank(is_unlabelled.sum())
            losses = [
                (F.cross_entropy(logits.float(), pseudo_labels, reduction="none") * is_confident).sum() / count
                for logits in predicted.views[1:]
            ]
            return torch.stack(losses).mean(), {
                "diag/mask_rate": is_confident.sum() / count,
                "diag/pseudo_label_confidence": (confidence * is_unlabelled).sum() / count,
            }
