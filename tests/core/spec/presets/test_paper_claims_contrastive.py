"""Claims of the papers on variants of contrastive training."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from core.data.batch import Batch, View
from core.model.network import Network
from core.model.outputs import Output, ViewOutput
from core.model.towers.architectures import resolve_architecture
from core.objectives.build import Objectives, build_network, build_objectives
from core.objectives.contrastive import Contrastive
from core.spec.config import ContrastiveConfig, RunConfig
from core.spec.presets import preset_config
from tests.core.objectives.fake_outputs import output_of


def contrastive(preset: str) -> Contrastive:
    return Contrastive(preset_config(preset).objectives.contrastive)


def paired(image: Tensor, text: Tensor, scale: float, bias: float | None = None) -> Output:
    output = output_of(len(image), image.shape[1], 0, scale=scale, bias=bias)
    return replace(output, text=text, clean=ViewOutput(image))


def test_label_smoothing_reduces_the_gradient_of_mismatched_captions_and_bounds_confidence() -> None:
    image, text = torch.eye(8), torch.eye(8)
    text[:2] = text[:2].flip(0)  # the captions of the first two are exchanged
    plain, smooth = (Contrastive(ContrastiveConfig(label_smoothing=share)) for share in (0.0, 0.3))

    def pull(objective: Contrastive) -> float:
        given = image.clone().requires_grad_()
        objective(paired(given, text, 10.0), None)[0].backward()
        assert given.grad is not None
        return float(-(given.grad[0] * text[0]).sum())

    assert 0 < pull(smooth) < 0.92 * pull(plain)

    def losses(objective: Contrastive) -> list[float]:
        return [float(objective(paired(image, image, scale), None)[0]) for scale in (5.0, 100.0)]

    assert losses(plain)[1] < losses(plain)[0]
    assert losses(smooth)[1] > losses(smooth)[0]


def test_siglip_scores_each_pair_independently() -> None:
    """The loss is a sum over pairs, so a batch's loss follows from its parts (inclusion-exclusion), unlike softmax."""
    made = output_of(3, 8, 4, bias=-3.0)

    def total(preset: str, members: list[int]) -> float:
        part = paired(made.clean.image[members], made.text[members], 10.0, -3.0)
        return len(members) * float(contrastive(preset)(part, None)[0])

    def parts(preset: str) -> float:
        return sum(total(preset, pair) for pair in ([0, 1], [0, 2], [1, 2])) - sum(total(preset, [i]) for i in range(3))

    assert abs(total("siglip", [0, 1, 2]) - parts("siglip")) < 1e-4
    assert abs(total("clip", [0, 1, 2]) - parts("clip")) > 1e-2


def test_siglips_bias_offsets_the_many_negative_pairs() -> None:
    made = output_of(64, 16, 3, scale=10.0)
    losses = [float(contrastive("siglip")(replace(made, logit_bias=torch.tensor(b)), None)[0]) for b in (0.0, -10.0)]
    assert losses[1] < losses[0] / 2


def small(preset: str, seed: int = 0) -> tuple[RunConfig, Network, Objectives, Batch]:
    torch.manual_seed(seed)
    config = preset_config(preset, "tiny")
    network = build_network(config, resolve_architecture("sd-tiny"))

    def view() -> View:
        return View(torch.randint(256, (6, 3, 32, 32), dtype=torch.uint8))

    texts = network.towers.tokenize([f"image {i}" for i in range(6)])
    batch = Batch(torch.arange(6), texts, view(), tuple(view() for _ in range(config.views.student.count)), (view(),))
    return config, network, build_objectives(config, network), batch


def learns(network: Network, name: str) -> bool:
    return any(p.grad is not None and bool(p.grad.abs().sum() > 0) for n, p in network.named_parameters() if name in n)


def test_slips_second_loss_trains_images_behind_a_separate_head() -> None:
    _, network, objectives, batch = small("slip")
    output = objectives.head_outputs(network, batch, network.forward_student(batch))
    next(one for one in objectives if one.name == "image_contrastive")(output, None)[0].backward()
    assert learns(network, "visual")
    assert not learns(network, "token_embedding")
    network.eval()
    before = network.encode_images(batch.clean.images)
    del network.heads["image_contrastive"]
    torch.testing.assert_close(network.encode_images(batch.clean.images), before)


def test_slip_contrasts_two_augmented_views_of_an_image() -> None:
    _, _, objectives, _ = small("slip")
    objective = next(one for one in objectives if one.name == "image_contrastive")
    vectors = F.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(1)), dim=-1)
    output = output_of(6, 8, 0)
    alike = replace(output, extra={"image_contrastive": torch.stack([vectors, vectors])})
    crossed = replace(output, extra={"image_contrastive": torch.stack([vectors, vectors.roll(1, 0)])})
    assert objective(alike, None)[0] < objective(crossed, None)[0] - 1


def test_cosmos_predicts_the_teachers_image_and_text_from_small_crops() -> None:
    config, network, objectives, batch = small("cosmos")
    assert config.views.student.crop_max <= config.views.teacher.crop_min
    with torch.no_grad():
        target = objectives.teacher_head_outputs(network, batch, network.forward_teacher(batch))
    output = objectives.head_outputs(network, batch, network.forward_student(batch))
    objective = next(one for one in objectives if one.name == "distill_features")
    assert len(output.extra["distill_features"].fused) == config.views.student.count
    loss, report = objective(output, target)
    loss.backward()
    for part in ("visual", "token_embedding", "fusion", "log_scale"):
        assert learns(network, part), part
    assert report["diag/feature_scale"].item() > 1
    between = F.normalize(target.distilled[0].image + target.text, dim=-1)  # near the image and the text of its pair

    def asked(fused: Tensor) -> float:
        given = replace(output.extra["distill_features"], fused=(fused,) * len(output.distilled))
        return float(objective(replace(output, extra={"distill_features": given}), target)[0].detach())

    assert asked(between) < asked(between.roll(1, 0))
