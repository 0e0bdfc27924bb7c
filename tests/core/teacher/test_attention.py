"""The student reads the patches that its teacher attends to most, of the same crop, and no others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from core.data.batch import Batch, View
from core.model.network import Network
from core.model.towers.towers import resolve_architecture
from core.objectives.build import build_network
from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from core.teacher.attention import select_attended_patches
from core.teacher.build import build_teacher
from core.teacher.teacher import Teacher

P, SIDE = 16, 8  # patches of the little tower, pixels along one
CLEAN = ("views.clean.keep=0.5", "views.clean.keep_by=attention", "views.student.count=0", "views.teacher.count=0")
SHARED = ("views.student.keep=0.25", "views.student.keep_by=attention", "views.student.mix=none", "views.shared=true")


def built(config: RunConfig) -> tuple[Network, Teacher]:
    torch.manual_seed(0)
    student = build_network(config, resolve_architecture(config.towers.architecture)).eval()
    teacher = build_teacher(config.teacher, student)
    assert teacher is not None
    with torch.no_grad():  # one that differs from the student
        for parameter in teacher.network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return student, teacher


def random_images(seed: int) -> torch.Tensor:
    return torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_the_student_reads_what_the_teacher_attends_to_most() -> None:
    student, teacher = built(override(preset_config("sd-clip-every-step", "tiny"), [*CLEAN]))
    texts = student.towers.tokenize(["a", "a red ball", "b"])[:, :9]
    batch = Batch(torch.arange(3), texts, View(random_images(0), attended=P // 2))
    chosen = select_attended_patches(batch, teacher.targets(batch))
    kept = chosen.clean.kept
    assert kept is not None
    assert kept.shape == (3, P // 2)
    normalised = teacher.network.towers.normalise(batch.clean.images)
    attention = teacher.network.towers.encode_image(normalised, attention=True).attention
    assert attention is not None
    for row, patches in zip(attention.tolist(), kept.tolist(), strict=True):
        left_out = set(range(P)) - set(patches)
        assert min(row[patch] for patch in patches) >= max(row[patch] for patch in left_out)
    seen = student.forward_student(chosen)
    images = batch.clean.images.clone()
    for image, patches in zip(images, kept.tolist(), strict=True):
        for patch in set(range(P)) - set(patches):
            top, left = SIDE * (patch // 4), SIDE * (patch % 4)
            image[:, top : top + SIDE, left : left + SIDE] = 0
    same = student.forward_student(replace(chosen, clean=replace(chosen.clean, images=images)))
    assert torch.equal(seen.clean.image, same.clean.image)
    assert not torch.allclose(seen.clean.image, student.forward_student(batch).clean.image, atol=1e-4)


def test_each_shared_view_has_a_choice_of_its_own_and_a_batch_that_asks_for_none_stays() -> None:
    student, teacher = built(override(preset_config("sd-clip-every-step", "tiny"), [*SHARED]))
    texts = student.towers.tokenize(["a", "a red ball", "b"])[:, :9]
    views = tuple(View(random_images(number), number=number, attended=4) for number in (2, 3))
    plain = Batch(torch.arange(3), texts, View(random_images(0)), teacher=tuple(view.without_masks() for view in views))
    assert select_attended_patches(plain, teacher.targets(plain)) is plain
    batch = replace(plain, student=views)
    chosen = select_attended_patches(batch, teacher.targets(batch))
    assert chosen.clean.kept is None
    first, second = (view.kept for view in chosen.student)
    assert first is not None
    assert second is not None
    assert not torch.equal(first.sort().values, second.sort().values)
    for view, alone in zip(chosen.student, views, strict=True):
        one = Batch(torch.arange(3), texts, replace(alone, number=0))
        expected = select_attended_patches(one, teacher.targets(one)).clean.kept
        assert expected is not None
        assert view.kept is not None
        assert torch.equal(view.kept.sort().values, expected.sort().values)


@pytest.mark.parametrize("views", [(), ("views.clean.keep=0.5",)])
def test_a_teacher_who_is_not_asked_for_attention_keeps_none(views: tuple[str, ...]) -> None:
    student, teacher = built(override(preset_config("sd-clip-every-step", "tiny"), [*views]))
    batch = Batch(torch.arange(3), student.towers.tokenize(["a", "b", "c"])[:, :9], View(random_images(0)))
    assert [one.attention for one in teacher.targets(batch).image_features] == [None]
