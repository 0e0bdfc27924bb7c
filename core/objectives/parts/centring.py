"""Targets from a teacher's prototype logits, by centring or Sinkhorn's algorithm, which prevent collapse.

Flow: ``DistillPrototypes`` and ``MaskedPatches`` each have a ``Centring``, whose centre is saved in checkpoints.

Legend: B rows (images or patches), K prototypes. Ranks may have different numbers of rows; the centre, and the shares
of prototypes, cover all ranks.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from core.ranks.collectives import logsumexp_of_rows, sum_over_ranks, world_size

SINKHORN_ROUNDS = 3  # as in SwAV and DINOv2
CENTRE_MOMENTUM = 0.9  # as in DINO

Centering = Literal["center", "sinkhorn"]


class Centring(nn.Module):
    """Targets from the teacher's logits t (B, K) at temperature u.

    center (DINO, Caron et al. 2021): ``softmax((t - c) / u)``; each training step then updates the centre:
    c <- m c + (1 - m) mean_B t.

    sinkhorn (SwAV, Caron et al. 2020): exp(t / u), whose columns and rows are normalised in turn, three times, so that
    all prototypes get the same share of the batch, and each row is a distribution.
    """

    centre: Tensor  # (K,)

    def __init__(self, prototypes: int, kind: Centering = "center") -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("centre", torch.zeros(prototypes))

    def forward(self, logits: Tensor, temperature: float) -> Tensor:
        """The target distributions (B, K) for float32 ``logits`` (B, K)."""
        if self.kind == "sinkhorn":
            return sinkhorn(logits / temperature)
        return ((logits - self.centre) / temperature).softmax(dim=-1)

    @torch.no_grad()
    def update(self, logits: Tensor) -> None:
        """Move the centre towards the mean of ``logits`` (B, K), if there are rows and the mean is finite."""
        if self.kind == "center" and (len(logits) or world_size() > 1):  # a rank without rows must still take part
            mean = _mean_of_rows(logits)
            self.centre.lerp_(torch.where(mean.isfinite(), mean, self.centre), 1.0 - CENTRE_MOMENTUM)


def sinkhorn(scores: Tensor) -> Tensor:
    """exp(``scores``) (B, K), normalised so that rows are distributions and columns have equal sums (Cuturi 2013).

    Computed in log space, so that large scores do not overflow.
    """
    if world_size() > 1:
        return _sinkhorn_over_ranks(scores)
    if len(scores) == 0:
        return scores
    log_q = scores - torch.logsumexp(scores.flatten(), dim=0)
    B, K = scores.shape
    for _ in range(SINKHORN_ROUNDS):
        log_q = log_q - torch.logsumexp(log_q, dim=0, keepdim=True) - math.log(K)
        log_q = log_q - torch.logsumexp(log_q, dim=1, keepdim=True) - math.log(B)
    return (log_q + math.log(B)).exp()


def _sinkhorn_over_ranks(scores: Tensor) -> Tensor:
    """``sinkhorn`` with column sums over the rows of all ranks (SwAV, section 3.1; DINOv2)."""
    log_b, log_k = sum_over_ranks(scores.new_full((), float(len(scores)))).log(), math.log(scores.shape[1])
    log_q = scores - logsumexp_of_rows(scores).logsumexp(dim=0)
    for _ in range(SINKHORN_ROUNDS):
        log_q = log_q - logsumexp_of_rows(log_q) - log_k
        log_q = log_q - log_q.logsumexp(dim=1, keepdim=True) - log_b
    return (log_q + log_b).exp()


def _mean_of_rows(logits: Tensor) -> Tensor:
    """The mean (K,) over the rows of all ranks; NaN if there are none."""
    if world_size() == 1:
        return logits.mean(dim=0)
    sums = sum_over_ranks(torch.cat([logits.sum(dim=0), logits.new_full((1,), float(len(logits)))]))
    return sums[:-1] / sums[-1]
