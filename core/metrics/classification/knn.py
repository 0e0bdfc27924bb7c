"""Weighted k-nearest-neighbour classification, DINO's evaluation of frozen features; nothing is trained or tuned.

Each of the k nearest training images votes for its class with weight exp(cosine / temperature) (Caron et al., "Emerging
Properties in Self-Supervised Vision Transformers", 2021, section 4.1; Wu et al., "Unsupervised Feature Learning via
Non-Parametric Instance Discrimination", 2018).

Legend: N test rows, M training rows, D features, K classes, k neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from core.metrics.classification.accuracy import RELATIVE_TOLERANCE, Classification, check_rows, classify
from core.metrics.classification.labels import Labels
from core.metrics.inputs import EvaluationError, Progress, check_features, full_precision, no_progress, unit_rows

NEIGHBOURS = 20
TEMPERATURE = 0.07
BLOCK_PAIRS = 1 << 24  # similarities of test and training rows that are computed at once


def knn(
    train_features: Tensor,
    train_labels: Labels,
    test_features: Tensor,
    test_labels: Labels,
    k: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
    progress: Progress = no_progress,
) -> Classification:
    """Classify the labelled test rows (N, D) by their ``k`` nearest labelled training rows (M, D).

    Both labels must have the same classes in the same order (`index_labels` with ``classes``). If there are fewer than
    ``k`` training rows, all vote. Raises EvaluationError for features that are not finite or have different widths.
    """
    if k < 1 or temperature <= 0:
        raise EvaluationError(f"kNN needs at least one neighbour and a temperature above 0, not {k} and {temperature}.")
    if train_labels.classes != test_labels.classes:
        raise EvaluationError("training and test data must be indexed by the same classes.")
    train = check_features(check_rows(train_features, train_labels, "training features"), "training features")
    test = check_features(check_rows(test_features, test_labels, "test features"), "test features")
    if train.shape[1] != test.shape[1]:
        raise EvaluationError(
            f"training features have {train.shape[1]} dimensions, but test features have {test.shape[1]}; encode both "
            "with the same model."
        )
    return classify(test_labels, _votes(train, train_labels, test, min(k, len(train)), temperature, progress))


def _votes(
    train: Tensor, labels: Labels, test: Tensor, k: int, temperature: float, progress: Progress
) -> Iterator[Tensor]:
    """The logarithm of each class's share of the votes, in blocks of test rows: (n, K)."""
    with full_precision(test.device):
        train = unit_rows(train)
    rows = max(1, BLOCK_PAIRS // len(train))
    for start in range(0, len(test), rows):
        progress(start / len(test), "finding neighbours")
        with full_precision(test.device):
            cosine = unit_rows(test[start : start + rows]) @ train.T  # (n, M)
            nearest = cosine.topk(min(k + 1, len(train)), dim=1)
        # Softmax instead of exp yields the same shares, but does not overflow at a low temperature.
        weight = (nearest.values[:, :k].cpu().double() / temperature).softmax(dim=1)
        votes = torch.zeros(len(weight), len(labels.classes), dtype=torch.float64)
        votes.scatter_add_(1, labels.targets[nearest.indices[:, :k].cpu()], weight)
        if k < len(train):
            tied = (nearest.values[:, k - 1] - nearest.values[:, k] <= RELATIVE_TOLERANCE).nonzero().flatten().cpu()
            for row in tied.tolist():
                votes[row] = _tied_votes(cosine[row].cpu().double(), labels, k, temperature)
        yield votes.log()
    progress(1.0, "finding neighbours")


def _tied_votes(cosine: Tensor, labels: Labels, k: int, temperature: float) -> Tensor:
    """The expected share of votes per class, (K,), if training rows that tie for the k-th place share the last places.

    ``cosine`` (M,): similarity to each training row.
    """
    kth = cosine.topk(k).values[-1]
    closer = cosine > kth + RELATIVE_TOLERANCE
    tied = (cosine - kth).abs() <= RELATIVE_TOLERANCE
    weight = ((cosine - cosine.max()) / temperature).exp()
    share = closer.double() + tied.double() * ((k - int(closer.sum())) / int(tied.sum()))
    votes = torch.bincount(labels.targets, weights=weight * share, minlength=len(labels.classes))
    return votes / votes.sum()
