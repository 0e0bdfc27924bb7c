"""What changes by formula: as open_clip has it, from the first step to the last, and from where the teacher begins."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from open_clip_train.scheduler import cosine_lr

from core.objectives.parts import schedule
from core.objectives.parts.schedule import ramp
from core.spec.config import OptimConfig, RunConfig, TeacherSchedule, override
from core.spec.presets import preset_config
from core.training.schedules import build_schedules, learning_rates, set_rates
from tests.core.variants import variant_config


@given(st.integers(1, 60), st.floats(0, 1), st.floats(1e-6, 1.0))
def test_the_learning_rate_matches_open_clip(total: int, share: float, peak: float) -> None:
    config = OptimConfig(learning_rate=peak, warmup=share)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.0)
    theirs = cosine_lr(optimizer, peak, round(share * total), total)
    assert learning_rates(config, total)[1:] == pytest.approx([theirs(step) for step in range(total)])


def taught() -> RunConfig:
    settings = [
        "teacher.momentum=0.9", "teacher.momentum_schedule=cosine", "optim.weight_decay=0.3",
        "objectives.distill_similarity.alpha=0.4", "objectives.distill_similarity.alpha_ramp=0.2",
        "objectives.distill_similarity.ramp=0.2",
        "objectives.distill_prototypes.teacher_temperature=0.07", "objectives.distill_prototypes.freeze_last=0.1",
        "objectives.distill_prototypes.teacher_temperature_ramp=0.3",
    ]  # fmt: skip
    return override(variant_config("sd-clip-every-step"), settings)


def test_reports_fall_on_teacher_steps() -> None:
    """So that the sum of the losses is of the same losses in each; once in an interval all the same."""

    def reported(interval: int, every: int) -> list[int]:
        plan = TeacherSchedule(every, views_without_teacher=False)
        return [step for step in range(1, 41) if plan.is_logged(step, interval)]

    assert reported(10, 1) == [10, 20, 30, 40]
    assert reported(10, 3) == [12, 21, 30]
    assert reported(10, 2) == [10, 20, 30, 40]
    assert reported(2, 3) == list(range(2, 41, 2))


def test_all_distillation_settings_follow_their_ramps() -> None:
    """20 steps in all."""
    config = taught()
    schedules = build_schedules(config, 20)
    similarity, prototypes = (schedules.objectives[f"distill_{name}"] for name in ("similarity", "prototypes"))
    weight = config.objectives.distill_similarity.weight
    for t in range(1, 21):
        done = min(1.0, t / 4)
        found, other = similarity.at(t), prototypes.at(t)
        assert found.weight == pytest.approx(weight * done)
        assert found.alpha == pytest.approx(0.4 * done)
        assert other.teacher_temperature == pytest.approx(0.04 + 0.03 * min(1.0, t / 6))
        assert other.frozen == (t <= 2)
        momentum = 1 - 0.1 * (math.cos(math.pi * t / 20) + 1) / 2
        assert schedules.momentum[t] == pytest.approx(min(momentum, t / (t + 1)))
    assert (schedules.weight_decay == 0.3).all()


def test_a_teacher_with_momentum_1_is_unchanged() -> None:
    config = override(preset_config("clip", "tiny"), ["teacher.kind=frozen", "teacher.checkpoint=somewhere"])
    assert np.array_equal(build_schedules(config, 5).momentum, np.ones(6))


def test_a_teacher_updated_at_intervals_moves_as_far_as_step_by_step() -> None:
    """Before each step that it teaches in, and after the last; of a student that stands still it becomes the same."""
    settings = ["teacher.momentum=0.5", "teacher.momentum_schedule=linear", "teacher.every=3"]
    schedules = build_schedules(override(preset_config("sd-clip", "tiny"), settings), 13)
    assert [step for step in range(1, 14) if schedules.updates_teacher(step)] == [2, 5, 8, 11, 13]
    steps = [*schedules.momentum]
    assert [schedules.update_momentum[step] for step in (2, 5, 8, 11, 13)] == pytest.approx(
        [math.prod(steps[first:last]) for first, last in ((1, 3), (3, 6), (6, 9), (9, 12), (12, 14))]
    )
    always = build_schedules(override(preset_config("sd-clip", "tiny"), ["teacher.every=1"]), 13)
    assert all(always.updates_teacher(step) for step in range(1, 14))
    assert np.array_equal(always.update_momentum, always.momentum)


def test_rates_reach_the_optimiser_and_only_matrices_decay() -> None:
    groups = [
        {"params": [torch.zeros(2, 2, requires_grad=True)], "scale": 1.0, "decays": True},
        {"params": [torch.zeros(2, requires_grad=True)], "scale": 0.5, "decays": False},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.0)
    set_rates(optimizer, 0.1, 0.3)
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [(0.1, 0.3), (0.05, 0.0)]


def test_a_very_short_ramp_ends_after_the_first_step() -> None:
    progress = np.array([0.0, 1e-12, 1.0])
    assert ramp(progress, schedule._MIN_RAMP / 2, 1.0, 5.0).tolist() == [1.0, 5.0, 5.0]
    assert ramp(progress, 0.0, 1.0, 5.0).tolist() == [5.0, 5.0, 5.0]
    assert ramp(np.array([0.0, 0.25, 0.5, 1.0]), 0.5, 1.0, 5.0).tolist() == [1.0, 3.0, 5.0, 5.0]
