"""The moving-average teacher against a plain loop, and that no gradient reaches it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.data.batch import Batch, View
from core.model.network import Network
from core.model.towers.towers import resolve_architecture
from core.objectives.build import build_network
from core.spec.config import TeacherConfig
from core.spec.presets import preset_config
from core.teacher.build import build_teacher
from core.teacher.ema import EmaTeacher
from core.training.schedules import momenta
from tests.core.variants import variant_config


def student_network() -> Network:
    torch.manual_seed(0)
    return build_network(variant_config("sd-clip-every-step"), resolve_architecture("sd-tiny"))


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("warmup", [False, True])
def test_the_teacher_matches_a_plain_moving_average(schedule: str, warmup: bool) -> None:
    settings = TeacherConfig.model_validate(
        {"kind": "ema", "momentum": 0.7, "momentum_schedule": schedule, "momentum_warmup": warmup}
    )
    student = student_network()
    teacher = EmaTeacher(settings, student)
    average = {name: value.clone() for name, value in student.named_parameters()}
    for step in range(1, 6):
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        teacher.update(student, float(momenta(settings, 5)[step]))
        m = 0.7 if schedule == "constant" else 1 - 0.3 * (math.cos(math.pi * step / 5) + 1) / 2
        m = min(m, step / (step + 1)) if warmup else m
        for name, value in student.named_parameters():
            average[name] = m * average[name] + (1 - m) * value.detach()
    for name, value in teacher.network.named_parameters():
        torch.testing.assert_close(value, average[name].detach(), atol=1e-6, rtol=1e-5)


@given(
    st.floats(0, 0.9999),
    st.sampled_from(["constant", "cosine"]),
    st.booleans(),
    st.integers(1, 1000),
)
def test_momentum_rises_and_stays_within_0_and_1(momentum: float, schedule: str, warmup: bool, total: int) -> None:
    settings = TeacherConfig.model_validate(
        {"kind": "ema", "momentum": momentum, "momentum_schedule": schedule, "momentum_warmup": warmup}
    )
    values = momenta(settings, total).tolist()
    assert values == pytest.approx(sorted(values))
    assert all(0 <= value <= 1 for value in values)
    if not warmup:
        assert values[0] == pytest.approx(momentum)
        assert values[-1] == pytest.approx(1.0 if schedule == "cosine" else momentum)


def test_the_teacher_starts_as_the_student_in_eval_mode_without_gradients() -> None:
    student = student_network().train()
    teacher = build_teacher(variant_config("sd-clip-every-step").teacher, student)
    assert teacher is not None
    for key, value in teacher.state_dict().items():
        assert torch.equal(value, student.state_dict()[key]), key
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    batch = Batch(torch.arange(3), student.towers.tokenize(["a", "b c", "d"]), View(images))
    target = teacher.targets(batch)
    output = student.forward_student(batch)
    assert target.distilled[0].prototypes is not None
    assert output.distilled[0].prototypes is not None
    assert not any(t.requires_grad for t in (target.text, target.clean.image, target.distilled[0].prototypes))
    (output.distilled[0].prototypes * target.distilled[0].prototypes).sum().backward()
    assert all(parameter.grad is None for parameter in teacher.network.parameters())
    assert any(parameter.grad is not None for parameter in student.parameters())
    teacher.update(student, 0.5)
    assert not teacher.network.training
    assert student.training
    assert all(parameter.requires_grad for parameter in student.parameters())
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())


def test_no_teacher_unless_asked_for() -> None:
    assert build_teacher(preset_config("clip", "tiny").teacher, student_network()) is None
