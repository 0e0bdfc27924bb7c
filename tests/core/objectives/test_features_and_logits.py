"""Features, logits and image contrast against plain loops over a grid of sizes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch.nn import functional as F

from core.objectives.classification import ClassLogits
from core.objectives.distill_features import DistillFeatures, FeatureOutputs
from core.objectives.distill_logits import DistillLogits
from core.objectives.image_contrastive import ImageContrastive
from core.spec.config import DistillFeaturesConfig, DistillLogitsConfig, ImageContrastiveConfig
from tests.core.objectives.fake_outputs import (
    blended,
    cross_entropy,
    kl,
    mean,
    mix_of,
    one_hot,
    output_of,
    similarities,
    softmax,
    transposed,
    unit,
)

SIZES = [(2, 3), (5, 4)]
SHARES: list[tuple[float | None, ...]] = [(None,), (0.7, None)]
On = Literal["image", "text", "both", "fused"]


def mixes(batch: int, shares: tuple[float | None, ...]) -> tuple[Any, ...]:
    return tuple(None if share is None else mix_of(batch, share, seed) for seed, share in enumerate(shares))


@pytest.mark.parametrize(("batch", "width"), SIZES)
@pytest.mark.parametrize("shares", SHARES)
@pytest.mark.parametrize("on", ["image", "text", "both", "fused"])
@pytest.mark.parametrize("cross", [False, True])
def test_features_match_a_plain_loop(
    batch: int, width: int, shares: tuple[float | None, ...], on: On, cross: bool
) -> None:
    student, teacher = output_of(batch, width, 1, mixes(batch, shares)), output_of(batch, width, 2)
    generator = torch.Generator().manual_seed(5)
    fused = tuple(unit(generator, batch, width) for _ in shares)
    taught_fused = (unit(generator, batch, width),)
    student = replace(student, extra={"distill_features": FeatureOutputs(torch.tensor(9.0), fused)})
    teacher = replace(teacher, extra={"distill_features": FeatureOutputs(torch.tensor(50.0), taught_fused)})
    loss, report = DistillFeatures(DistillFeaturesConfig(weight=1.0, on=on, cross=cross))(student, teacher)
    image, text = teacher.distilled[0].image, teacher.text
    compared: list[Any] = []
    if on in ("image", "both"):
        compared += [(view.image, text if cross else image, view.mix) for view in student.distilled]
    if on in ("text", "both"):
        compared += [(student.text, image if cross else text, None)]
    if on == "fused":
        for one, view in zip(fused, student.distilled, strict=True):
            compared += [(one, key, view.mix) for key in ((image, text) if cross else taught_fused)]
    losses = []
    for queries, keys, mix in compared:
        target, scores = blended(one_hot(batch), mix), similarities(queries, keys, 9.0)
        there = [cross_entropy(q, row) for q, row in zip(target, scores, strict=True)]
        back = [cross_entropy(q, row) for q, row in zip(transposed(target), transposed(scores), strict=True)]
        losses.append((mean(there) + mean(back)) / 2)
    assert loss.item() == pytest.approx(mean(losses), rel=1e-4)
    assert report["diag/feature_scale"].item() == 9.0
    squared, _ = DistillFeatures(DistillFeaturesConfig(weight=1.0, on=on, cross=cross, distance="squared"))(
        student, teacher
    )
    distances = []
    for features, targets, mix in compared:
        for i, own in enumerate(features.tolist()):
            shares = blended(one_hot(batch), mix)[i]
            wanted = [mean_of_rows(shares, targets[:, d].tolist()) for d in range(width)]
            distances.append(sum((a - b) ** 2 for a, b in zip(own, wanted, strict=True)))
    assert squared.item() == pytest.approx(mean(distances), rel=1e-4)


def mean_of_rows(shares: list[float], values: list[float]) -> float:
    return sum(share * value for share, value in zip(shares, values, strict=True))


@pytest.mark.parametrize(("batch", "width"), SIZES)
@pytest.mark.parametrize("shares", SHARES)
@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("on", ["similarities", "classes"])
def test_logits_match_a_plain_loop(
    batch: int,
    width: int,
    shares: tuple[float | None, ...],
    temperature: float,
    on: Literal["similarities", "classes"],
) -> None:
    student = output_of(batch, width, 1, mixes(batch, shares), scale=7.0)
    teacher = output_of(batch, width, 2, scale=12.0)
    generator = torch.Generator().manual_seed(3)
    labels = torch.full((batch,), -1)
    answers = tuple(3 * torch.randn(batch, width, generator=generator) for _ in range(len(shares) + 1))
    taught = (3 * torch.randn(batch, width, generator=generator),)
    student = replace(student, extra={"classification": ClassLogits(answers, labels)})
    teacher = replace(teacher, extra={"classification": ClassLogits(taught, labels)})
    settings = DistillLogitsConfig(weight=1.0, on=on, temperature=temperature)
    loss, _ = DistillLogits(settings)(student, teacher)

    def soft(rows: list[list[float]]) -> list[list[float]]:
        return [softmax([score / temperature for score in row]) for row in rows]

    losses = []
    for index, view in enumerate(student.distilled):
        if on == "classes":
            parts = [(blended(soft(taught[0].tolist()), view.mix), answers[index + 1].tolist())]
        else:
            wanted = similarities(teacher.distilled[0].image, teacher.text, 12.0)
            scores = similarities(view.image, student.text, 7.0)
            back = transposed(blended(transposed(soft(transposed(wanted))), view.mix))
            parts = [(blended(soft(wanted), view.mix), scores), (back, transposed(scores))]
        losses += [
            mean([kl(q, [one / temperature for one in row]) for q, row in zip(target, rows, strict=True)])
            for target, rows in parts
        ]
    assert loss.item() == pytest.approx(temperature**2 * mean(losses), rel=1e-4, abs=1e-6)


def test_the_square_keeps_the_gradient_scale_as_temperature_rises() -> None:
    """Hinton's reason for T squared: at high temperature the gradient is (s - t) / C, whatever T."""
    labels = torch.full((6,), -1)
    generator = torch.Generator().manual_seed(0)
    taught = 0.1 * torch.randn(6, 4, generator=generator)
    gradients = []
    for temperature in (10.0, 50.0):
        answer = torch.zeros(6, 4, requires_grad=True)
        student = output_of(6, 3, 1, extra={"classification": ClassLogits((answer,), labels)})
        teacher = output_of(6, 3, 2, extra={"classification": ClassLogits((taught,), labels)})
        loss, _ = DistillLogits(DistillLogitsConfig(weight=1, on="classes", temperature=temperature))(student, teacher)
        (gradient,) = torch.autograd.grad(loss, answer)
        gradients.append(gradient * 6)
    torch.testing.assert_close(gradients[0], gradients[1], atol=2e-4, rtol=2e-2)
    torch.testing.assert_close(gradients[1], -(taught - taught.mean(-1, keepdim=True)) / 4, atol=2e-4, rtol=2e-2)


@pytest.mark.parametrize(("batch", "width"), SIZES)
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_image_contrast_matches_a_plain_loop(batch: int, width: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(batch)
    views = F.normalize(torch.randn(2, batch, width, generator=generator), dim=-1)
    student = output_of(batch, width, 1, extra={"image_contrastive": views})
    loss, _ = ImageContrastive(ImageContrastiveConfig(weight=1.0, temperature=temperature))(student, None)
    both = views.flatten(0, 1)
    scores = similarities(both, both, 1 / temperature)
    losses = []
    for i in range(2 * batch):
        others = [math.exp(scores[i][j]) for j in range(2 * batch) if j != i]
        losses.append(-math.log(math.exp(scores[i][(i + batch) % (2 * batch)]) / sum(others)))
    assert loss.item() == pytest.approx(mean(losses), rel=1e-4)
