"""A step of training: that of a plain loop, whatever the config clips, warms up and bounds."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector

from core.spec.config import RunConfig, override
from core.spec.run.events import EventWriter
from core.spec.run.folder import RunDir
from core.training.loop import Loop
from core.training.progress import Heartbeat
from core.training.train_step import feature_std
from tests.core.images import write_pairs
from tests.core.variants import variant_config


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs"))[0]


def config_for(data: Path, preset: str, *settings: str) -> RunConfig:
    paths = [f"data.train={data}", "optim.epochs=4", "optim.batch_size=12", "runtime.threads=1"]
    return override(variant_config(preset), [*paths, *settings])


@contextmanager
def opened(config: RunConfig, folder: Path) -> Iterator[Loop]:
    run = RunDir(folder)
    run.create()
    events = EventWriter(run.events)
    try:
        yield Loop(config, run, events, Heartbeat(run, quiet=True), threading.Event())
    finally:
        events.close()


@pytest.fixture
def loop(data: Path, tmp_path: Path) -> Iterator[Loop]:
    """CLIP with a warm-up, a clipped gradient, and a logit scale beyond its bound."""
    settings = [
        "optim.warmup=0.34", "optim.clip_norm=0.5", "optim.learning_rate=0.01", "optim.beta1=0.8", "optim.beta2=0.9",
        "optim.eps=1e-5", "optim.weight_decay=0.3",
    ]  # fmt: skip
    with opened(config_for(data, "clip", *settings), tmp_path / "run") as loop:
        with torch.no_grad():
            loop.network.towers.clip.logit_scale.fill_(math.log(100) + 0.1)
        yield loop


def test_a_run_matches_a_plain_loop(loop: Loop) -> None:
    """Learning rate, clipping, decay and the bound of the logit scale, written out once more."""
    plain = {name: value.detach().clone() for name, value in loop.network.named_parameters()}
    first, second = ({name: torch.zeros_like(value) for name, value in plain.items()} for _ in range(2))
    optim = loop.config.optim
    clipped = bounded = 0
    for step, batch in enumerate(loop.parts.loader.batches(0, loop.total_steps), 1):
        output, parameters = loop.network.forward_student(batch), dict(loop.network.named_parameters())
        loss = plain_contrastive(output.clean.image, output.text, parameters["towers.clip.logit_scale"].exp())
        gradient = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))
        norm = math.sqrt(sum(float((one**2).sum()) for one in gradient.values()))
        clipped += norm > 0.5
        rate = 0.01 * step / 4 if step <= 4 else 0.005 * (1 + math.cos(math.pi * (step - 5) / 8))
        for name, value in plain.items():
            g = gradient[name] * min(1.0, 0.5 / norm)
            first[name] = optim.beta1 * first[name] + (1 - optim.beta1) * g
            second[name] = optim.beta2 * second[name] + (1 - optim.beta2) * g * g
            m, v = first[name] / (1 - optim.beta1**step), second[name] / (1 - optim.beta2**step)
            kept = 1 - rate * optim.weight_decay * (value.ndim >= 2)
            plain[name] = kept * value - rate * m / (v.sqrt() + optim.eps)
        scale = plain["towers.clip.logit_scale"]
        bounded += bool(scale > math.log(100))
        plain["towers.clip.logit_scale"] = scale.clamp(0, math.log(100))
        values = {name: float(value) for name, value in loop.train_step(batch).items()}
        assert values["train/loss"] == pytest.approx(loss.item(), rel=1e-3)
        assert values["train/grad_norm"] == pytest.approx(norm, rel=1e-2)
        assert values["train/lr"] == pytest.approx(rate)
        # compared step by step from the same weights: rounding must not add up
        for name, value in plain.items():
            torch.testing.assert_close(parameters[name].detach(), value, atol=2e-2 * rate, rtol=1e-4, msg=name)
            plain[name] = parameters[name].detach().clone()
    assert step == 12
    assert clipped > 3
    assert bounded > 0


def plain_contrastive(image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    logits, pairs = scale * image @ text.T, torch.arange(len(image))
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2


def test_self_confidence_weights_pairs(data: Path, tmp_path: Path) -> None:
    """Each pair's own probability, both ways, to the power of a quarter each: the gradient of RINCE's kind of loss."""
    with opened(config_for(data, "clip", "noise.self_confidence=0.5"), tmp_path / "run") as loop:
        for batch in loop.parts.loader.batches(0, 3):
            output, parameters = loop.network.forward_student(batch), dict(loop.network.named_parameters())
            logits = parameters["towers.clip.logit_scale"].exp() * output.clean.image @ output.text.T
            trust = (logits.softmax(0).diagonal() * logits.softmax(1).diagonal()).detach() ** 0.25
            pairs, weight = torch.arange(len(logits)), trust / trust.sum()
            ways = torch.stack([F.cross_entropy(one, pairs, reduction="none") @ weight for one in (logits, logits.T)])
            plain = torch.autograd.grad(ways.mean(), list(parameters.values()))
            norm = math.sqrt(sum(float((one**2).sum()) for one in plain))
            values = loop.train_step(batch)
            assert float(values["train/loss"]) == pytest.approx(float(ways.detach().mean()), rel=1e-3)
            assert float(values["train/grad_norm"]) == pytest.approx(norm, rel=1e-2)


def test_spread_features_have_std_1_and_collapsed_ones_0() -> None:
    torch.manual_seed(0)
    spread = F.normalize(torch.randn(512, 64), dim=1)
    assert feature_std(spread).item() == pytest.approx((spread.var(dim=0, unbiased=False).sqrt().sum() / 8).item())
    assert feature_std(spread).item() == pytest.approx(1.0, abs=0.02)
    assert feature_std(spread[:1].expand(512, 64)).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "views", "projected"),
    [
        ([], [4] * 3, [3] * 3),
        (["teacher.every=3"], [1, 1, 4], [0, 0, 3]),
        # image contrast reads further views and needs no teacher
        (["teacher.every=3", "objectives.image_contrastive.weight=1", "views.student.mix=none"],
         [4] * 3, [0, 0, 3]),
    ],
)  # fmt: skip
def test_without_teacher_steps_only_required_outputs_are_computed(
    data: Path, tmp_path: Path, settings: list[str], views: list[int], projected: list[int]
) -> None:
    """Images through the student's tower, and representations through its prototypes, in views of 12 a step."""
    sizes: list[int] = []
    heads: list[int] = []
    shown = ["views.student.count=2", "views.local.count=1", "views.local.size=1", "views.teacher.count=2"]
    given = [*shown, "teacher.momentum=0.5", "optim.epochs=1", *settings]
    with opened(config_for(data, "sd-clip-every-step", *given), tmp_path / "run") as loop:
        towers = loop.network.towers
        plain = towers.encode_image

        def encode_image(images: torch.Tensor, *more: object) -> object:
            sizes.append(len(images))
            return plain(images, *more)  # type: ignore[arg-type]

        towers.encode_image = encode_image  # type: ignore[assignment, method-assign]
        assert loop.network.prototypes is not None
        loop.network.prototypes.register_forward_hook(lambda module, given, made: heads.append(len(made)))
        for step, batch in enumerate(loop.parts.loader.batches(0, loop.total_steps), 1):
            sizes.clear()
            heads.clear()
            assert loop.teacher is not None
            before = parameters_to_vector(loop.teacher.network.parameters()).clone()
            assert 1 + len(batch.student) == views[step - 1]
            assert len(batch.teacher) == 2 * (projected[step - 1] > 0)
            loop.train_step(batch)
            follows = (step + 1) % loop.config.teacher.every == 0 or step == loop.total_steps
            after = parameters_to_vector(loop.teacher.network.parameters())
            assert bool((after != before).any()) == follows, step
            assert sum(sizes) == 12 * views[step - 1], step
            assert sum(heads) == 12 * projected[step - 1], step
