"""docs/method.md against the trainer: its equations, written out again, give the losses and the teacher of a real run,
and the verdicts of the caption filter.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from core.model.outputs import Output
from core.objectives.weighting import words
from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.teacher.ema import EmaTeacher
from core.training.loop import Loop
from core.training.train import train
from core.training.train_step import StepLosses
from tests.core.images import write_pairs

Values = NDArray[np.float64]
K, GAMMA, EPSILON, ALPHA, TAU, MOMENTUM = 3, 0.5, 0.1, 0.6, 2.0, 0.9
SETTINGS = [
    f"teacher.every={K}", f"teacher.momentum={MOMENTUM}", "teacher.momentum_schedule=cosine",
    f"noise.self_confidence={GAMMA}", f"objectives.contrastive.label_smoothing={EPSILON}",
    f"objectives.distill_similarity.alpha={ALPHA}", f"objectives.distill_similarity.temperature={TAU}",
    "objectives.distill_prototypes.on=fused+image", "views.student.count=2", "views.teacher.count=2",
]  # fmt: skip


@dataclass
class Step:
    student: Output
    teacher: Output | None
    reported: dict[str, Tensor]


@dataclass
class Recorded:
    """A run: the student's parameters after each step (0: before the first), the teacher's when used, the outputs."""

    weights: dict[int, Tensor]
    taught: dict[int, Tensor]
    steps: dict[int, Step]


def parameters(network: torch.nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("method")
    train_csv, val_csv = write_pairs(folder)
    record, outputs = Recorded({}, {}, {}), dict[str, Output]()
    train_step, targets, losses = Loop.train_step, EmaTeacher.targets, StepLosses.__call__

    def record_weights(loop: Loop, batch: Any) -> Any:
        record.weights.setdefault(0, parameters(loop.network))
        report = train_step(loop, batch)
        record.weights[loop.step] = parameters(loop.network)
        return report

    def record_targets(teacher: EmaTeacher, *arguments: Any) -> Output:
        record.taught[len(record.weights)] = parameters(teacher.network)
        outputs["teacher"] = targets(teacher, *arguments)
        return outputs["teacher"]

    def record_losses(step_losses: Any, batch: Any, step: int) -> Any:
        outputs.clear()
        hook = step_losses._wrapped_student.register_forward_hook(lambda *call: outputs.update(student=call[2]))
        result = losses(step_losses, batch, step)
        hook.remove()
        record.steps[step] = Step(outputs["student"], outputs.get("teacher"), result[1])
        return result

    paths = [f"data.train={train_csv}", f"data.val={val_csv}", "optim.epochs=4", "optim.batch_size=12"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "train_step", record_weights)
        patch.setattr(EmaTeacher, "targets", record_targets)
        patch.setattr(StepLosses, "__call__", record_losses)
        config = override(preset_config("sd-clip", "tiny"), [*paths, "runtime.threads=1", *SETTINGS])
        assert train(config, RunDir(folder / "run"), quiet=True) == "done"
    return record


def test_the_teacher_is_the_average_of_the_students_weights(recorded: Recorded) -> None:
    total = len(recorded.weights) - 1
    teacher, product = recorded.weights[0], 1.0
    assert list(recorded.taught) == list(range(K, total + 1, K))
    for t in range(1, total + 1):
        if t in recorded.taught:
            torch.testing.assert_close(recorded.taught[t], teacher, atol=1e-5, rtol=0)
        product *= min(1 - (1 - MOMENTUM) * (1 + math.cos(math.pi * t / total)) / 2, t / (t + 1))
        if (t + 1) % K == 0:
            teacher, product = product * teacher + (1 - product) * recorded.weights[t], 1.0


def test_the_contrastive_loss_is_smoothed_and_weighted(recorded: Recorded) -> None:
    for step in recorded.steps.values():
        z = (step.student.logit_scale * step.student.clean.image @ step.student.text.T).detach().double()
        to_text, to_image, B = z.softmax(1), z.T.softmax(1), len(z)
        confidence = [float(to_text[i, i] * to_image[i, i]) ** (GAMMA / 2) for i in range(B)]
        total = 0.0
        for i in range(B):
            for j in range(B):
                y = (1 - EPSILON) * (i == j) + EPSILON / B
                total -= confidence[i] * y * (math.log(to_text[i, j]) + math.log(to_image[i, j]))
        loss = total / (2 * sum(confidence))
        assert float(step.reported["train/contrastive"]) == pytest.approx(loss, abs=1e-5)


def kl(q: Tensor, log_p: Tensor) -> Tensor:
    return (torch.xlogy(q, q) - q * log_p).sum()


def test_similarities_are_distilled_in_both_directions(recorded: Recorded) -> None:
    taught = [step for step in recorded.steps.values() if step.teacher is not None]
    for step in taught:
        assert step.teacher is not None
        z = step.teacher.logit_scale * step.teacher.distilled[0].image @ step.teacher.text.T / TAU
        true = torch.eye(len(z))
        q_text, q_image = (ALPHA * logits.softmax(1) + (1 - ALPHA) * true for logits in (z, z.T))
        losses = []
        for view in step.student.distilled:
            assert view.mix is not None
            a, r = view.mix.share, view.mix.partner
            z = step.student.logit_scale * view.image @ step.student.text.T
            to_text, to_image = a * q_text + (1 - a) * q_text[r], a * q_image + (1 - a) * q_image[:, r]
            losses.append((kl(to_text, z.log_softmax(1)) + kl(to_image, z.T.log_softmax(1))) / (2 * len(z)))
        expected = float(torch.stack(losses).mean().detach())
        assert float(step.reported["train/distill_similarity"]) == pytest.approx(expected, abs=1e-5)
    assert len(taught) == len(recorded.taught)


def test_prototypes_are_distilled_from_centred_logits(recorded: Recorded) -> None:
    centres = [torch.zeros(()), torch.zeros(())]
    for step in recorded.steps.values():
        if step.teacher is None:
            continue
        expected = 0.0
        for number in range(2):  # of the fused representation, then of the image
            student, teacher = (
                [view.prototypes for view in output.distilled] if number == 0 else output.extra["distill_prototypes"]
                for output in (step.student, step.teacher)
            )
            losses = []
            for view, logits in zip(step.student.distilled, student, strict=True):
                assert view.mix is not None
                for taught in teacher:
                    q = ((taught - centres[number]) / 0.04).softmax(1)
                    q = view.mix.share * q + (1 - view.mix.share) * q[view.mix.partner]
                    losses.append(-(q * (logits / 0.1).log_softmax(1)).sum(1).mean())
            expected += float(torch.stack(losses).mean().detach())
            centres[number] = 0.9 * centres[number] + 0.1 * torch.cat(list(teacher)).mean(0)
        assert float(step.reported["train/distill_prototypes"]) == pytest.approx(expected, abs=1e-5)


# The caption filter
P, V = 150, 12


def shuffled_pairs() -> tuple[Values, list[str]]:
    """Images (P, V), each the sum of vectors of its caption's words; 45 captions are shuffled."""
    draw = np.random.default_rng(0)
    vectors = np.linalg.qr(draw.normal(size=(V, V)))[0]
    has = draw.random((P, V)) < 0.25
    images = has @ vectors + 0.15 * draw.normal(size=(P, V))
    order, chosen = np.arange(P), draw.permutation(P)[:45]
    order[chosen] = np.roll(chosen, 1)
    return images, [" ".join(f"w{v}" for v in np.flatnonzero(has[i])) for i in order]


