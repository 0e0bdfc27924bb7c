"""How well captions fit according to a model: against a plain loop, in subsets, and in the caption filter's odds."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize

from core.objectives.weighting import model_fit
from core.objectives.weighting.model_fit import ModelFit
from core.objectives.weighting.words import clean_probability


def fit(pairs: int = 30, noise: float = 0.5, scale: float = 10.0) -> ModelFit:
    """Random images, and texts near them."""
    generator = torch.Generator().manual_seed(0)
    images = normalize(torch.randn(pairs, 16, generator=generator), dim=1)
    texts = normalize(images + noise * normalize(torch.randn(pairs, 16, generator=generator), dim=1), dim=1)
    return ModelFit(images, texts, scale)


def test_measures_match_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_fit, "_BLOCK_ROWS", 7)
    subject, captions = fit(), torch.randperm(30, generator=torch.Generator().manual_seed(1))
    logits = [[10.0 * float(image @ text) for text in subject.texts] for image in subject.images]
    found = subject.measures(captions)
    assert found.dtype == torch.float64
    for i, j in enumerate(captions.tolist()):
        of_captions = sum(math.exp(logits[i][k]) for k in range(30))
        of_images = sum(math.exp(logits[k][j]) for k in range(30))
        assert float(found[0, i]) == pytest.approx(logits[i][j] - math.log(of_captions), abs=1e-4)
        assert float(found[1, i]) == pytest.approx(logits[i][j] - math.log(of_images), abs=1e-4)


def test_many_pairs_are_compared_with_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_fit, "MAX_REFERENCE_PAIRS", 4)
    subject = fit()
    sample = torch.linspace(0, 29, 4).long()
    expected = 10.0 * (subject.images @ subject.texts.T)
    found = subject.measures(torch.arange(30))
    assert found[0] == pytest.approx((expected.diag() - expected[:, sample].logsumexp(dim=1)).double(), abs=1e-4)
    assert found[1] == pytest.approx((expected.diag() - expected[sample].logsumexp(dim=0)).double(), abs=1e-4)


def test_a_subset_is_fitted_alone() -> None:
    subject, some = fit(), torch.tensor([3, 5, 8, 13, 21])
    alone = ModelFit(subject.images[some], subject.texts[some], subject.scale)
    order = torch.tensor([1, 0, 2, 4, 3])
    assert torch.equal(subject.subset(some).measures(order), alone.measures(order))


def test_a_model_finds_mismatches_that_descriptors_cannot() -> None:
    """Descriptors are noise, and no word occurs twice: only the model knows."""
    subject, count = fit(pairs=600, noise=0.8, scale=20.0), 120
    order = torch.arange(600)
    order[:count] = order[:count].roll(1)
    captions, rows = [f"word{number}" for number in order.tolist()], torch.arange(600)
    descriptors = torch.randn(600, 8, generator=torch.Generator().manual_seed(2))
    assert float(clean_probability(descriptors, captions, rows).min()) == 1.0
    exchanged = ModelFit(subject.images, subject.texts[order], subject.scale)
    clean = clean_probability(descriptors, captions, rows, model_fit=exchanged)
    dropped = clean < 0.5
    assert float(dropped[:count].float().mean()) > 0.8
    assert float(dropped[count:].float().mean()) < 0.02
    matching = [f"word{number}" for number in range(600)]
    assert float((clean_probability(descriptors, matching, rows, model_fit=subject) < 0.5).float().mean()) < 0.01
