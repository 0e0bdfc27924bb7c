"""Classification and consistency against plain loops; what each kind lets through."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from core.data.batch import Batch, Mix, View
from core.model.errors import ModelError
from core.model.network import Network
from core.model.towers.architectures import resolve_architecture
from core.objectives.build import build_network, build_objectives
from core.objectives.classification import (
    Classification,
    ClassLogits,
    InterpolatedLabels,
    InterpolatedRows,
    class_logits,
)
from core.objectives.consistency.fixmatch import FixMatch
from core.objectives.consistency.mean_teacher import MeanTeacher
from core.objectives.consistency.mixmatch import draw_partners
from core.spec.config import ClassificationConfig, ConsistencyConfig, RunConfig
from core.spec.presets import preset_config
from tests.core.objectives.fake_outputs import blended, cross_entropy, mean, mix_of, output_of, softmax

SIZES = [(2, 2), (8, 10)]


def answers(
    batch: int, classes: int, seed: int, views: int, unlabelled: float = 0.5, spread: float = 3.0
) -> ClassLogits:
    generator = torch.Generator().manual_seed(seed)
    logits = tuple(spread * torch.randn(batch, classes, generator=generator) for _ in range(views))
    labels = torch.randint(classes, (batch,), generator=generator)
    return ClassLogits(logits, labels.masked_fill(torch.rand(batch, generator=generator) < unlabelled, -1))


def answering(answer: ClassLogits, seed: int = 1, mixes: tuple[Mix | None, ...] = (None,)) -> Any:
    return output_of(len(answer.labels), 4, seed, mixes, extra={"classification": answer})


@pytest.mark.parametrize(("batch", "classes"), SIZES)
@pytest.mark.parametrize("unlabelled", [0.0, 0.5, 1.0])
def test_classification_matches_a_plain_loop(batch: int, classes: int, unlabelled: float) -> None:
    answer = answers(batch, classes, batch, 2, unlabelled)
    loss, report = Classification(ClassificationConfig(weight=1.0))(answering(answer), None)
    rows = [(row, y) for row, y in zip(answer.views[0].tolist(), answer.labels.tolist(), strict=True) if y >= 0]
    losses = [cross_entropy([float(c == y) for c in range(classes)], row) for row, y in rows]
    assert loss.item() == pytest.approx(mean(losses) if rows else 0.0, rel=1e-4)
    right = [float(max(range(classes), key=row.__getitem__) == y) for row, y in rows]
    assert report["diag/labelled_accuracy"].item() == pytest.approx(mean(right) if rows else 0.0)


@pytest.mark.parametrize(("batch", "classes"), SIZES)
@pytest.mark.parametrize("unlabelled", [0.0, 0.5])
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_labels_of_interpolated_images_are_mixed_by_share(
    batch: int, classes: int, unlabelled: float, share: float
) -> None:
    answer, mix = answers(batch, classes, 7 * batch, 2, unlabelled), mix_of(batch, share)
    objective = Classification(ClassificationConfig(weight=1.0, view="additional"))
    loss, _ = objective(answering(answer, mixes=(mix,)), None)
    total = weight = 0.0
    labels, partner = answer.labels.tolist(), mix.partner.tolist()
    for i, row in enumerate(answer.views[1].tolist()):
        for label, part in ((labels[i], share), (labels[partner[i]], 1 - share)):
            if label >= 0:
                total += part * cross_entropy([float(c == label) for c in range(classes)], row)
                weight += part
    assert loss.item() == pytest.approx(total / weight if weight else 0.0, rel=1e-4)


@pytest.mark.parametrize(("batch", "classes"), SIZES)
@pytest.mark.parametrize("share", [None, 0.7])
def test_mean_teacher_matches_a_plain_loop(batch: int, classes: int, share: float | None) -> None:
    mix = None if share is None else mix_of(batch, share)
    student, teacher = answers(batch, classes, 1, 2), answers(batch, classes, 2, 1)
    objective = MeanTeacher(ConsistencyConfig(weight=1.0, kind="mean-teacher"))
    loss, _ = objective(answering(student, mixes=(mix,)), answering(teacher))
    wanted = blended([softmax(row) for row in teacher.views[0].tolist()], mix)
    rows = student.views[1].tolist()
    losses = [(p - q) ** 2 for one, row in zip(wanted, rows, strict=True)
              for q, p in zip(one, softmax(row), strict=True)]  # fmt: skip
    assert loss.item() == pytest.approx(mean(losses), rel=1e-4)


@pytest.mark.parametrize(("batch", "classes"), SIZES)
@pytest.mark.parametrize("views", [2, 3])
@pytest.mark.parametrize("threshold", [0.0, 0.7])
@pytest.mark.parametrize("guess", ["student", "teacher"])
def test_fixmatch_matches_a_plain_loop_and_passes_confident_rows(
    batch: int, classes: int, views: int, threshold: float, guess: Literal["student", "teacher"]
) -> None:
    student, teacher = answers(batch, classes, 3, views), answers(batch, classes, 4, 1)
    settings = ConsistencyConfig(weight=1.0, kind="fixmatch", threshold=threshold, guess=guess)
    loss, report = FixMatch(settings)(answering(student), answering(teacher))
    weak = (student if guess == "student" else teacher).views[0].tolist()
    hidden = [i for i, label in enumerate(student.labels.tolist()) if label < 0]
    total, kept = 0.0, 0
    for i in hidden:
        chances = softmax(weak[i])
        if max(chances) < threshold:
            continue
        kept += 1
        target = [float(c == chances.index(max(chances))) for c in range(classes)]
        total += mean([cross_entropy(target, strong[i].tolist()) for strong in student.views[1:]])
    count = max(1, len(hidden))
    assert loss.item() == pytest.approx(total / count, rel=1e-4, abs=1e-7)
    assert report["diag/mask_rate"].item() == pytest.approx(kept / count)


def test_pseudo_labels_have_no_gradient() -> None:
    student = answers(6, 3, 1, 2, unlabelled=1.0)
    for logits in student.views:
        logits.requires_grad_()
    FixMatch(ConsistencyConfig(weight=1.0, kind="fixmatch", threshold=0.0))(answering(student), None)[0].backward()
    assert student.views[0].grad is None
    assert student.views[1].grad is not None


def test_mixing_partners_depend_only_on_the_rows() -> None:
    rows = torch.tensor([4, 1, 9])
    partner, share = draw_partners(rows, 50, 0.75)
    again = draw_partners(rows, 50, 0.75)
    assert torch.equal(partner, again[0])
    assert torch.equal(share, again[1])
    assert sorted(partner.tolist()) == list(range(50))
    assert (share >= 0.5).all()
    assert share.unique().numel() == 50  # each image has its own, as in algorithm 1
    assert not torch.equal(draw_partners(torch.tensor([4, 9, 1]), 50, 0.75)[0], partner)


# MixMatch, whose look goes through a network


def classifier(preset: str = "mixmatch") -> tuple[RunConfig, Network]:
    torch.manual_seed(0)
    config = preset_config(preset, "tiny")
    network = build_network(config, resolve_architecture(config.towers.architecture), ("a", "b", "c"))
    return config, network.eval()


def batch_of(labels: list[int], further: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(3)

    def view() -> View:
        return View(torch.randint(256, (len(labels), 3, 32, 32), dtype=torch.uint8, generator=generator))

    texts = torch.zeros(len(labels), 4, dtype=torch.int64)
    return Batch(torch.arange(10, 10 + len(labels)), texts, view(), tuple(view() for _ in range(further)),
                 labels=torch.tensor(labels))  # fmt: skip


def test_mixmatch_matches_algorithm_1() -> None:
    config, network = classifier()
    batch = batch_of([2, 0, -1, -1, -1])
    objectives = build_objectives(config, network)
    student = objectives.head_outputs(network, batch, network.forward_student(batch))
    mixed = student.extra["consistency"]
    images: list[Tensor] = [network.towers.normalise(v.images) for v in (batch.clean, *batch.student)]
    chances = [class_logits(network, v.images).softmax(-1) for v in (batch.clean, *batch.student)]
    guesses = []
    for row in (2, 3, 4):
        raised = [((a + b) / 2) ** 2 for a, b in zip(chances[0][row].tolist(), chances[1][row].tolist(), strict=True)]
        guesses.append([one / sum(raised) for one in raised])
    torch.testing.assert_close(mixed.pseudo_labels, torch.tensor(guesses), atol=1e-4, rtol=1e-4)
    everything = [images[0][row] for row in (0, 1)]
    everything += [view[row] for view in images for row in (2, 3, 4)]
    wanted = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], *guesses, *guesses]
    partner, share = (one.tolist() for one in draw_partners(batch.rows, 8, 0.75))
    head = network.heads["classification"]
    rows = []
    for i in range(8):
        blend = share[i] * everything[i] + (1 - share[i]) * everything[partner[i]]
        logits = head(network.towers.encode_image(blend[None]).before_projection)[0].tolist()
        target = [share[i] * a + (1 - share[i]) * b for a, b in zip(wanted[i], wanted[partner[i]], strict=True)]
        rows.append((logits, target))
    losses = {one.name: one(student, None)[0].item() for one in objectives}
    assert losses["classification"] == pytest.approx(mean([cross_entropy(t, z) for z, t in rows[:2]]), rel=1e-3)
    squares = [(p - q) ** 2 for z, t in rows[2:] for p, q in zip(softmax(z), t, strict=True)]
    assert losses["consistency"] == pytest.approx(mean(squares), rel=1e-3)


def test_mixmatch_pseudo_labels_have_no_gradient() -> None:
    """The gradient is that of the plain losses under guesses that are mere numbers."""
    config, network = classifier()
    batch, parameters = batch_of([2, 0, -1, -1, -1]), list(network.parameters())
    objectives = build_objectives(config, network)
    student = objectives.head_outputs(network, batch, network.forward_student(batch))
    mixed = student.extra["consistency"]
    assert not mixed.pseudo_labels.requires_grad
    assert not mixed.unlabelled.targets.requires_grad
    assert not mixed.labelled.targets.requires_grad
    labelled, unlabelled = (Tensor(part.targets.tolist()) for part in (mixed.labelled, mixed.unlabelled))
    plain = {
        "classification": -(labelled * mixed.labelled.logits.log_softmax(-1)).sum() / 2,
        "consistency": ((mixed.unlabelled.logits.softmax(-1) - unlabelled) ** 2).mean(),
    }
    for one in objectives:
        losses = (one(student, None)[0], plain[one.name])
        ours, theirs = (torch.autograd.grad(x, parameters, retain_graph=True, allow_unused=True) for x in losses)
        for a, b in zip(ours, theirs, strict=True):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("labels", [[-1, -1, -1], [0, 1, 2]])
def test_mixmatch_handles_batches_of_one_kind(labels: list[int]) -> None:
    config, network = classifier()
    objectives = build_objectives(config, network)
    batch = batch_of(labels)
    student = objectives.head_outputs(network, batch, network.forward_student(batch))
    total = torch.stack([one(student, None)[0] for one in objectives]).sum()
    total.backward()
    assert torch.isfinite(total)


def test_rows_mixed_by_another_objective_replace_the_clean_ones_in_classification() -> None:
    answer = answers(4, 3, 1, 2, unlabelled=0.0)
    given = InterpolatedRows(torch.zeros(2, 3), torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]))
    interpolating = InterpolatedLabels(given)
    student = answering(answer)
    student = replace(student, extra={**student.extra, "consistency": interpolating})
    loss, _ = Classification(ClassificationConfig(weight=1.0))(student, None)
    assert loss.item() == pytest.approx(1.0986123, rel=1e-5)  # ln 3


def test_a_network_without_classes_names_what_is_missing() -> None:
    with pytest.raises(ModelError, match=r"set data\.label to the column"):
        build_network(preset_config("mixup", "tiny"), resolve_architecture("sd-tiny"))
    plain = build_network(preset_config("clip", "tiny"), resolve_architecture("sd-tiny"))
    with pytest.raises(ModelError, match="not trained to classify"):
        class_logits(plain, batch_of([0]).clean.images)
