"""Evidence as its four measures say, written out once more."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from core.objectives.weighting import evidence as evidence_module
from core.objectives.weighting.evidence import NEIGHBOURS, SHARPNESS, SMOOTHING, evidence


def pairs(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randn(6, 5, generator=generator)[torch.arange(count) % 6]
    drawn = (kinds + torch.randn(count, 5, generator=generator) for _ in range(2))
    image, text = (F.normalize(one, dim=1) for one in drawn)
    return image, text


def softmax(values: list[float]) -> list[float]:
    raised = [math.exp(value - max(values)) for value in values]
    return [value / sum(raised) for value in raised]


def log_sum(values: list[float]) -> float:
    return max(values) + math.log(sum(math.exp(value - max(values)) for value in values))


def alike(nearest: list[float], judged: list[float]) -> float:
    """The weighted mean of ``judged`` over the nearest."""
    chosen = sorted(range(len(nearest)), key=lambda i: -nearest[i])[:NEIGHBOURS]
    weights = softmax([20 * nearest[i] for i in chosen])
    return sum(w * judged[i] for w, i in zip(weights, chosen, strict=True))


def standard(values: list[float]) -> list[float]:
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return [(value - mean) / deviation for value in values]


def ranks(values: list[float]) -> list[float]:
    """A place for each that is less; of those within a step of it, a part of one."""
    mean = sum(values) / len(values)
    step = SMOOTHING * math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    parts = [[min(1.0, max(0.0, (x - y) / (2 * step) + 0.5)) for y in values] for x in values]
    return [(sum(row) - 0.5) / (len(values) - 1) for row in parts]


def log_odds(share: float) -> float:
    share = min(1 - 1e-6, max(1e-6, share))
    return math.log(share / (1 - share))


def plain(image: Tensor, text: Tensor, scale: float, reference: list[int]) -> list[float]:
    I, T = image.double(), text.double()  # noqa: E741
    measures: list[list[float]] = [[] for _ in range(5)]
    for i in range(len(I)):
        others = [j for j in reference if j != i]
        own = scale * float(I[i] @ T[i])
        to_text = log_sum([own, *(scale * float(I[i] @ T[j]) for j in others)])
        to_image = log_sum([own, *(scale * float(T[i] @ I[j]) for j in others)])
        images, texts = [float(I[i] @ I[j]) for j in others], [float(T[i] @ T[j]) for j in others]
        p, q = softmax([SHARPNESS * x for x in images]), softmax([SHARPNESS * x for x in texts])
        overlap = sum(a * b for a, b in zip(p, q, strict=True))
        lengths = math.sqrt(sum(a * a for a in p)) * math.sqrt(sum(b * b for b in q))
        found = (2 * own - to_text - to_image, alike(images, texts), alike(texts, images),
                 log_odds(overlap), log_odds(overlap / lengths))  # fmt: skip
        for values, value in zip(measures, found, strict=True):
            values.append(value)
    pair, by_image, by_text, overlap_, agreement = measures
    both = [a + b for a, b in zip(standard(by_image), standard(by_text), strict=True)]
    ranked = [ranks(values) for values in (pair, both, overlap_, agreement)]
    return [sum(column) / 4 for column in zip(*ranked, strict=True)]


@pytest.mark.parametrize(("count", "most"), [(40, 40), (40, 9), (12, 12)])
def test_evidence_is_the_mean_rank_of_four_measures(count: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_module, "MAX_REFERENCE_PAIRS", most)
    monkeypatch.setattr(evidence_module, "BLOCK_ROWS", 16)
    image, text = pairs(count, count + most)
    reference = list(range(count)) if count <= most else torch.linspace(0, count - 1, most).long().tolist()
    assert evidence(image, text, 12.0).tolist() == pytest.approx(plain(image, text, 12.0, reference), abs=2e-3)


def test_rounding_errors_are_not_amplified() -> None:
    """As many ranks, or another order of summation, make: also of pairs that are nearly alike, whose order it turns."""
    image, text = pairs(36, 3)
    image, text = (torch.cat([one, one]) for one in (image, text))  # 36 twins
    shaken = [
        F.normalize(one + 1e-6 * torch.randn(one.shape, generator=torch.Generator().manual_seed(seed)), dim=1)
        for seed, one in enumerate((image, text))
    ]
    one, other = evidence(image, text, 12.0), evidence(shaken[0], shaken[1], 12.0)
    assert not torch.equal(one.argsort(stable=True), other.argsort(stable=True))
    torch.testing.assert_close(other, one, atol=1e-4, rtol=0)


def test_two_pairs_give_no_evidence() -> None:
    assert evidence(*pairs(2, 0), 12.0).tolist() == [1.0, 1.0]
    assert not (evidence(*pairs(3, 0), 12.0) == 1).all()
