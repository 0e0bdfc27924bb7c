"""The contrastive variants against plain loops and open_clip: sigmoid, queue, smoothing; similarities with both."""

from __future__ import annotations

import math

import open_clip
import pytest
import torch

from core.model.towers.architectures import resolve_architecture
from core.objectives.build import build_network, build_objectives
from core.objectives.contrastive import Contrastive
from core.objectives.distill_similarity import DistillSimilarity
from core.objectives.parts.queue import FeatureQueue
from core.objectives.parts.schedule import objective_schedule
from core.spec.config import ConsistencyConfig, ContrastiveConfig, DistillSimilarityConfig, override
from core.spec.presets import preset_config
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
)
from tests.core.variants import variant_config

SIZES = [(2, 3), (5, 4)]


@pytest.mark.parametrize(("batch", "width"), [*SIZES, (64, 32)])
@pytest.mark.parametrize(("scale", "bias"), [(10.0, -10.0), (30.0, 0.5)])
def test_sigmoid_matches_open_clip_and_a_plain_loop(batch: int, width: int, scale: float, bias: float) -> None:
    student = output_of(batch, width, 1, scale=scale, bias=bias)
    loss, report = Contrastive(ContrastiveConfig(kind="sigmoid"))(student, None)
    expected = open_clip.loss.SigLipLoss()(student.clean.image, student.text, torch.tensor(scale), torch.tensor(bias))
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    total = 0.0
    for i, row in enumerate(similarities(student.clean.image, student.text, scale)):
        for j, z in enumerate(row):
            sign = 1.0 if i == j else -1.0
            total += math.log1p(math.exp(-sign * (z + bias)))
    assert loss.item() == pytest.approx(total / batch, rel=1e-4)
    assert report["diag/logit_bias"].item() == bias


def test_only_sigmoid_towers_have_a_trainable_bias() -> None:
    model_cfg = resolve_architecture("sd-tiny")
    network = build_network(preset_config("siglip", "tiny"), model_cfg)
    assert network.towers.logit_bias is not None
    assert network.towers.logit_bias.item() == -10.0
    assert network.towers.logit_bias.requires_grad
    assert network.logit_scale.item() == pytest.approx(10.0, rel=1e-5)
    assert build_network(preset_config("clip", "tiny"), model_cfg).towers.logit_bias is None
    assert "init_logit_bias" not in model_cfg
    with pytest.raises(ValueError, match="towers have none"):
        Contrastive(ContrastiveConfig(kind="sigmoid"))(output_of(3, 4, 0), None)


def queued(size: int, width: int, batches: list[int]) -> FeatureQueue:
    queue = FeatureQueue(size, width)
    for seed, batch in enumerate(batches):
        former = output_of(batch, width, 100 + seed)
        queue.push(former.clean.image, former.text)
    return queue


