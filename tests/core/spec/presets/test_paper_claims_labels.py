"""Claims of the papers on semi-supervised and distilled classification, with made-up logits and small networks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.model.towers.architectures import resolve_architecture
from core.objectives.build import build_network, build_objectives
from core.objectives.classification import ClassLogits
from core.spec.presets import preset_config
from core.teacher.build import build_teacher
from core.training.schedules import build_schedules, momenta
from tests.core.objectives.fake_outputs import mix_of, output_of


def objective(preset: str, name: str) -> Any:
    return next(one for one in build_objectives(preset_config(preset, "base")) if one.name == name)


def answering(views: tuple[Tensor, ...], labels: list[int], mixes: tuple[Any, ...] = (None,)) -> Any:
    answer = ClassLogits(views, torch.tensor(labels))
    return output_of(len(labels), 4, 1, mixes, extra={"classification": answer})


def logits_of(confidence: float, classes: int = 3) -> list[float]:
    """Logits whose softmax gives the first class ``confidence``."""
    return [math.log(confidence), *[math.log((1 - confidence) / (classes - 1))] * (classes - 1)]


def test_fixmatch_passes_95_percent_confidence_and_trains_only_the_strong_view() -> None:
    weak = torch.tensor([logits_of(c) for c in (0.94, 0.96, 0.5, 0.999, 0.999)], requires_grad=True)
    strong = torch.zeros(5, 3, requires_grad=True)
    loss, report = objective("fixmatch", "consistency")(answering((weak, strong), [-1, -1, -1, -1, 0]), None)
    assert report["diag/mask_rate"].item() == pytest.approx(2 / 4)  # the labelled row does not count
    assert loss.item() == pytest.approx(2 / 4 * math.log(3), rel=1e-5)
    loss.backward()
    assert weak.grad is None
    assert strong.grad is not None
    assert strong.grad.abs().sum(1).ne(0).tolist() == [False, True, False, True, False]


def test_eman_uses_the_teacher_with_a_threshold_of_70_percent() -> None:
    sure, unsure = torch.tensor([logits_of(0.75)] * 2), torch.tensor([logits_of(0.4)] * 2)
    strong = torch.zeros(2, 3)
    guessing = objective("eman", "consistency")
    _, report = guessing(answering((unsure, strong), [-1, -1]), answering((sure,), [-1, -1]))
    assert report["diag/mask_rate"].item() == 1.0
    _, report = guessing(answering((sure, strong), [-1, -1]), answering((unsure,), [-1, -1]))
    assert report["diag/mask_rate"].item() == 0.0


def test_eman_averages_batch_norm_statistics_too() -> None:
    config = preset_config("eman", "tiny")
    student = build_network(config, resolve_architecture(config.towers.architecture), ("a", "b"))
    teacher = build_teacher(config.teacher, student)
    assert teacher is not None

    def statistics(network: nn.Module) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in network.state_dict().items() if "running_mean" in name}

    before = statistics(teacher.network)
    for name, value in student.named_buffers():
        if "running_mean" in name:
            value.fill_(2.0)
    momentum = float(momenta(config.teacher, 1000)[100])
    teacher.update(student, momentum)
    for name, value in statistics(teacher.network).items():
        torch.testing.assert_close(value, momentum * before[name] + (1 - momentum) * 2.0)
    assert len(before) > 10


def test_mean_teacher_has_no_loss_for_equal_predictions_and_ramps_up() -> None:
    agreeing = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    consistency = objective("mean-teacher", "consistency")
    labels = [0, 1, -1, -1]
    assert consistency(answering((agreeing,), labels), answering((agreeing,), labels))[0].item() == 0.0
    differing = agreeing.flip(1).requires_grad_()
    consistency(answering((differing,), labels), answering((agreeing,), labels))[0].backward()
    assert differing.grad is not None
    assert (differing.grad.abs().sum(1) > 0).all()  # of labelled rows too: consistency needs no label
    weight = build_schedules(preset_config("mean-teacher", "base"), 100).objectives["consistency"].weight
    assert weight[0] == pytest.approx(100 * math.exp(-5))
    assert weight[27] == weight[100] == 100.0


def test_mixmatch_reaches_weight_75_and_draws_as_many_unlabelled_rows() -> None:
    config = preset_config("mixmatch", "base")
    weight = build_schedules(config, 128).objectives["consistency"].weight
    assert weight[0] == 0.0
    assert weight[1] == pytest.approx(37.5)
    assert weight[128] == 75.0
    assert config.data.unlabelled_ratio == 1
    assert 1 + config.views.student.count == 2  # K


def test_mixup_predicts_the_share_of_each_label() -> None:
    mix = mix_of(4, 0.7, seed=2)
    labels = [0, 1, 2, 0]
    wanted = torch.zeros(4, 3)
    for i, partner in enumerate(mix.partner.tolist()):
        wanted[i, labels[i]] += 0.7
        wanted[i, labels[partner]] += 0.3
    answer = (wanted + 1e-9).log().requires_grad_()
    classification = objective("mixup", "classification")
    classification(answering((torch.zeros(4, 3), answer), labels, (mix,)), None)[0].backward()
    assert answer.grad is not None
    assert answer.grad.abs().max() < 1e-6  # the least loss is where the answer is linear between the two


def test_kd_transfers_the_teachers_probabilities_of_wrong_classes() -> None:
    taught = torch.tensor([[6.0, 3.0, -2.0], [5.0, -3.0, 2.0]])
    answer = torch.zeros(2, 3, requires_grad=True)
    objectives = build_objectives(preset_config("kd", "base"))
    optimizer = torch.optim.Adam([answer], lr=0.2)
    for _ in range(60):
        student, teacher = answering((answer,), [0, 0]), answering((taught,), [0, 0])
        loss = torch.stack([one.weight * one(student, teacher)[0] for one in objectives]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert answer.argsort(dim=-1).tolist() == taught.argsort(dim=-1).tolist()  # labels alone tell 1 and 2 not apart


def test_each_generation_learns_from_the_previous_one() -> None:
    config = preset_config("born-again", "base")
    assert config.teacher.kind == "frozen"
    former = torch.tensor([[2.0, 1.0, -1.0]])
    objectives = build_objectives(config)

    def loss(answer: Tensor) -> float:
        student, teacher = answering((answer,), [0]), answering((former,), [0])
        return sum(float(one.weight * one(student, teacher)[0]) for one in objectives)

    mirrored = former[:, [0, 2, 1]]  # as sure of the label, but of another mind about the rest
    assert loss(former) < loss(mirrored)
