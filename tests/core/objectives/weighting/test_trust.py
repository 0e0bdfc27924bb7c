"""The teacher's trust against a plain loop, and what it does to a loss."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from core.model.outputs import Output, ViewOutput
from core.objectives.contrastive import Contrastive
from core.objectives.weighting.trust import trust, trusted
from core.spec.config import ContrastiveConfig


def output(pairs: int, seed: int, scale: float = 10.0) -> Output:
    generator = torch.Generator().manual_seed(seed)
    image, text = (F.normalize(torch.randn(pairs, 8, generator=generator), dim=-1) for _ in range(2))
    return Output(text=text, logit_scale=torch.tensor(scale), clean=ViewOutput(image))


@pytest.mark.parametrize("pairs", [1, 2, 5, 9])
@pytest.mark.parametrize("power", [0.25, 0.5, 1.0])
def test_trust_is_the_probability_of_the_pair_to_a_power(pairs: int, power: float) -> None:
    teacher = output(pairs, pairs)
    weights = []
    for i in range(pairs):
        logits = [10.0 * float(teacher.clean.image[i] @ teacher.text[j]) for j in range(pairs)]
        columns = [10.0 * float(teacher.clean.image[j] @ teacher.text[i]) for j in range(pairs)]
        to_text = math.exp(logits[i]) / sum(math.exp(z) for z in logits)
        to_image = math.exp(columns[i]) / sum(math.exp(z) for z in columns)
        weights.append((to_text * to_image) ** (power / 2))
    mean = sum(weights) / pairs
    torch.testing.assert_close(trust(teacher, power), torch.tensor([w / mean for w in weights]), rtol=1e-5, atol=1e-6)


def test_without_a_teacher_or_a_power_nothing_changes() -> None:
    student = output(4, 0)
    assert trusted(student, None, 0.5) is student
    assert trusted(student, output(4, 1), 0.0) is student


def test_it_counts_beside_the_longer_memory() -> None:
    teacher, memory = output(4, 1), torch.tensor([1.0, 0.0, 1.0, 0.5])
    both = trusted(replace(output(4, 0), belief=memory), teacher, 0.5).belief
    assert both is not None
    torch.testing.assert_close(both, memory * trust(teacher, 0.5))


def test_a_pair_that_the_teacher_thinks_wrong_hardly_moves_the_student() -> None:
    """Of four pairs whose captions the teacher knows, one has another's caption."""
    image = torch.eye(4)
    teacher = Output(text=image[[1, 0, 2, 3]], logit_scale=torch.tensor(30.0), clean=ViewOutput(image))
    text = F.normalize(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)), dim=-1)

    def pull(power: float) -> torch.Tensor:
        images = image.clone().requires_grad_()
        student = Output(text=text, logit_scale=torch.tensor(1.0), clean=ViewOutput(images))
        loss, _ = Contrastive(ContrastiveConfig())(trusted(student, teacher, power), teacher)
        loss.backward()
        assert images.grad is not None
        return images.grad.norm(dim=1)

    assert trust(teacher, 0.5)[:2].max() < 1e-3
    assert torch.all(pull(0.5)[:2] < pull(0.0)[:2])
