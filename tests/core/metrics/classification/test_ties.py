"""Classes with equal scores: metrics are expectations over their random order, whatever the order of the classes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from core.metrics.classification.accuracy import classify
from core.metrics.classification.knn import knn
from core.metrics.classification.labels import index_labels

CLASSES = ("a", "b", "c", "d", "e", "f")
TARGETS = ["a"] * 50 + ["b"] * 30 + ["c", "d", "e", "f"] * 5


def test_constant_scores_give_chance_accuracy() -> None:
    labels = index_labels(TARGETS, classes=CLASSES)
    result = classify(labels, [torch.zeros(len(TARGETS), 6)])
    assert result.metrics() == pytest.approx({"acc1": 1 / 6, "acc5": 5 / 6, "mean_per_class_recall": 1 / 6})
    assert [row["accuracy"] for row in result.per_class()] == pytest.approx([1 / 6] * 6)
    outcome = result.outcome("zero-shot")
    for name, value in outcome.metrics.items():
        assert outcome.per_query[name].values.mean() == pytest.approx(value)
    assert "100 of 100 images" in outcome.notes[-1]


def test_ties_are_averaged_over_every_order_of_the_tied_classes() -> None:
    """Scores rounded to few values, against a plain loop over the orders in which equal ones may be read."""
    random = np.random.default_rng(0)
    scores = random.integers(0, 3, (12, 6)).astype(np.float32)
    scores[3, 2] = -np.inf
    targets = random.integers(0, 6, 12)
    targets[3] = 2  # no candidate
    expected = {1: 0.0, 5: 0.0}
    for row, target in zip(scores, targets, strict=True):
        orders = [sorted(order, key=lambda k: -row[k]) for order in itertools.permutations(range(6))]
        for k in expected:
            expected[k] += np.mean([target in order[:k] for order in orders]) * np.isfinite(row[target]) / 12
    for order in (range(6), (5, 3, 1, 0, 2, 4)):
        labels = index_labels([CLASSES[i] for i in targets], classes=tuple(CLASSES[i] for i in order))
        blocks = torch.tensor(scores[:, list(order)]).split(5)
        metrics = classify(labels, blocks).metrics()
        assert (metrics["acc1"], metrics["acc5"]) == pytest.approx((expected[1], expected[5]))


def test_scores_apart_by_rounding_tie_and_others_do_not() -> None:
    labels = index_labels(["b"], classes=("a", "b"))
    for apart, accuracy in ((2e-6, 0.5), (1e-3, 0.0)):
        result = classify(labels, [torch.tensor([[25.0, 25.0 - apart]])])
        assert result.metrics()["acc1"] == accuracy
        (mistake,) = result.mistakes()
        assert (mistake.predicted, mistake.tied) == ("a", accuracy > 0), "the first of the tied classes, marked"


def test_neighbours_at_equal_distance_share_the_votes() -> None:
    """Of constant features every training image is as near: a class's votes are its share, in any order of rows."""
    train, test = ["b"] * 30 + ["a"] * 30, ["a"] * 10 + ["b"] * 30
    for order in (train, train[::-1]):
        result = knn(
            torch.ones(60, 4), index_labels(order, classes=("a", "b")),
            torch.ones(40, 4), index_labels(test, classes=("a", "b")), k=5,
        )  # fmt: skip
        assert result.metrics()["acc1"] == 0.5
