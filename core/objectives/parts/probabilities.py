"""Entropy and cross-entropy of distributions, for the distillation objectives.

All arguments are (rows, classes), where classes may also be pairs or prototypes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def entropy(probabilities: Tensor) -> Tensor:
    """The mean entropy of the rows, in nats; 0 log 0 is 0."""
    return entropy_rows(probabilities).mean()


def entropy_rows(probabilities: Tensor) -> Tensor:
    """The entropy of each row, in nats."""
    return torch.xlogy(probabilities, probabilities).sum(dim=-1).neg()


def cross_entropy(target: Tensor, logits: Tensor) -> Tensor:
    """The mean cross-entropy between the rows of ``target`` and softmax(``logits``)."""
    return cross_entropy_rows(target, logits).mean()


def cross_entropy_rows(target: Tensor, logits: Tensor) -> Tensor:
    """The cross-entropy between each row of ``target`` and softmax(``logits``)."""
    return (target * logits.log_softmax(dim=-1)).sum(dim=-1).neg()
