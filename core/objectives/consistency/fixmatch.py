"""FixMatch: confident guesses on a weak view are the labels of the strong views.

Legend: B batch, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from core.data.labelling import NONE
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.classification import check_classes, class_answers
from core.objectives.objective import Objective, Report, require
from core.ranks.collectives import divisor
from core.spec.config import ConsistencyConfig, ObjectiveConfig


class FixMatch(Objective):
    """Cross-entropy of guessed labels on rows without one (Sohn et al. 2020, equation 4).

    With q the probabilities of the weak view and p those of a strong one, over the U rows without a label,

        loss = sum_u [max q_u >= threshold] CE(argmax q_u, p_u) / U

    averaged over the strong views, which are the student's further ones. The weak view is the student's clean one, or
    the teacher's (EMAN, Cai et al. 2021).
    """

    name = "consistency"
    config_class = ConsistencyConfig

    def __init__(self, config: ConsistencyConfig) -> None:
        super().__init__(config)
        self.threshold = config.threshold
        self.asks_teacher = config.guess == "teacher"

    @classmethod
    def serves(cls, config: ObjectiveConfig) -> bool:
        return isinstance(config, ConsistencyConfig) and config.kind == "fixmatch"

    def check_teacher(self, student: Network, teacher: Network) -> None:
        if self.asks_teacher:
            check_classes(student, teacher)

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        weak = class_answers(require(teacher, self.name) if self.asks_teacher else student)
        answers = class_answers(student)
        with torch.autocast(student.text.device.type, enabled=False):
            unlabelled = answers.labels == NONE
            confidence, guess = weak.views[0].detach().float().softmax(dim=-1).max(dim=-1)
            kept = ((confidence >= self.threshold) & unlabelled).float()
            count = divisor(unlabelled.sum())
            losses = [
                (F.cross_entropy(logits.float(), guess, reduction="none") * kept).sum() / count
                for logits in answers.views[1:]
            ]
            return torch.stack(losses).mean(), {
                "diag/mask_rate": kept.sum() / count,
                "diag/guess_confidence": (confidence * unlabelled).sum() / count,
            }
