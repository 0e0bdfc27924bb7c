"""kNN against a plain loop of DINO's rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from core.metrics.classification import knn as module
from core.metrics.classification.knn import knn
from core.metrics.classification.labels import Labels
from core.metrics.inputs import EvaluationError

CLASSES = tuple(f"c{i}" for i in range(6))


def example(rows: int, seed: int) -> tuple[Tensor, Labels]:
    centres = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(6, (rows,), generator=generator)
    features = centres[targets] + 1.5 * torch.randn(rows, 8, generator=generator)
    return features, Labels(CLASSES, torch.arange(rows), targets)


def plain(train: np.ndarray, targets: list[int], query: np.ndarray, k: int, temperature: float) -> list[float]:
    cosine = [float(row @ query / np.linalg.norm(row) / np.linalg.norm(query)) for row in train]
    nearest = sorted(range(len(train)), key=lambda i: -cosine[i])[:k]
    votes = [0.0] * 6
    for i in nearest:
        votes[targets[i]] += np.exp(cosine[i] / temperature)
    return votes


@pytest.mark.parametrize(("k", "pairs"), [(20, 1 << 24), (3, 700), (1000, 1)])
def test_matches_a_plain_loop(k: int, pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_PAIRS", pairs)
    (train, train_labels), (test, test_labels) = example(120, 1), example(50, 2)
    result = knn(train, train_labels, test, test_labels, k=k)
    for row in range(50):
        votes = plain(train.double().numpy(), train_labels.targets.tolist(), test[row].double().numpy(), k, 0.07)
        assert int(result.predictions[row]) == int(np.argmax(votes))
        assert float(result.probabilities[row]) == pytest.approx(max(votes) / sum(votes), abs=1e-5)
        order = sorted(range(6), key=lambda c: -votes[c])[:5]
        own = int(test_labels.targets[row])
        assert bool(result.in_top5[row]) == (own in order and votes[own] > 0)


def test_a_low_temperature_does_not_overflow() -> None:
    (train, train_labels), (test, test_labels) = example(120, 1), example(50, 2)
    cold = knn(train, train_labels, test, test_labels, temperature=1e-4)
    nearest = knn(train, train_labels, test, test_labels, k=1)
    assert cold.predictions.tolist() == nearest.predictions.tolist()


def test_bad_input_raises_a_user_error() -> None:
    (train, train_labels), (test, test_labels) = example(20, 1), example(10, 2)
    with pytest.raises(EvaluationError, match="at least one neighbour"):
        knn(train, train_labels, test, test_labels, k=0)
    with pytest.raises(EvaluationError, match="8 dimensions, but test features have 4"):
        knn(train, train_labels, test[:, :4], test_labels)
    with pytest.raises(EvaluationError, match="same classes"):
        knn(train, train_labels, test, Labels(CLASSES[:5], test_labels.rows, test_labels.targets))
    with pytest.raises(EvaluationError, match="same classes"):
        knn(train, train_labels, test, Labels(CLASSES[::-1], test_labels.rows, test_labels.targets))
    with pytest.raises(EvaluationError, match="training features contain NaN"):
        knn(train / 0 * 0, train_labels, test, test_labels)
