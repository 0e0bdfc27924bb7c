"""The network as student and teacher: what it makes of views, and what it leaves out."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from core.data.batch import Batch, Mix, View
from core.model.errors import ModelError
from core.model.network import Network
from core.model.outputs import Output
from core.model.towers.towers import resolve_architecture
from core.objectives.build import build_network
from core.spec.config import RunConfig
from core.spec.presets import preset_config
from tests.core.variants import variant_config

TINY = resolve_architecture("sd-tiny")
CAPTIONS = ["a cat", "two dogs sleep on the mat", "tree", "woman firefighter"]
SWAP = torch.tensor([1, 0, 3, 2])


def config(on: str = "fused", weight: float = 0.1, fusion: str = "cross-attention") -> RunConfig:
    raw = variant_config("sd-clip-every-step").model_dump()
    raw["objectives"]["distill_prototypes"].update(on=on, weight=weight)
    raw["fusion"]["kind"] = fusion
    return RunConfig.model_validate(raw)


def build(settings: RunConfig, model_cfg: dict[str, Any] = TINY) -> Network:
    torch.manual_seed(3)
    return build_network(settings, copy.deepcopy(model_cfg))


def random_images(seed: int, size: int = 32) -> Tensor:
    return torch.randint(0, 256, (4, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def batch(network: Network, student: tuple[View, ...] = (), teacher: View | None = None) -> Batch:
    tokens = network.towers.tokenize(CAPTIONS)[:, :9]
    return Batch(torch.arange(4), tokens, View(random_images(0)), student, () if teacher is None else (teacher,))


def spy(network: Network) -> dict[str, list[int]]:
    """How many rows each part is given, call by call."""
    calls: dict[str, list[int]] = {"visual": [], "text": [], "fusion": [], "head": []}
    image, text = network.towers.encode_image, network.towers.encode_text

    def encode_image(images: Tensor, *chosen: Any) -> Any:
        assert not any(chosen)
        calls["visual"].append(len(images))
        return image(images)

    def encode_text(tokens: Tensor, all_tokens: bool = False) -> Any:
        assert not all_tokens
        calls["text"].append(len(tokens))
        return text(tokens)

    network.towers.encode_image = encode_image  # type: ignore[method-assign]
    network.towers.encode_text = encode_text  # type: ignore[method-assign]
    for name, part in (("fusion", network.fusion), ("head", network.prototypes)):
        if part is not None:
            part.register_forward_pre_hook(lambda module, given, name=name: calls[name].append(len(given[0])))
    return calls


def assert_same(one: Output, two: Output) -> None:
    for a, b in zip((one.clean, *one.distilled), (two.clean, *two.distilled), strict=True):
        for name in ("image", "fused", "prototypes"):
            torch.testing.assert_close(getattr(a, name), getattr(b, name), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(one.text, two.text)


def test_plain_clip_computes_nothing_extra() -> None:
    network = build(preset_config("clip", "tiny"))
    assert network.fusion is None
    assert network.prototypes is None
    calls = spy(network)
    output = network.forward_student(batch(network))
    assert calls == {"visual": [4], "text": [4], "fusion": [], "head": []}
    assert output.distilled == (output.clean,)
    assert output.clean.fused is None
    assert output.clean.prototypes is None


def test_plain_clip_equals_open_clips_forward() -> None:
    network = build(preset_config("clip", "tiny")).eval()
    clip = network.towers.clip
    image, text, scale = clip(network.towers.normalise(random_images(0)), network.towers.tokenize(CAPTIONS))
    output = network.forward_student(batch(network))
    torch.testing.assert_close(output.clean.image, image, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(output.text, text, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(output.logit_scale, scale.reshape(()))
    torch.testing.assert_close(network.encode_images(random_images(0)), image, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(network.encode_texts(network.towers.tokenize(CAPTIONS)), text, atol=1e-5, rtol=1e-5)


def test_views_of_one_size_are_batched_and_only_distilled_ones_are_fused() -> None:
    network = build(config())
    calls = spy(network)
    mix = Mix(SWAP, 0.8)
    views = (View(random_images(1)), View(random_images(2), mix))
    output = network.forward_student(batch(network, views))
    assert calls == {"visual": [12], "text": [4], "fusion": [4, 4], "head": [8]}
    assert output.clean.fused is None
    assert output.clean.prototypes is None
    assert [view.mix for view in output.distilled] == [None, mix]
    for view in output.distilled:
        assert view.prototypes is not None
        assert view.prototypes.shape == (4, 64)


@pytest.mark.parametrize("on", ["fused", "image", "text"])
def test_each_view_equals_its_own_forward_pass(on: str) -> None:
    network = build(config(on)).eval()
    views = (View(random_images(1)), View(random_images(2), Mix(SWAP, 0.7)))
    together = network.forward_student(batch(network, views))
    for index, view in enumerate(views):
        alone = network.forward_student(batch(network, (view,)))
        assert_same(
            Output(together.text, together.logit_scale, together.clean, (together.distilled[index],)),
            alone,
        )


@pytest.mark.parametrize("box", [None, (8, 8, 24, 32)])
def test_interpolation_follows_normalisation(box: tuple[int, int, int, int] | None) -> None:
    network = build(config()).eval()
    mix = Mix(SWAP, 0.6, box)
    output = network.forward_student(batch(network, (View(random_images(1), mix),)))
    mixed = mix.apply(network.towers.normalise(random_images(1)))
    image = network.towers.encode_image(mixed)
    torch.testing.assert_close(output.distilled[0].image, F.normalize(image.pooled), atol=1e-5, rtol=1e-5)
    text = network.towers.encode_text(network.towers.tokenize(CAPTIONS))
    assert network.fusion is not None
    fused = network.fusion(image.tokens, text).pooled
    torch.testing.assert_close(output.distilled[0].fused, fused, atol=1e-5, rtol=1e-5)


def test_the_teacher_sees_its_own_view_or_the_clean_one() -> None:
    network = build(config()).eval()
    own = network.forward_teacher(batch(network, (View(random_images(1)),), View(random_images(5))))
    torch.testing.assert_close(own.clean.image, network.encode_images(random_images(5)))
    assert own.distilled == (own.clean,)
    assert own.clean.prototypes is not None
    clean = network.forward_teacher(batch(network, (View(random_images(1)),)))
    assert_same(clean, network.forward_student(batch(network)))


def test_the_teacher_input_is_never_masked() -> None:
    """Of the clean view, and of its own, it reads every patch, whatever the student is to leave out."""
    network = build(preset_config("clip", "tiny")).eval()
    visible = torch.arange(8).repeat(4, 1)
    plain, half = batch(network), batch(network)
    half = replace(half, clean=replace(half.clean, visible=visible))
    assert_same(network.forward_teacher(half), network.forward_teacher(plain))
    assert not torch.allclose(network.forward_student(half).clean.image, network.forward_student(plain).clean.image)
    own = replace(plain, teacher=(View(random_images(5), visible=visible),))
    torch.testing.assert_close(network.forward_teacher(own).clean.image, network.encode_images(random_images(5)))


def test_fuse_gives_the_input_of_the_prototypes() -> None:
    network = build(config()).eval()
    output = network.forward_teacher(batch(network))
    fused = network.fuse(random_images(0), network.towers.tokenize(CAPTIONS))
    torch.testing.assert_close(fused, output.clean.fused, atol=1e-5, rtol=1e-5)
    with pytest.raises(ModelError, match=r"has no fusion; train a network with a fusion\.kind"):
        build(preset_config("clip", "tiny")).fuse(random_images(0), network.towers.tokenize(CAPTIONS))


def test_an_unused_fusion_is_not_run() -> None:
    network = build(config(weight=0.0))
    assert network.fusion is not None
    assert network.prototypes is None
    calls = spy(network)
    assert network.forward_student(batch(network)).clean.fused is None
    assert calls["fusion"] == []


@pytest.mark.parametrize("on", ["fused", "image", "text"])
def test_every_parameter_gets_a_gradient(on: str) -> None:
    network = build(config(on, fusion="cross-attention" if on == "fused" else "none"))
    output = network.forward_student(batch(network, (View(random_images(1)),)))
    prototypes = output.distilled[0].prototypes
    assert prototypes is not None
    loss = output.logit_scale * (output.clean.image * output.text).sum() + (prototypes**2).sum()
    loss.backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_resnets_have_no_patches_to_fuse() -> None:
    resnet = {**TINY, "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 16, "head_width": 16}}
    with pytest.raises(ModelError, match=r"sd-tiny has no patches for a fusion .* choose a ViT"):
        build(config(), resnet)
    with pytest.raises(ModelError, match=r"set fusion\.kind"):
        build(config(fusion="none"))
    network = build(config("image", fusion="none"), resnet)
    prototypes = network.forward_student(batch(network)).distilled[0].prototypes
    assert prototypes is not None
    assert prototypes.shape == (4, 64)


def test_embeddings_are_unit_float32_under_autocast() -> None:
    network = build(config())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network.forward_student(batch(network, (View(random_images(1), Mix(SWAP, 0.7)),)))
    for vectors in (output.clean.image, output.text, output.distilled[0].image):
        assert vectors.dtype == torch.float32
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(4))
