"""Prototypes and masked patches against plain loops: several views, Sinkhorn, schedules, hidden patches."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from core.data.batch import Batch, Mix, View
from core.model.heads import PROTOTYPES, PrototypeHead
from core.model.outputs import Output, ViewOutput
from core.model.towers.image import ImageFeatures
from core.objectives.distill_prototypes import DistillPrototypes, view_pairs
from core.objectives.masked_patches import MaskedPatches
from core.objectives.parts.centring import Centring, sinkhorn
from core.objectives.parts.schedule import objective_schedule
from core.spec.config import DistillPrototypesConfig, MaskedPatchesConfig
from tests.core.objectives.fake_outputs import Rows, cross_entropy, mean, softmax

SIZES = [(2, 3), (5, 4)]


def output(numbers: list[int], batch: int, prototypes: int, seed: int, local: set[int] = frozenset()) -> Output:  # type: ignore[assignment]
    generator = torch.Generator().manual_seed(seed)

    def draw(width: int) -> Tensor:
        return torch.randn(batch, width, generator=generator)

    views = tuple(ViewOutput(draw(4), prototypes=draw(prototypes), number=n, local=n in local) for n in numbers)
    features = tuple(ImageFeatures(draw(4), draw(5), None) for _ in numbers)
    return Output(draw(4), torch.tensor(1.0), views[0], views, image_features=features)


@pytest.mark.parametrize(("batch", "prototypes"), SIZES)
@pytest.mark.parametrize("centering", ["center", "sinkhorn"])
def test_every_view_is_distilled_from_the_other_teacher_views(batch: int, prototypes: int, centering: Any) -> None:
    config = DistillPrototypesConfig(
        weight=1.0, on="image", prototypes=prototypes, centering=centering,
        student_temperature=0.5, teacher_temperature=0.25,
    )  # fmt: skip
    objective = DistillPrototypes(config)
    centre = [0.0] * prototypes
    for step in range(2):
        student = output([2, 3, 200, 201], batch, prototypes, step, {200, 201})
        teacher = output([2, 3], batch, prototypes, 10 + step)
        loss, report = objective(student, teacher)
        taught: list[Rows] = [view.prototypes.tolist() for view in teacher.distilled]  # type: ignore[union-attr]
        if centering == "sinkhorn":
            both = spread([[x / 0.25 for x in row] for rows in taught for row in rows])
            targets = [both[:batch], both[batch:]]
        else:
            targets = [[softmax([(x - c) / 0.25 for x, c in zip(row, centre, strict=True)]) for row in rows]
                       for rows in taught]  # fmt: skip
        losses = []
        for t, target in enumerate(targets):
            for s, view in enumerate(student.distilled):
                if s == t:  # the same crop
                    continue
                answers = [[x / 0.5 for x in row] for row in view.prototypes.tolist()]  # type: ignore[union-attr]
                losses.append(mean([cross_entropy(q, p) for q, p in zip(target, answers, strict=True)]))
        assert len(losses) == 6
        assert loss.item() == pytest.approx(mean(losses), rel=1e-4)
        if centering == "center":
            columns = list(zip(*(row for rows in taught for row in rows), strict=True))
            centre = [0.9 * c + 0.1 * mean(list(column)) for c, column in zip(centre, columns, strict=True)]
        assert objective.targets.centre.tolist() == pytest.approx(centre, rel=1e-4, abs=1e-6)
        assert 0 <= float(report["diag/batch_entropy_over_ln_prototypes"]) <= 1 + 1e-6


def test_fused_and_image_prototypes_are_distilled_separately() -> None:
    """The sum of what each alone costs, with a centre and a head of its own; mixed views have mixed targets."""
    both = DistillPrototypes(DistillPrototypesConfig(prototypes=8, on="fused+image"))
    alone = [DistillPrototypes(DistillPrototypesConfig(prototypes=8, on=on)) for on in ("fused", "image")]
    head = both.build_head(SimpleNamespace(towers=SimpleNamespace(image_width=5)))  # type: ignore[arg-type]
    assert isinstance(head, PrototypeHead)
    network: Any = SimpleNamespace(heads={"distill_prototypes": head})
    pairs = masked_batch([None], 4)
    for step in range(3):
        student, teacher = output([2, 3], 4, 8, step), output([2], 4, 8, 10 + step)
        looked = [one.with_extra({both.name: both.head_outputs(network, pairs, one)}) for one in (student, teacher)]
        loss, report = both(*looked)

        def of_image(one: Output) -> Output:
            views = zip(one.distilled, one.image_features, strict=True)
            return replace(one, distilled=tuple(
                replace(view, prototypes=head(features.before_projection)) for view, features in views
            ))  # fmt: skip

        fused, image = alone[0](student, teacher)[0], alone[1](of_image(student), of_image(teacher))[0]
        assert loss.item() == pytest.approx((fused + image).item(), rel=1e-5)
    assert both.image_targets is not None
    torch.testing.assert_close(both.targets.centre, alone[0].targets.centre)
    torch.testing.assert_close(both.image_targets.centre, alone[1].targets.centre)
    assert "diag/image_prototype_kl" in report


def test_caption_prototypes_are_not_interpolated_with_images() -> None:
    student, teacher = output([2], 4, 8, 0), output([2], 4, 8, 1)
    mixed = replace(student, distilled=(replace(student.distilled[0], mix=Mix(torch.tensor([1, 2, 3, 0]), 0.6)),))
    for on in ("text", "image"):
        loss = [
            DistillPrototypes(DistillPrototypesConfig(prototypes=8, on=on))(one, teacher)[0] for one in (student, mixed)
        ]
        assert torch.equal(*loss) == (on == "text")


def spread(scores: Rows) -> Rows:
    """Sinkhorn's algorithm as SwAV writes it, on plain lists."""
    q = [[math.exp(score) for score in row] for row in scores]
    rows, columns = len(q), len(q[0])
    total = sum(map(sum, q))
    q = [[value / total for value in row] for row in q]
    for _ in range(3):
        for k in range(columns):
            share = sum(row[k] for row in q)
            for row in q:
                row[k] /= share * columns
        for row in q:
            share = sum(row)
            row[:] = [value / (share * rows) for value in row]
    return [[value * rows for value in row] for row in q]