@pytest.mark.parametrize(("batch", "width"), SIZES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_softmax_with_label_smoothing_matches_a_plain_loop(batch: int, width: int, smoothing: float) -> None:
    student = output_of(batch, width, 1, scale=7.0)
    loss, _ = Contrastive(ContrastiveConfig(label_smoothing=smoothing))(student, None)
    losses = []
    for queries, keys in ((student.clean.image, student.text), (student.text, student.clean.image)):
        for i, scores in enumerate(similarities(queries, keys, 7.0)):
            target = [(1 - smoothing) * (i == j) + smoothing / len(scores) for j in range(len(scores))]
            losses.append(cross_entropy(target, scores))
    assert loss.item() == pytest.approx(mean(losses), rel=1e-4)


def test_the_queue_is_a_ring_buffer() -> None:
    queue = FeatureQueue(5, 2)
    for start in (0, 3, 6):
        values = torch.arange(start, start + 3, dtype=torch.float32)[:, None].expand(3, 2)
        queue.push(values, -values)
    assert sorted(queue.image[:, 0].tolist()) == [4.0, 5.0, 6.0, 7.0, 8.0]
    assert torch.equal(queue.text, -queue.image)
    queue.push(torch.arange(100.0, 107.0)[:, None].expand(7, 2), torch.zeros(7, 2))
    assert sorted(queue.image[:, 0].tolist()) == [102.0, 103.0, 104.0, 105.0, 106.0]


def test_the_queue_detaches_keys_and_is_unchanged_in_eval_mode() -> None:
    student, teacher = output_of(4, 8, 1), output_of(4, 8, 2)
    student.text.requires_grad_()
    objective = DistillSimilarity(DistillSimilarityConfig(queue=8)).eval()
    objective.queue = queued(8, 8, [3])
    objective(student, teacher)[0].backward()
    assert student.text.grad is not None
    assert int(objective.queue.pushed) == 3


def test_queue_is_saved_with_the_objectives() -> None:
    config = override(variant_config("sd-clip-every-step"), ["objectives.distill_similarity.queue=8"])
    network = build_network(config, resolve_architecture("sd-tiny"))
    objectives = build_objectives(config, network)
    similarity = next(one for one in objectives if isinstance(one, DistillSimilarity))
    similarity(output_of(4, 64, 1), output_of(4, 64, 2))
    fresh = build_objectives(config, network)
    fresh.load_state_dict(objectives.state_dict())
    again = next(one for one in fresh if isinstance(one, DistillSimilarity))
    assert again.queue is not None
    assert similarity.queue is not None
    assert torch.equal(again.queue.text, similarity.queue.text)
    assert int(again.queue.pushed) == 4


@pytest.mark.parametrize(("batch", "width"), SIZES)
@pytest.mark.parametrize("share", [None, 0.7])
@pytest.mark.parametrize("alpha", [0.4, 1.0])
@pytest.mark.parametrize("heat", [1.0, 3.0])
@pytest.mark.parametrize("queue", [0, 6])
def test_similarities_with_alpha_temperature_and_queue(
    batch: int, width: int, share: float | None, alpha: float, heat: float, queue: int
) -> None:
    mix = None if share is None else mix_of(batch, share)
    student, teacher = output_of(batch, width, 1, (mix,), scale=7.0), output_of(batch, width, 2, scale=12.0)
    objective = DistillSimilarity(DistillSimilarityConfig(weight=1.0, alpha=alpha, temperature=heat, queue=queue))
    former_text, former_image = torch.zeros(0, width), torch.zeros(0, width)
    if queue:
        objective.queue = queued(queue, width, [4])
        former_text, former_image = objective.queue.text[:4].clone(), objective.queue.image[:4].clone()
    loss, _ = objective(student, teacher)
    view, taught = student.distilled[0].image, teacher.distilled[0].image
    texts, images = torch.cat([teacher.text, former_text]), torch.cat([taught, former_image])
    true = [row + [0.0] * (len(texts) - batch) for row in one_hot(batch)]

    def target(rows: list[list[float]]) -> list[list[float]]:
        return [
            [alpha * q + (1 - alpha) * y for q, y in zip(softmax([z / heat for z in row]), hard, strict=True)]
            for row, hard in zip(rows, true, strict=True)
        ]

    to_text = blended(target(similarities(taught, texts, 12.0)), mix)
    to_image = target(similarities(teacher.text, images, 12.0))
    if queue:
        answers = similarities(view, texts, 7.0), similarities(student.text, images, 7.0)
    else:
        to_image = transposed(blended(transposed(to_image), mix))
        answers = similarities(view, student.text, 7.0), similarities(student.text, view, 7.0)
    losses = [
        kl(wanted, scores)
        for targets, rows in zip((to_text, to_image), answers, strict=True)
        for wanted, scores in zip(targets, rows, strict=True)
    ]
    assert loss.item() == pytest.approx(mean(losses), rel=1e-4, abs=1e-6)


def test_alpha_rises_over_its_ramp() -> None:
    config = DistillSimilarityConfig(weight=1.0, alpha=0.4, alpha_ramp=0.5)
    objective, schedule = DistillSimilarity(config), objective_schedule(config, 4)
    assert schedule.alpha == pytest.approx([0.0, 0.2, 0.4, 0.4, 0.4])
    assert objective.step_values.alpha == 0.4
    student, teacher = output_of(5, 8, 1), output_of(5, 8, 2)
    objective.step_values = schedule.at(0)  # the true pairs alone: the contrastive loss of that view
    logits = similarities(student.distilled[0].image, student.text, 10.0)
    plain = [cross_entropy(true, row) for rows in (logits, transposed(logits))
             for true, row in zip(one_hot(5), rows, strict=True)]  # fmt: skip
    assert objective(student, teacher)[0].item() == pytest.approx(mean(plain), rel=1e-4)


def test_a_sigmoid_ramp_starts_at_exp_minus_five() -> None:
    weight = objective_schedule(ConsistencyConfig(kind="mean-teacher", weight=2.0, ramp=0.5), 4).weight
    assert weight == pytest.approx([2 * math.exp(-5), 2 * math.exp(-5 * 0.25), 2.0, 2.0, 2.0])
