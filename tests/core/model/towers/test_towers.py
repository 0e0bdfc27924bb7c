"""The towers against open_clip's own forward passes, trimmed captions against padded ones."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor

from core.model.towers.towers import ModelError, Towers, build_towers, list_architectures, resolve_architecture

CAPTIONS = ["a", "two dogs sleep on the mat", "woman firefighter: medium-dark skin tone!", "tree"]
VISION = {"image_size": 32, "layers": 3, "width": 32, "head_width": 16, "patch_size": 8}
TEXT = {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 3}


def config(vision: dict[str, Any] | None = None, text: dict[str, Any] | None = None, **rest: Any) -> dict[str, Any]:
    return {"embed_dim": 24, "vision_cfg": {**VISION, **(vision or {})}, "text_cfg": {**TEXT, **(text or {})}, **rest}


COCA = config(
    {"attentional_pool": True, "attn_pooler_queries": 5, "attn_pooler_heads": 2},
    {"embed_cls": True, "context_length": 19},
    multimodal_cfg={"context_length": 19, "width": 32, "heads": 2, "layers": 1},
    custom_text=True,
)
CONFIGS = {
    "clip": config(),
    "quick_gelu": config(quick_gelu=True),
    "one layer": config({"layers": 1}, {"layers": 1}),
    "layer scale": config({"ls_init_value": 0.1}, {"ls_init_value": 0.1}),
    "average pool": config({"pool_type": "avg"}),
    "norm after pool": config({"final_ln_after_pool": True, "no_ln_pre": True}),
    "custom blocks": config({"qk_norm": True, "scale_fc": True}, {"qk_norm": True}),
    "custom text": config(text={"pool_type": "eos", "eos_id": 49407}, custom_text=True),
    "siglip": config(
        {"pool_type": "avg"},
        {"no_causal_mask": True, "pool_type": "last", "proj_bias": True, "pad_id": 1},
        custom_text=True,
        init_logit_bias=-10.0,
    ),
    "first": config(text={"pool_type": "first", "no_causal_mask": True}, custom_text=True),
    "coca": COCA,
    "coca without queries": {**COCA, "vision_cfg": VISION},
    "resnet": config({"layers": [1, 1, 1, 1], "width": 16, "head_width": 16, "image_size": 32}),
}


def build(model_cfg: dict[str, Any]) -> Towers:
    """Towers in eval mode whose every parameter counts (open_clip starts some at zero)."""
    torch.manual_seed(0)
    towers = build_towers(copy.deepcopy(model_cfg))
    with torch.no_grad():
        for parameter in towers.clip.parameters():
            if parameter.numel() > 1:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return towers.eval()


def random_images(size: int, count: int = 4) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def trimmed(tokens: Tensor) -> Tensor:
    """Captions up to the last end of text; 49407 is CLIP's."""
    return tokens[:, : int((tokens == 49407).nonzero()[:, 1].max()) + 1]


def padded(towers: Towers, texts: list[str]) -> Tensor:
    tokens = towers.tokenize(texts)
    return tokens.masked_fill((tokens == 0).cumsum(1).bool(), towers.pad_id)


@pytest.mark.parametrize("name", CONFIGS)
def test_images_match_open_clip(name: str) -> None:
    towers = build(CONFIGS[name])
    images = random_images(towers.image_size)
    expected = towers.clip.encode_image(images, normalize=False)
    features = towers.encode_image(images)
    torch.testing.assert_close(features.pooled, expected, atol=1e-5, rtol=1e-5)
    assert features.before_projection.shape == (4, towers.image_width)
    assert (features.tokens is None) == (name == "resnet")
    if features.tokens is not None:
        assert features.tokens.shape[::2] == (4, towers.image_token_width)


@pytest.mark.parametrize("name", CONFIGS)
def test_texts_match_open_clip_trimmed_or_not(name: str) -> None:
    towers = build(CONFIGS[name])
    tokens = padded(towers, CAPTIONS)
    expected = towers.clip.encode_text(tokens, normalize=False)
    for shape, given in {"padded": tokens, "trimmed": trimmed(tokens)}.items():
        features = towers.encode_text(given)
        torch.testing.assert_close(features.pooled, expected, atol=2e-6, rtol=1e-5, msg=lambda m, s=shape: f"{s}: {m}")
        assert features.before_projection.shape == (4, towers.text_width)
    assert tokens.shape == (4, towers.context_length)
    assert trimmed(tokens).shape[1] < tokens.shape[1]
    full = padded(towers, ["a " * 30, "tree"])
    expected = towers.clip.encode_text(full, normalize=False)
    torch.testing.assert_close(towers.encode_text(full).pooled, expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["clip", "custom text", "coca", "custom blocks"])
