"""Self-confidence weights against a plain loop, and what they do to a loss."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from core.model.outputs import Output, ViewOutput
from core.objectives.contrastive import Contrastive
from core.objectives.weighting.self_confidence import self_confidence, with_pair_weights
from core.spec.config import ContrastiveConfig


def output(pairs: int, seed: int, scale: float = 10.0) -> Output:
    generator = torch.Generator().manual_seed(seed)
    image, text = (F.normalize(torch.randn(pairs, 8, generator=generator), dim=-1) for _ in range(2))
    return Output(text=text, logit_scale=torch.tensor(scale), clean=ViewOutput(image))


@pytest.mark.parametrize("pairs", [1, 2, 5, 9])
@pytest.mark.parametrize("power", [0.25, 0.5, 1.0])
def test_the_weight_is_the_pair_probability_to_a_power(pairs: int, power: float) -> None:
    student = output(pairs, pairs)
    weights = []
    for i in range(pairs):
        logits = [10.0 * float(student.clean.image[i] @ student.text[j]) for j in range(pairs)]
        columns = [10.0 * float(student.clean.image[j] @ student.text[i]) for j in range(pairs)]
        to_text = math.exp(logits[i]) / sum(math.exp(z) for z in logits)
        to_image = math.exp(columns[i]) / sum(math.exp(z) for z in columns)
        weights.append((to_text * to_image) ** (power / 2))
    mean = sum(weights) / pairs
    torch.testing.assert_close(
        self_confidence(student, power), torch.tensor([w / mean for w in weights]), rtol=1e-5, atol=1e-6
    )


def test_power_zero_changes_nothing() -> None:
    student = output(4, 0)
    assert with_pair_weights(student, 0.0) is student


def test_an_unlikely_pair_has_little_gradient() -> None:
    """Of four pairs, two have each other's caption."""
    image = torch.eye(4)

    def pull(power: float) -> torch.Tensor:
        images = image.clone().requires_grad_()
        student = Output(text=image[[1, 0, 2, 3]], logit_scale=torch.tensor(5.0), clean=ViewOutput(images))
        loss, _ = Contrastive(ContrastiveConfig())(with_pair_weights(student, power), None)
        loss.backward()
        assert images.grad is not None
        return images.grad.norm(dim=1)

    student = Output(text=image[[1, 0, 2, 3]], logit_scale=torch.tensor(30.0), clean=ViewOutput(image))
    assert self_confidence(student, 0.5)[:2].max() < 1e-3
    assert torch.all(pull(0.5)[:2] < pull(0.0)[:2])
