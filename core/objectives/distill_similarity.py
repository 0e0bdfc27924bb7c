"""Self-distillation of similarities: the student matches the teacher's softmax over the batch.

Legend: B batch, Q queued pairs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from core.model.network import Network
from core.model.outputs import Output
from core.objectives.objective import Objective, Report, require
from core.objectives.parts.pairs import BothDirections, both_logits, one_hot_pairs
from core.objectives.parts.probabilities import cross_entropy, entropy
from core.objectives.parts.queue import FeatureQueue, similarities
from core.spec.config import DistillSimilarityConfig


class DistillSimilarity(Objective):
    """Match the teacher's similarities between the batch's images and texts (ALBEF, Li et al. 2021, section 3.2).

    Each network uses its own logit scale; only the teacher's scale is divided by the temperature (in Hinton et al. 2015
    both are). With the teacher's distributions q and the student's distributions p,

        loss = (KL(q_image_to_text || p_image_to_text) + KL(q_text_to_image || p_text_to_image)) / 2

    averaged over the distilled views. With alpha below 1, q is alpha times the teacher's distribution plus 1 - alpha
    times the true pair; alpha rises linearly from 0 over its ramp.

    If the student's view is interpolated with share a and partner r (a permutation of the batch), image i' consists of
    a times image i and 1 - a times image r(i), and targets are blended in the same way:

        q'(text j | i')  = a q(j | i) + (1 - a) q(j | r(i))      rows of image-to-text
        q'(image i' | j) = a q(i | j) + (1 - a) q(r(i) | j)    columns of text-to-image

    Both remain distributions. The first is a convex combination of two distributions. The second sums over i' to
    a sum_i q(i | j) + (1 - a) sum_i q(r(i) | j) = a + (1 - a) = 1, since r visits each image once.

    With a queue, both networks compare their features with the teacher's features of this and previous batches, which
    are never interpolated; then only the rows of image-to-text are blended.
    """

    name = "distill_similarity"
    config_class = DistillSimilarityConfig

    def __init__(self, config: DistillSimilarityConfig) -> None:
        super().__init__(config)
        self.temperature, self.queue_size = config.temperature, config.queue
        self.queue: FeatureQueue | None = None

    def build_buffers(self, network: Network) -> None:
        if self.queue_size > 0:
            self.queue = FeatureQueue(self.queue_size, network.towers.embed_dim)

    @property
    def vector_comparison_setting(self) -> str:
        return "queue" if self.queue_size > 0 else ""

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        teacher = require(teacher, self.name)
        with torch.autocast(student.text.device.type, enabled=False):
            q_text, q_image = [  # the teacher's distributions, over texts and over images
                (logits / self.temperature).softmax(dim=-1) for logits in self._logits(teacher, view=0, teacher=teacher)
            ]
            targets = self._blend_with_true_pairs(q_text), self._blend_with_true_pairs(q_image)
            losses = [self._view_loss(student, view, teacher, targets) for view in range(len(student.distilled))]
            loss = torch.stack(losses).mean()
            mean_entropy = (entropy(q_text) + entropy(q_image)) / 2
            if self.queue is not None and self.training:
                self.queue.push(teacher.distilled[0].gathered_image, teacher.gathered_text)
        return loss, {
            "diag/similarity_kl": loss.detach(),
            "diag/teacher_similarity_entropy_over_ln_batch": mean_entropy / math.log(max(2, q_text.shape[1])),
        }

    def _blend_with_true_pairs(self, probabilities: Tensor) -> Tensor:
        """``probabilities`` (B, B or B + Q) blended with the true pairs by alpha."""
        alpha = self.step_values.alpha
        if alpha == 1.0:
            return probabilities
        return alpha * probabilities + (1.0 - alpha) * one_hot_pairs(probabilities)

    def _view_loss(self, student: Output, view: int, teacher: Output, targets: BothDirections) -> Tensor:
        to_text, to_image = targets
        mix = student.distilled[view].mix
        if mix is not None:
            to_text = mix.blend(to_text)
            to_image = to_image if self.queue is not None else mix.blend_columns(to_image)
        parts = zip((to_text, to_image), self._logits(student, view, teacher), strict=True)
        return torch.stack([cross_entropy(target, logits) - entropy(target) for target, logits in parts]).mean()

    def _logits(self, output: Output, view: int, teacher: Output) -> BothDirections:
        """Image-to-text and text-to-image logits of a distilled view, (B, B) or with a queue (B, B + Q)."""
        scale, image, text = output.logit_scale.float(), output.distilled[view].image.float(), output.text.float()
        if self.queue is None:
            return pair_logits(output, view)
        filled = self.queue.filled_slots()
        return (
            similarities(image, teacher.gathered_text.float(), self.queue.text, filled, scale),
            similarities(text, teacher.distilled[0].gathered_image.float(), self.queue.image, filled, scale),
        )


def pair_logits(output: Output, view: int) -> BothDirections:
    """Image-to-text (B, B) and text-to-image (B, B) logits of a distilled view."""
    view_output = output.distilled[view]
    return both_logits(
        view_output.image, output.text, view_output.gathered_image, output.gathered_text, output.logit_scale
    )
