"""Self-confidence weighting: each pair is weighted by the student's probability for it.

Flow: in each step ``core.training.train_step`` calls ``with_pair_weights`` with the student's output; objectives read
the weights from ``output.pair_weights``, and average their losses by ``weighted_mean``.

Legend: B batch.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from core.model.outputs import Output
from core.objectives.parts.pairs import both_logits, values_of_true_pairs
from core.ranks.collectives import global_count_per_rank, mean_over_ranks, overall_mean, world_size


@torch.no_grad()
def self_confidence(student: Output, power: float) -> Tensor:
    """A weight (B,) for each pair, with mean 1 over the batch; ``power`` 0 weights all pairs equally.

    With p the student's probability of the pair's caption given its image, and of the image given its caption, within
    the batch,

        w = (p_image_to_text * p_text_to_image) ^ (power / 2) / mean_B

    Weighting a pair by its own probability gives the gradient of the generalised cross-entropy, which is robust to
    incorrect labels (Zhang and Sabuncu 2018; for pairs: RINCE, Chuang et al. 2022).
    """
    with torch.autocast(student.text.device.type, enabled=False):
        clean = student.clean
        to_text, to_image = both_logits(
            clean.image, student.text, clean.gathered_image, student.gathered_text, student.logit_scale
        )
        log_p_text = values_of_true_pairs(to_text.log_softmax(dim=1))
        if world_size() > 1:
            log_p_image = values_of_true_pairs(to_image.log_softmax(dim=1))
        else:  # the same values, since to_image is to_text.T
            log_p_image = to_text.log_softmax(dim=0).diagonal()
        log_probability = log_p_text + log_p_image  # (B,)
        weight = (log_probability * power / 2).exp()
        return weight / mean_over_ranks(weight.mean()).clamp_min(1e-12)


def with_pair_weights(student: Output, power: float) -> Output:
    """The student's output with ``pair_weights`` (B,); unchanged if ``power`` is 0."""
    return student if power == 0 else replace(student, pair_weights=self_confidence(student, power))


def weighted_mean(losses: Tensor, weights: Tensor | None, equal_counts: bool = True) -> Tensor:
    """Mean of ``losses`` (B,), weighted by ``weights`` (B,) unless they are None: sum(w * l) / sum(w).

    The mean over ranks is the mean of all losses. ``equal_counts``: all ranks have the same number of losses.
    """
    if weights is None:
        return losses.mean() if equal_counts else overall_mean(losses)
    return (losses * weights).sum() / global_count_per_rank(weights.sum(), minimum=1e-6)