def test_sinkhorn_balances_prototypes_at_any_scale() -> None:
    scores = 1000 * torch.randn(64, 8, generator=torch.Generator().manual_seed(0)).tanh()
    scores[:, 0] += 5000  # the whole batch wants one prototype
    assert (scores.argmax(dim=1) == 0).all()
    found = sinkhorn(scores)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(64))
    assert found.sum(dim=0).max() < 32
    assert torch.isfinite(found).all()


def test_views_of_one_crop_are_compared_only_where_there_is_no_other() -> None:
    assert view_pairs(output([0], 2, 3, 0), output([0], 2, 3, 1)) == [(0, 0)]
    assert view_pairs(output([2], 2, 3, 0), output([1], 2, 3, 1)) == [(0, 0)]
    assert view_pairs(output([2, 3], 2, 3, 0), output([2, 3], 2, 3, 1)) == [(0, 1), (1, 0)]
    assert view_pairs(output([2, 200], 2, 3, 0), output([2], 2, 3, 1)) == [(1, 0)]


def test_centring_keeps_the_entropy_of_a_teacher_biased_to_one_prototype() -> None:
    """Logits that all favour the first prototype: without the centre the targets collapse, with it they do not."""
    generator = torch.Generator().manual_seed(0)
    moving, still = Centring(16), Centring(16)
    for _ in range(40):
        logits = 0.1 * torch.randn(32, 16, generator=generator)
        logits[:, 0] += 1.0
        moving.update(logits)
    shares = [one(logits, 0.04).mean(dim=0)[0].item() for one in (still, moving)]
    assert shares[0] > 0.999
    assert shares[1] < 0.3


# Masked patches


def masked_batch(masks: list[Tensor | None], batch: int) -> Batch:
    images = torch.zeros(batch, 3, 8, 8, dtype=torch.uint8)
    views = tuple(View(images, mask=mask, number=2 + i) for i, mask in enumerate(masks))
    return Batch(torch.arange(batch), torch.zeros(batch, 2, dtype=torch.int64), View(images), views)