def test_all_tokens_include_the_pooled_one(name: str) -> None:
    towers = build(CONFIGS[name])
    tokens = trimmed(padded(towers, CAPTIONS))
    features = towers.encode_text(tokens, all_tokens=True)
    assert features.tokens is not None
    assert features.tokens.shape[:2] == features.padding.shape
    assert towers.encode_text(tokens).tokens is None
    picked = features.tokens[torch.arange(4), features.pooled_position]
    torch.testing.assert_close(picked, features.before_projection)
    torch.testing.assert_close(picked, towers.encode_text(tokens).before_projection, atol=1e-6, rtol=1e-5)
    assert not features.padding[torch.arange(4), features.pooled_position].any()


def test_padding_starts_after_the_end_of_text() -> None:
    towers = build(CONFIGS["clip"])
    features = towers.encode_text(towers.tokenize(["a", "two dogs"]))
    assert features.pooled_position.tolist() == [2, 3]
    assert (~features.padding).sum(1).tolist() == [3, 4]


@pytest.mark.parametrize("name", ["clip", "quick_gelu", "layer scale", "coca"])
def test_gradients_match_open_clip(name: str) -> None:
    ours, theirs = build(CONFIGS[name]), build(CONFIGS[name])
    images, tokens = random_images(32), padded(ours, CAPTIONS)
    weight = torch.randn(4, 24, generator=torch.Generator().manual_seed(2))
    total = ours.encode_image(images).pooled * weight + ours.encode_text(trimmed(tokens)).pooled * weight
    total.sum().backward()
    expected = theirs.clip.encode_image(images, normalize=False) + theirs.clip.encode_text(tokens, normalize=False)
    (expected * weight).sum().backward()
    gradients = dict(ours.clip.named_parameters())
    for key, parameter in theirs.clip.named_parameters():
        if parameter.grad is not None:
            mine = gradients[key].grad
            assert mine is not None, key
            torch.testing.assert_close(mine, parameter.grad, atol=2e-5, rtol=1e-4, msg=lambda m, k=key: f"{k}: {m}")