def measures(d: Values, captions: list[str], c: Values, given: list[list[int]]) -> Values:
    """Steps 2 and 3: (A, P, 5) for A lists of captions; one regression per image, in its dual form."""
    y = np.array([[f"w{v}" in re.findall(r"\w+", caption) for v in range(V)] for caption in captions]).astype(float)
    nu = y.mean(0)
    kernel = np.exp(-((d[:, None] - d) ** 2).sum(2) / ((d - d.mean(0)) ** 2).sum(1).mean())
    centring = np.eye(P) - 1 / P
    kernel = centring @ kernel @ centring
    result = np.zeros((len(given), P, 5))
    for i in range(P):
        others = np.arange(P) != i
        dual = c[others, None] * kernel[others][:, others] + 0.5 * np.eye(P - 1)
        predicted = nu + kernel[i, others] @ np.linalg.solve(dual, c[others, None] * (y[others] - nu))
        clipped, e = predicted.clip(1e-4, 1 - 1e-4), (predicted - nu) / np.sqrt(nu * (1 - nu))
        for a, order in enumerate(given):
            has, o = y[order[i]] > 0, (y[order[i]] - nu) / np.sqrt(nu * (1 - nu))
            result[a, i] = (
                np.log(clipped / nu)[has].mean() if has.any() else 0.0,
                np.where(has, clipped, 1 - clipped).min(),
                e @ o / np.linalg.norm(e) / np.linalg.norm(o),
                np.log(e @ e),
                has.sum(),
            )
    return result