@pytest.mark.parametrize(("batch", "patches", "prototypes"), [(1, 4, 3), (2, 9, 4), (5, 16, 8)])
def test_masked_patches_match_a_plain_loop(batch: int, patches: int, prototypes: int) -> None:
    generator = torch.Generator().manual_seed(patches)
    masks: list[Tensor | None] = [torch.rand(batch, patches, generator=generator) < 0.5 for _ in range(2)]
    assert masks[0] is not None
    assert masks[1] is not None
    masks[1][0] = False  # an image that stayed whole
    masks[0][:, 0] = True
    objective = MaskedPatches(MaskedPatchesConfig(weight=1.0, prototypes=prototypes))
    head = PrototypeHead(6, prototypes)
    network: Any = SimpleNamespace(heads={"masked_patches": head})
    pairs = masked_batch([*masks, None], batch)
    centre = torch.zeros(prototypes)
    for _ in range(2):
        states = {who: [torch.randn(batch, patches, 6, generator=generator) for _ in range(3)] for who in "st"}

        def looked(who: str, states: dict[str, list[Tensor]] = states) -> Output:
            numbers = [2, 3, 4]
            plain = output(numbers, batch, prototypes, 0)
            features = [ImageFeatures(one.pooled, one.before_projection, None, patch)
                        for one, patch in zip(plain.image_features, states[who], strict=True)]  # fmt: skip
            found = replace(plain, image_features=tuple(features))
            return found.with_extra({"masked_patches": objective.head_outputs(network, pairs, found)})

        loss, report = objective(looked("s"), looked("t"))
        images: list[float] = []
        every = []
        for view in range(2):
            mask = masks[view]
            assert mask is not None
            for i in range(batch):
                found = []
                for p in range(patches):
                    if mask[i, p]:
                        t = head(states["t"][view][i, p][None])[0].detach()
                        every.append(t)
                        q = softmax(((t - centre) / 0.04).tolist())
                        found.append(cross_entropy(q, (head(states["s"][view][i, p][None])[0] / 0.1).tolist()))
                if found:
                    images.append(mean(found))
        assert loss.item() == pytest.approx(mean(images), rel=1e-4)
        assert report["diag/hidden_patches"].item() == len(every)
        centre = 0.9 * centre + 0.1 * torch.stack(every).mean(dim=0)
        torch.testing.assert_close(objective.targets.centre, centre, atol=1e-5, rtol=1e-4)


def test_a_batch_without_masks_costs_nothing() -> None:
    objective = MaskedPatches(MaskedPatchesConfig(weight=1.0, prototypes=4))
    head = PrototypeHead(6, 4)
    network: Any = SimpleNamespace(heads={"masked_patches": head})
    pairs = masked_batch([torch.zeros(2, 4, dtype=torch.bool)], 2)
    plain = output([2], 2, 4, 0)
    features = tuple(replace(one, patches=torch.zeros(2, 4, 6)) for one in plain.image_features)
    plain = replace(plain, image_features=features)
    looked = plain.with_extra({"masked_patches": objective.head_outputs(network, pairs, plain)})
    loss, _ = objective(looked, looked)
    assert loss.item() == 0.0
    loss.backward()


def test_frozen_prototypes_get_no_gradient_but_pass_it_on() -> None:
    config = DistillPrototypesConfig(prototypes=8, freeze_last=0.5, on="fused+image")
    objective, schedule = DistillPrototypes(config), objective_schedule(config, 100)
    heads = [PrototypeHead(6, 8), PrototypeHead(6, 8)]
    network: Any = SimpleNamespace(head={PROTOTYPES: heads[0], "distill_prototypes": heads[1]}.get)
    x = torch.randn(3, 6)
    for step, frozen in ((10, True), (50, True), (51, False)):
        objective.begin_step(network, schedule.at(step))
        for head in heads:
            head.zero_grad(set_to_none=True)
            (head(x) ** 2).sum().backward()
            assert (head.prototypes.grad is None) == frozen
            assert head.mlp[0].weight.grad is not None