def test_patch_tokens_are_the_input_of_the_last_attention() -> None:
    towers = build(CONFIGS["clip"])
    visual, read = towers.clip.visual, []
    visual.transformer.resblocks[-1].ln_1.register_forward_hook(lambda module, given, out: read.append(out))
    visual(random_images(32))
    features = towers.encode_image(random_images(32))
    torch.testing.assert_close(features.tokens, read[0][:, 1:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("trunk", ["test_vit", "test_resnet", "test_convnext"])
def test_timm_trunks(trunk: str) -> None:
    towers = build(config({"timm_model_name": trunk, "image_size": 160, "timm_pool": "", "timm_proj": "linear"}))
    assert not towers.training
    images = random_images(160, 2)
    features = towers.encode_image(images)
    torch.testing.assert_close(features.pooled, towers.clip.encode_image(images), atol=1e-5, rtol=1e-5)
    assert features.tokens is not None
    assert features.tokens.shape[::2] == (2, towers.image_token_width)
    assert features.before_projection.shape == (2, towers.image_width)


@pytest.mark.parametrize("name", ["clip", "coca", "resnet"])
def test_bfloat16_stays_near_float32(name: str) -> None:
    towers = build(CONFIGS[name])
    images, tokens = random_images(32), padded(towers, CAPTIONS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = towers.encode_image(images).pooled, towers.encode_text(tokens).pooled
    high = towers.encode_image(images).pooled, towers.encode_text(tokens).pooled
    for a, b in zip(low, high, strict=True):
        assert torch.nn.functional.cosine_similarity(a.float(), b).min() > 0.999


def test_patch_dropout_is_active_only_in_training() -> None:
    towers = build(config({"patch_dropout": 0.5}))
    images = random_images(32)
    assert towers.encode_image(images).tokens.shape[1] == 16  # type: ignore[union-attr]
    assert towers.train().encode_image(images).tokens.shape[1] == 8  # type: ignore[union-attr]


def test_normalise_matches_the_formula() -> None:
    towers = build(config(preprocess_cfg={"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}))
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    expected = [
        [
            [[(value / 255 - mean) / std for value in row] for row in colour]
            for colour, mean, std in zip(image, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), strict=True)
        ]
        for image in images.tolist()
    ]
    torch.testing.assert_close(towers.normalise(images), torch.tensor(expected), atol=1e-5, rtol=1e-5)
    assert towers.image_mean == pytest.approx((0.5, 0.4, 0.3))
    assert build(CONFIGS["clip"]).image_std == pytest.approx(open_clip.OPENAI_DATASET_STD)


def test_tokenize_matches_open_clip() -> None:
    towers = build(CONFIGS["clip"])
    tokens = towers.tokenize(CAPTIONS)
    assert tokens.dtype == torch.int64
    torch.testing.assert_close(tokens, open_clip.get_tokenizer("ViT-B-32", context_length=20)(CAPTIONS))
    text = {**CONFIGS["clip"]["text_cfg"], "tokenizer_kwargs": {"clean": "canonicalize"}}
    tokens = build(CONFIGS["clip"] | {"text_cfg": text}).tokenize(["A dog, a CAT!"])
    theirs = open_clip.SimpleTokenizer(clean="canonicalize", context_length=20)
    torch.testing.assert_close(tokens, theirs(["A dog, a CAT!"]))
    assert not torch.equal(tokens, towers.tokenize(["A dog, a CAT!"]))


def test_logit_scale_and_bias() -> None:
    towers = build(CONFIGS["siglip"])
    assert towers.logit_scale.item() == pytest.approx(1 / 0.07)
    assert towers.logit_bias is not None
    assert towers.logit_bias.item() == pytest.approx(-10.0)
    for start, end in ((9.0, 100.0), (-3.0, 1.0), (2.0, 7.389056)):
        with torch.no_grad():
            towers.clip.logit_scale.fill_(start)
        towers.clamp_logit_scale()
        assert towers.logit_scale.item() == pytest.approx(end, rel=1e-5)
    assert build(CONFIGS["clip"]).logit_bias is None


def test_our_architectures_build_and_are_listed() -> None:
    names = list_architectures()
    ours = ["sd-coca-demo", "sd-coca-tiny", "sd-demo", "sd-demo-resnet", "sd-digits", "sd-tiny", "sd-tiny-resnet"]
    assert names[: len(ours)] == ours
    assert {"ViT-B-32", "RN50", "coca_ViT-B-32"} <= set(names)
    for name in ours:
        towers = build_towers(resolve_architecture(name)).eval()
        assert towers.encode_image(torch.zeros(1, 3, towers.image_size, towers.image_size)).pooled.shape == (
            1,
            towers.embed_dim,
        )


def test_open_clips_configuration_is_a_copy() -> None:
    resolve_architecture("ViT-B-32")["vision_cfg"]["width"] = 1
    assert resolve_architecture("ViT-B-32")["vision_cfg"]["width"] == 768


@pytest.mark.parametrize(("wrong", "near"), [("vit-b-23", "ViT-B-32"), ("sd-dmeo", "sd-demo")])
def test_unknown_names_are_answered_with_near_ones(wrong: str, near: str) -> None:
    with pytest.raises(ModelError, match=f"no architecture '{wrong}'; did you mean .*{near}"):
        resolve_architecture(wrong)


def test_architectures_from_files(tmp_path: Path) -> None:
    bare, folder = tmp_path / "own.json", tmp_path / "saved"
    bare.write_text(json.dumps(CONFIGS["clip"]), encoding="utf-8")
    assert resolve_architecture(str(bare)) == CONFIGS["clip"]
    folder.mkdir()
    saved = {"model_cfg": CONFIGS["clip"], "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(saved), encoding="utf-8")
    assert build_towers(resolve_architecture(str(folder))).image_mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not JSON"), ("[]", "has no embed_dim, vision_cfg, text_cfg"), ('{"embed_dim": 3}', "has no vision_cfg")],
)
def test_invalid_architecture_files(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        resolve_architecture(str(path))
    with pytest.raises(ModelError, match=r"cannot read the architecture .*none\.json"):
        resolve_architecture(str(tmp_path / "none.json"))


@pytest.mark.parametrize(
    ("model_cfg", "message"),
    [
        (config({"depth": 3}), "depth"),
        (config({"image_size": [32, 64]}), "32 x 64 is not square"),
        (config({"timm_model_name": "no_such_trunk"}), "no_such_trunk"),
    ],
)
def test_architectures_that_cannot_be_built(model_cfg: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_towers(model_cfg)


def test_an_overlong_architecture_name_raises_a_user_error() -> None:
    with pytest.raises(ModelError, match="there is no architecture 'xxx") as caught:
        resolve_architecture("x" * 10_000_000)
    assert len(str(caught.value)) < 500


def test_an_architecture_must_be_a_small_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(ModelError, match="is a named pipe"):
        resolve_architecture(str(tmp_path / "pipe.json"))
    (tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(ModelError, match="nested more than 64 levels deep"):
        resolve_architecture(str(tmp_path / "deep.json"))
