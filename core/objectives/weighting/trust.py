"""Trust: the weight of each pair in a step's losses, by the teacher's or the student's own probability for it.

Flow: in each step the loop calls ``trusted`` with the student's output and that of who is to judge; objectives read the
product of trust and ``core.objectives.weighting.belief``, which remembers earlier steps, from ``output.belief``.

Legend: B batch, D embed.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from core.model.outputs import Output
from core.objectives.parts.pairs import both_logits, of_true_pairs
from core.ranks.collectives import mean_over_ranks, size


@torch.no_grad()
def trust(judge: Output, power: float) -> Tensor:
    """A weight (B,) for each pair, with mean 1 over the batch; ``power`` 0 gives every pair the same.

    With p the probability that ``judge``, a teacher or the student itself, gives the caption among the batch's for a
    image, and the image for a caption,

        w = (p_image_to_text * p_text_to_image) ^ (power / 2) / mean_B

    A pair's own probability as its weight is the gradient of the generalised cross-entropy, which is robust to wrong
    labels (Zhang and Sabuncu 2018; of pairs: RINCE, Chuang et al. 2022). A teacher's is steadier: it averages over
    steps, and does not know this step's views.
    """
    with torch.autocast(judge.text.device.type, enabled=False):
        clean = judge.clean
        both = both_logits(clean.image, judge.text, clean.every_image, judge.every_text, judge.logit_scale)
        by_text = of_true_pairs(both[1].log_softmax(dim=1)) if size() > 1 else both[0].log_softmax(dim=0).diagonal()
        chance = of_true_pairs(both[0].log_softmax(dim=1)) + by_text  # (B,)
        weight = (chance * power / 2).exp()
        return weight / mean_over_ranks(weight.mean()).clamp_min(1e-12)


def trusted(student: Output, judge: Output | None, power: float) -> Output:
    """The student's output with ``belief`` (B,) times the trust of ``judge``; unchanged without one or ``power``."""
    if judge is None or power == 0:
        return student
    weight = trust(judge, power)
    return replace(student, belief=weight if student.belief is None else student.belief * weight)