def log_odds(x: Values, fold: Values) -> tuple[Values, Values]:
    """Step 4: of the pairs (P,) and of the draws."""
    x = ((x - x.mean((0, 1))) / x.std((0, 1), ddof=1)).clip(-4, 4)
    products = [x[..., i] * x[..., j] for i in range(5) for j in range(i, 5)]
    x = np.concatenate([x, np.stack([*products, np.ones(x.shape[:2])], -1)], -1)
    is_pair = np.zeros(x.shape[:2])
    is_pair[0] = 1
    weight, odds = np.where(is_pair, 1.0, 1 / (len(x) - 1)), np.zeros(x.shape[:2])
    for number in range(5):
        rest = fold != number
        fitted = LogisticRegression(fit_intercept=False, tol=1e-10, solver="newton-cholesky")
        fitted.fit(x[:, rest].reshape(-1, x.shape[2]), is_pair[:, rest].ravel(), weight[:, rest].ravel())
        odds[:, ~rest] = x[:, ~rest] @ fitted.coef_[0]
    return odds[0], odds[1:].ravel()


def clean_probability(pairs: Values, draws: Values) -> Values:
    """Step 5."""
    thresholds = np.sort(draws)[(np.linspace(0.1, 0.5, 20) * len(draws)).astype(int)]
    eta = min(1.0, np.mean([np.mean(pairs <= t) / np.mean(draws <= t) for t in thresholds]))
    rho = np.mean([np.mean(draws < odds) for odds in pairs])
    if eta > 0.85 or (rho - eta / 2) / (1 - eta) < 0.8:
        return np.ones(len(pairs))
    is_pair = np.arange(len(pairs) + len(draws)) < len(pairs)
    weight = np.where(is_pair, 1.0, len(pairs) / len(draws))
    pi = IsotonicRegression(y_min=1e-6).fit(np.concatenate([pairs, draws]), is_pair, weight).predict(pairs)
    return np.maximum(0.0, 1 - eta * (1 - pi) / pi)


def test_the_caption_filter_follows_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "_MIN_DRAWS", 6 * P)
    images, captions = shuffled_pairs()
    drawn: list[Tensor] = []
    redraw = words._redraw_equal

    def record(*arguments: Any) -> Tensor:
        drawn[:] = [redraw(*arguments)]
        return drawn[0]

    monkeypatch.setattr(words, "_redraw_equal", record)
    found = words.clean_probability(torch.from_numpy(images), captions, torch.arange(P)).numpy()
    fold = (torch.randperm(P, generator=torch.Generator().manual_seed(0)) % 5).numpy()
    probability = np.ones(P)
    for _ in range(2):
        given = [list(range(P)), *drawn[0].tolist()]
        probability = clean_probability(*log_odds(measures(images, captions, probability, given), fold))
    assert found == pytest.approx(probability, abs=1e-4)
    assert list(found < 0.5) == list(probability < 0.5)
    assert 20 < (found < 0.5).sum() < 60
