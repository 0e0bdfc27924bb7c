"""Several teachers as one, and a batch as a teacher takes it: every part of an output and of a batch is thought of."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from core.data.batch import Batch, Mix, View
from core.model.network import Network
from core.model.outputs import Output, ViewOutput
from core.model.towers.towers import Towers
from core.objectives.classification import ClassLogits
from core.spec.config import TeacherConfig
from core.teacher.ema import EmaTeacher
from core.teacher.frozen import FrozenTeacher, _adapt_batch, ensemble, mean_of
from tests.core.objectives.fake_outputs import unit
from tests.core.teacher.test_teacher_kinds import batch, frozen_config, network, small


def told(seed: int, scale: float) -> Output:
    """An output of four pairs with two further views, everything in it drawn."""
    generator = torch.Generator().manual_seed(seed)

    def view() -> ViewOutput:
        return ViewOutput(unit(generator, 4, 6), unit(generator, 4, 3), torch.randn(4, 5, generator=generator))

    answers = ClassLogits((torch.randn(4, 2, generator=generator),), torch.tensor([0, 1, -1, 0]))
    return Output(
        unit(generator, 4, 6), torch.tensor(scale), view(), (view(), view()),
        torch.randn((), generator=generator),
        extra={"classification": answers, "more": torch.randn(2, generator=generator)},
    )  # fmt: skip


def similarities(output: Output, image: Tensor, text: Tensor) -> Tensor:
    return output.logit_scale * image @ text.T


def test_every_output_of_an_ensemble_is_a_mean() -> None:
    outputs = [told(1, 3.0), told(2, 11.0), told(3, 40.0)]
    found = ensemble(outputs)

    def mean(parts: list[Tensor]) -> Tensor:
        return torch.stack(parts).mean(dim=0)

    for which in (lambda o: o.clean, lambda o: o.distilled[0], lambda o: o.distilled[1]):
        wanted = mean([similarities(one, which(one).image, one.text) for one in outputs])
        torch.testing.assert_close(similarities(found, which(found).image, found.text), wanted)
        fused = mean([one.logit_scale * which(one).fused @ which(one).fused.T for one in outputs])
        torch.testing.assert_close(found.logit_scale * which(found).fused @ which(found).fused.T, fused)
        torch.testing.assert_close(which(found).prototypes, mean([which(one).prototypes for one in outputs]))
        torch.testing.assert_close(which(found).image.norm(dim=-1), torch.ones(4))
    torch.testing.assert_close(found.logit_scale, torch.tensor(18.0))
    assert found.logit_bias is not None
    torch.testing.assert_close(
        found.logit_bias, mean([one.logit_bias for one in outputs if one.logit_bias is not None])
    )
    torch.testing.assert_close(found.extra["more"], mean([one.extra["more"] for one in outputs]))
    classes = [one.extra["classification"].views[0] for one in outputs]
    torch.testing.assert_close(found.extra["classification"].views[0], mean(classes))
    assert found.extra["classification"].labels.tolist() == [0, 1, -1, 0]
    without = [replace(one, clean=replace(one.clean, fused=None)) for one in outputs]
    assert ensemble(without).clean.fused is None
    assert mean_of([None, None]) is None
    assert mean_of([{"a"}, {"b"}]) == {"a"}


def test_a_batch_is_resized_for_the_teacher_except_small_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Towers, "end_id", 99)  # of the hundred word ids
    model = small(image_size=48)
    model["text_cfg"]["context_length"] = 6
    teacher = network("clip", 1, model)
    given = batch(words=9)
    given.texts[1, 5:] = teacher.towers.pad_id  # a short one
    small_crop = View(given.clean.images[:, :, :16, :16], local=True, number=7)
    large = View(given.clean.images.flip(-1), Mix(torch.arange(3), 0.7), number=3)
    fitted = _adapt_batch(replace(given, teacher=(large, small_crop), source=given), teacher)
    assert [view.images.shape[-1] for view in (fitted.clean, *fitted.teacher)] == [48, 48, 16]
    resized = F.interpolate(large.images, (48, 48), mode="bicubic", antialias=True)
    assert torch.equal(fitted.teacher[0].images, resized)
    assert (fitted.teacher[0].number, fitted.teacher[0].mix) == (3, large.mix)
    assert fitted.texts.shape == (3, 6)
    end = int(given.texts.max())
    assert fitted.texts[:, -1].tolist() == [end, teacher.towers.pad_id, end]
    assert torch.equal(fitted.on_host.texts, fitted.texts), "what is counted on the host is what is seen"
    assert torch.equal(given.texts[:, 5] == end, torch.tensor([False] * 3)), "the student's stay as they are"
    same = batch(side=48, words=6)
    assert _adapt_batch(same, teacher).clean is same.clean


def test_a_trained_teacher_is_in_eval_mode_and_keeps_what_the_objectives_read() -> None:
    student, trained = network("clip"), network("clip", 1)
    student.returns_text_tokens = student.returns_patch_tokens = True
    trained.train()
    teacher = FrozenTeacher(frozen_config().teacher, student, [trained])
    assert not any(part.training for part in trained.modules())
    assert trained.returns_text_tokens
    assert trained.returns_patch_tokens
    asked: list[Batch] = []

    def heads(network: Network, fitted: Batch, output: Output) -> Output:
        asked.append(fitted)
        return output

    teacher.targets(batch(side=48), heads)
    assert asked[0].clean.images.shape[-1] == 32, "a head sees the batch as its network did"


def test_a_moving_average_answers_in_eval_mode_without_gradients() -> None:
    student = network("sd-clip-every-step").train()
    teacher = EmaTeacher(TeacherConfig(kind="ema"), student)
    assert not any(one.requires_grad for one in teacher.network.parameters())
    modes: list[bool] = []
    plain = teacher.network.forward_teacher

    def forward(given: Batch) -> Output:
        modes.append(teacher.network.training or torch.is_grad_enabled())
        return plain(given)

    teacher.network.forward_teacher = forward  # type: ignore[method-assign]
    teacher.network.train()
    found = teacher.targets(batch())
    assert modes == [False]
    assert not found.text.requires_grad
    assert teacher.network.training, "as it was before"
