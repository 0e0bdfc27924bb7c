"""Entropy and cross-entropy of distributions, for the distillation objectives.

Legend: rows by classes (or pairs, or prototypes).
"""

from __future__ import annotations

import torch
from torch import Tensor


def entropy(probabilities: Tensor) -> Tensor:
    """Mean entropy of the rows, in nats; 0 log 0 is 0."""
    return torch.xlogy(probabilities, probabilities).sum(dim=-1).mean().neg()


def entropy_rows(probabilities: Tensor) -> Tensor:
    """Entropy of each row, in nats."""
    return torch.xlogy(probabilities, probabilities).sum(dim=-1).neg()


def cross_entropy(target: Tensor, logits: Tensor) -> Tensor:
    """Mean cross-entropy of the rows of softmax(``logits``) under the distributions ``target``."""
    return cross_entropy_rows(target, logits).mean()


def cross_entropy_rows(target: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of each row of softmax(``logits``) under the distributions ``target``."""
    return (target * logits.log_softmax(dim=-1)).sum(dim=-1).neg()
