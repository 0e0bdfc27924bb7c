"""Accuracies, confusion matrix and mistakes from class scores, for zero-shot, probes and kNN.

Flow: an evaluator yields scores in blocks of rows; `classify` reduces each block to what the metrics and the Classify
panel need, so that the scores of a million rows by a thousand classes are never in memory at once.

acc1, acc5 and the mean per-class recall are CLIP_benchmark's (the mean over the classes that occur).

Ties, as in `core.metrics.retrieval`: classes with equal scores are in random order, and every metric is its expectation
over this order. So constant scores yield chance level, whatever the order of the classes.

Legend: N rows, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.metrics.classification.labels import Labels
from core.metrics.inputs import EvaluationError
from core.metrics.outcome import Outcome, Queries, Task
from core.metrics.statistics import wilson

TOP_K = 5  # acc5
MAX_CONFUSION_CLASSES = 2000  # as lists, the matrix of 10,000 classes would take gigabytes
# Scores this close, relative to a row's largest score, are equal.
RELATIVE_TOLERANCE = 4 * torch.finfo(torch.float32).eps


@dataclass(frozen=True)
class Mistake:
    """A misclassified row, with the probability of the predicted class.

    ``tied``: several classes have the highest score, and ``predicted`` is the first of them.
    """

    row: int  # row in the data source
    true: str
    predicted: str
    probability: float
    tied: bool = False


@dataclass(frozen=True)
class Classification:
    """Predictions for labelled rows."""

    labels: Labels
    predictions: Tensor  # (N,) int64, class with the highest score; the first class in case of a tie
    probabilities: Tensor  # (N,) float32, probability of the predicted class
    correct: Tensor  # (N,) float64, probability that the true class is first; 0 or 1 without ties
    in_top5: Tensor  # (N,) float64, probability that the true class is among the first five
    tied: Tensor  # (N,) bool, whether several classes have the highest score

    @property
    def hits(self) -> Tensor:
        """Whether each prediction is correct: (N,) bool."""
        return self.predictions == self.labels.targets

    def metrics(self) -> dict[str, float]:
        """``acc1``, ``mean_per_class_recall``, and ``acc5`` for five classes or more."""
        has_rows = self.labels.counts() > 0
        values = {"acc1": self.correct.mean().item()}
        if len(self.labels.classes) >= TOP_K:
            values["acc5"] = self.in_top5.mean().item()
        values["mean_per_class_recall"] = self.recall_per_class()[has_rows].mean().item()
        return values

    def recall_per_class(self) -> Tensor:
        """The share of correctly classified rows per class: (K,) float64; NaN for a class without rows."""
        return self._correct_per_class() / self.labels.counts().double()

    def _correct_per_class(self) -> Tensor:
        """The expected number of correctly classified rows per class: (K,) float64."""
        return torch.bincount(self.labels.targets, weights=self.correct, minlength=len(self.labels.classes))

    def confusion(self) -> Tensor:
        """The confusion matrix (K, K) int64: the number of rows of true class i that were predicted as class j."""
        count = len(self.labels.classes)
        cells = torch.bincount(self.labels.targets * count + self.predictions, minlength=count * count)
        return cells.view(count, count)

    def cell(self, true: int, predicted: int) -> Tensor:
        """The rows of the data source in a cell of the confusion matrix, most confident first: (n,) int64."""
        in_cell = ((self.labels.targets == true) & (self.predictions == predicted)).nonzero().flatten()
        return self.labels.rows[in_cell[self.probabilities[in_cell].argsort(descending=True, stable=True)]]

    def mistakes(self, limit: int = 100) -> list[Mistake]:
        """Up to ``limit`` mistakes, most confident first."""
        wrong = (~self.hits).nonzero().flatten()
        wrong = wrong[self.probabilities[wrong].argsort(descending=True, stable=True)[:limit]]
        classes = self.labels.classes
        return [
            Mistake(
                row=int(self.labels.rows[i]),
                true=classes[int(self.labels.targets[i])],
                predicted=classes[int(self.predictions[i])],
                probability=float(self.probabilities[i]),
                tied=bool(self.tied[i]),
            )
            for i in wrong.tolist()
        ]

    def per_class(self) -> list[dict[str, Any]]:
        """For each class that occurs: its name, number of rows, accuracy and Wilson interval, as plain data."""
        counts, correct_counts = self.labels.counts(), self._correct_per_class()
        table = []
        for name, total, correct in zip(self.labels.classes, counts.tolist(), correct_counts.tolist(), strict=True):
            if total:
                ends = wilson(correct, total)
                table.append(
                    {"class": name, "rows": total, "accuracy": correct / total, "low": ends.low, "high": ends.high}
                )
        return table

    def outcome(self, task: Task, notes: tuple[str, ...] = (), details: dict[str, Any] | None = None) -> Outcome:
        """The predictions as an `Outcome`."""
        metrics = self.metrics()
        per_query = {"acc1": Queries(self.correct.numpy())}
        if "acc5" in metrics:
            per_query["acc5"] = Queries(self.in_top5.numpy())
        counts = self.labels.counts()
        # Each hit is weighted by its class, so that the mean over queries is the mean over classes.
        weight = len(self.correct) / (int((counts > 0).sum()) * counts[self.labels.targets].double())
        per_query["mean_per_class_recall"] = Queries(
            (self.correct * weight).numpy(), strata=self.labels.targets.numpy()
        )
        return Outcome(
            task=task,
            samples=len(self.correct),
            metrics=metrics,
            per_query=per_query,
            notes=self.labels.notes + self._tie_notes() + notes,
            details={
                "classes": list(self.labels.classes),
                "per_class": self.per_class(),
                **({"confusion": self.confusion().tolist()} if len(counts) <= MAX_CONFUSION_CLASSES else {}),
                **(details or {}),
            },
        )

    def _tie_notes(self) -> tuple[str, ...]:
        if not (ties := int(self.tied.sum())):
            return ()
        return (
            f"for {ties} of {len(self.correct)} images several classes share the highest score: metrics are "
            "expectations over a random order of these classes; confusion matrix and mistakes show the first class.",
        )


def hit_probability(scores: Tensor, targets: Tensor, k: int = 1) -> Tensor:
    """The probability that each row's target is among the ``k`` highest scores, ties in random order: (n,) float64.

    ``scores`` (n, K), ``targets`` (n,) int64. With b classes above the target and t others equal to it:
    (k - b) / (t + 1), clamped to 0 and 1. A target with a score of -inf has probability 0.
    """
    target_scores = scores.gather(1, targets[:, None])  # (n, 1)
    slack = RELATIVE_TOLERANCE * _largest(scores)
    better = (scores > target_scores + slack).sum(dim=1)
    tied = ((scores - target_scores).abs() <= slack).sum(dim=1) - 1
    probability = ((k - better).double() / (tied + 1).double()).clamp(0.0, 1.0)
    return torch.where(torch.isfinite(target_scores[:, 0]), probability, 0.0)


def _largest(scores: Tensor) -> Tensor:
    """The largest finite magnitude in each row: (n, 1)."""
    return scores.abs().masked_fill(~torch.isfinite(scores), 0.0).amax(dim=1, keepdim=True)


def classify(labels: Labels, blocks: Iterable[Tensor]) -> Classification:
    """Predictions from ``blocks`` of logits (n, K), in the order of ``labels.rows``.

    The probability of a prediction is the softmax of its row. A class with a logit of -inf (no votes, not trained) is
    never predicted. Raises EvaluationError if the blocks do not match the labels.
    """
    count = len(labels.classes)
    predictions, probabilities, correct, in_top5, tied, start = [], [], [], [], [], 0
    for logits in blocks:
        if logits.ndim != 2 or logits.shape[1] != count or start + len(logits) > len(labels.targets):
            raise EvaluationError(
                f"expected scores of shape ({len(labels.targets)}, {count}), but got a block of rows of shape "
                f"{tuple(logits.shape)}."
            )
        logits = logits.float().cpu()
        targets = labels.targets[start : start + len(logits)]
        best = logits.amax(dim=1, keepdim=True) - RELATIVE_TOLERANCE * _largest(logits)  # (n, 1)
        highest = logits >= best
        first = highest.int().argmax(dim=1)  # argmax returns the first of equal values
        predictions.append(first)
        probabilities.append(logits.softmax(dim=1).gather(1, first[:, None]).squeeze(1))
        correct.append(hit_probability(logits, targets))
        in_top5.append(hit_probability(logits, targets, TOP_K))
        tied.append(highest.sum(dim=1) > 1)
        start += len(logits)
    if start != len(labels.targets):
        raise EvaluationError(f"there are scores for {start} rows, but labels for {len(labels.targets)}.")
    columns = (predictions, probabilities, correct, in_top5, tied)
    return Classification(labels, *map(torch.cat, columns))


def check_rows(features: Tensor, labels: Labels, subject: str) -> Tensor:
    """The labelled rows of ``features``, (n, D). Raises EvaluationError if the labels belong to other data."""
    last = int(labels.rows.max())
    if last >= len(features):
        raise EvaluationError(f"there is a label for row {last}, but there are only {len(features)} {subject}.")
    if len(labels.rows) == len(features) and np.array_equal(labels.rows.numpy(), np.arange(len(features))):
        return features
    return features[labels.rows.to(features.device)]
