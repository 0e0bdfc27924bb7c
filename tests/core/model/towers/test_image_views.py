"""The image tower with smaller images and hidden patches; frozen parts; rates that fall layer by layer."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.model.errors import ModelError
from core.model.network import Network
from core.model.towers.freezing import layer_depths
from core.model.towers.towers import ImageFeatures, Towers, build_towers, list_architectures, resolve_architecture
from core.objectives.build import build_network
from core.spec.config import OptimConfig, RunConfig, validate
from core.spec.errors import UserError
from core.training.schedules import build_optimizer, set_rates
from tests.core.variants import variant_config

RESNET = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16}


def little(**vision: Any) -> dict[str, Any]:
    config = copy.deepcopy(resolve_architecture("sd-tiny"))
    config["text_cfg"]["vocab_size"] = 100
    config["vision_cfg"].update(vision)
    return config


def towers(seed: int = 0, **vision: Any) -> Towers:
    torch.manual_seed(seed)
    return build_towers(little(**vision)).eval()


def network(preset: str = "clip", model: dict[str, Any] | None = None, **changes: Any) -> Network:
    torch.manual_seed(0)
    raw = variant_config(preset).model_dump()
    for section, values in changes.items():
        raw[section].update(values)
    return build_network(RunConfig.model_validate(raw), model or little())


def random_images(count: int = 2, side: int = 32) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("side", [8, 24, 32])
def test_a_smaller_image_gets_the_interpolated_positions_of_the_plain_tower(side: int) -> None:
    ours = towers()
    images = random_images(side=side)
    got = ours.encode_image(images, patches=True)
    visual = ours.clip.visual
    positions = visual.positional_embedding
    grid = positions[1:].reshape(4, 4, -1).permute(2, 0, 1)[None]
    if side != 32:
        grid = F.interpolate(grid, (side // 8, side // 8), mode="bicubic", antialias=True)
    x = visual.conv1(images).flatten(2).permute(0, 2, 1)
    x = torch.cat([visual.class_embedding.expand(2, 1, -1), x], 1)
    x = x + torch.cat([positions[:1], grid[0].flatten(1).T])
    x = visual.ln_post(visual.transformer(visual.ln_pre(x)))
    torch.testing.assert_close(got.pooled, x[:, 0] @ visual.proj, atol=1e-5, rtol=1e-4)
    assert got.patches is not None
    torch.testing.assert_close(got.patches, x[:, 1:], atol=1e-5, rtol=1e-4)
    plain = ours.encode_image(images)
    assert plain.patches is None
    torch.testing.assert_close(plain.pooled, got.pooled, atol=1e-5, rtol=1e-4)
    assert plain.tokens is not None
    assert got.tokens is not None
    torch.testing.assert_close(plain.tokens, got.tokens, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("vision", [{}, RESNET])
def test_masked_patches_have_no_influence(vision: dict[str, Any]) -> None:
    ours = towers(**vision)
    ours.add_mask_token()
    mask = torch.zeros(2, 16, dtype=torch.bool)
    mask[0, 5] = mask[1, 10] = True
    images = random_images()
    hidden, seen = images.clone(), images.clone()
    hidden[0, :, 8:16, 8:16] = hidden[1, :, 16:24, 16:24] = 3.0
    seen[:, :, :8, :8] = 3.0

    def pooled(what: Tensor) -> Tensor:
        features: ImageFeatures = ours.encode_image(what, mask)
        return features.pooled

    assert torch.equal(pooled(hidden), pooled(images))
    assert not torch.allclose(pooled(seen), pooled(images), rtol=1e-4, atol=0)
    assert not torch.allclose(pooled(images), ours.encode_image(images).pooled, rtol=1e-4, atol=0)


def test_dropped_patches_have_no_influence_and_the_others_keep_their_positions() -> None:
    """Against the plain tower on a shorter sequence, each patch with its own position; the order does not matter."""
    ours, images = towers(), random_images()
    kept = torch.tensor([[15, 0, 5], [7, 8, 2]])
    visual, plain = ours.clip.visual, []
    for image, wanted in zip(images, kept.tolist(), strict=True):
        x = visual.conv1(image[None]).flatten(2).permute(0, 2, 1)
        tokens = [visual.class_embedding + visual.positional_embedding[0]]
        tokens += [x[0, patch] + visual.positional_embedding[1 + patch] for patch in sorted(wanted)]
        plain.append(visual.ln_post(visual.transformer(visual.ln_pre(torch.stack(tokens)[None])))[:, 0] @ visual.proj)
    got = ours.encode_image(images, patch_index=kept)
    torch.testing.assert_close(got.pooled, torch.cat(plain), atol=1e-5, rtol=1e-4)
    assert got.tokens is not None
    assert got.tokens.shape[1] == 3
    every = torch.arange(16).flip(0).expand(2, -1)
    whole = ours.encode_image(images)
    torch.testing.assert_close(ours.encode_image(images, patch_index=every).pooled, whole.pooled, atol=1e-5, rtol=1e-4)


def test_a_missing_mask_token_and_incompatible_sizes_are_refused() -> None:
    with pytest.raises(ModelError, match="no mask token"):
        towers().encode_image(random_images(), torch.ones(2, 16, dtype=torch.bool))
    resnet = little()
    resnet["vision_cfg"] = RESNET
    with pytest.raises(ModelError, match=r"only one image size; set views\.local\.size to 1"):
        network("silc", resnet)
    with pytest.raises(ModelError, match="masked_patches needs one of"):
        network("maskclip", resnet)
    with pytest.raises(ModelError, match=r"set views\.clean\.keep to 1"):
        network("flip", resnet)


def trained(module: nn.Module) -> set[str]:
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("which", ["none", "image", "text", "both"])
@pytest.mark.parametrize("architecture", ["sd-tiny", "sd-coca-tiny"])
def test_frozen_towers_keep_their_weights(which: str, architecture: str) -> None:
    model = copy.deepcopy(resolve_architecture(architecture))
    for part in {"text_cfg", "multimodal_cfg"} & model.keys():
        model[part]["vocab_size"] = 100
    student = network("clip", model, towers={"freeze": which})
    image = {name for name in dict(student.named_parameters()) if ".visual." in name}
    rest = {name for name in dict(student.named_parameters()) if "text_decoder" in name or "logit_" in name}
    text = dict(student.named_parameters()).keys() - image - rest
    frozen = {"none": set(), "image": image, "text": text, "both": image | text}[which]
    assert image
    assert text
    assert trained(student) == dict(student.named_parameters()).keys() - frozen
    groups = build_optimizer(OptimConfig(), student).param_groups
    assert sum(len(group["params"]) for group in groups) == len(trained(student))


def test_first_blocks_may_be_frozen_up_to_their_number() -> None:
    student = network(towers={"freeze_image_blocks": 1})
    frozen = dict(student.named_parameters()).keys() - trained(student)
    names = ("conv1", "class_embedding", "positional_embedding", "ln_pre", "resblocks.0.")
    visual = [name for name in dict(student.named_parameters()) if ".visual." in name]
    assert frozen == {name for name in visual if any(part in name.split(".visual.")[1] for part in names)}
    with pytest.raises(ModelError, match="cannot freeze 3 image blocks: the image tower has 2"):
        network(towers={"freeze_image_blocks": 3})
    with pytest.raises(UserError, match=r"towers\.freeze"):
        validate({"towers": {"freeze": "everything"}}, "it")


def test_batch_norm_statistics_of_a_frozen_resnet_do_not_change() -> None:
    resnet = little()
    resnet["vision_cfg"] = RESNET
    student = network("clip", resnet, towers={"freeze": "image"}).train()
    before = student.towers.clip.visual.bn1.running_mean.clone()
    student.encode_images(torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8))
    assert student.training
    assert torch.equal(student.towers.clip.visual.bn1.running_mean, before)


def test_learning_rates_decay_per_block() -> None:
    student = network("sd-clip-every-step")
    optimizer = build_optimizer(OptimConfig(layer_decay=0.5), student, layer_depths(student))
    set_rates(optimizer, 1.0, 0.2)
    rate = {id(one): group["lr"] for group in optimizer.param_groups for one in group["params"]}
    decayed = {id(one): group["weight_decay"] > 0 for group in optimizer.param_groups for one in group["params"]}
    assert len(rate) == len(list(student.parameters()))
    for name, parameter in student.named_parameters():
        if not name.startswith("towers."):
            wanted = 1.0
        elif "resblocks." in name:  # 2 blocks in each tower
            wanted = 0.5 ** (2 - int(name.split("resblocks.")[1].split(".")[0]))
        elif any(part in name for part in ("conv1", "embedding", "ln_pre")):
            wanted = 0.5**3
        else:
            wanted = 1.0
        assert rate[id(parameter)] == pytest.approx(wanted), name
        assert decayed[id(parameter)] == (parameter.ndim >= 2), name
    plain = build_optimizer(OptimConfig(), student)
    assert {group["scale"] for group in plain.param_groups} == {1.0}
    assert len(plain.param_groups) == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_architecture_of_open_clip_builds() -> None:
    """On the meta device, so that none takes memory. Text towers of other libraries need their files."""
    refused = {}
    for name in list_architectures():
        model = resolve_architecture(name)
        if "hf_model_name" in model["text_cfg"]:
            continue
        try:
            with torch.device("meta"):
                built = build_towers(model)
            assert built.patch_side >= 1
        except (ModelError, RuntimeError, NotImplementedError) as error:
            refused[name] = str(error)[:150]
    assert refused == {}


@pytest.mark.parametrize("vision", [{}, {"pool_type": "avg"}, {"attentional_pool": True, "attn_pooler_heads": 2}])
def test_the_embedding_of_a_patch_is_the_image_embedding_of_a_model_that_attends_only_to_it(
    vision: dict[str, Any],
) -> None:
    """Against open_clip's own forward pass with the last attention restricted to one patch."""
    ours, images = towers(**vision), random_images()
    visual = ours.clip.visual
    embedded = ours.embed_patches(images)
    assert embedded.shape == (2, 16, ours.embed_dim)
    x = visual.conv1(images).flatten(2).permute(0, 2, 1)
    x = torch.cat([visual.class_embedding.expand(2, 1, -1), x], dim=1) + visual.positional_embedding
    blocks = list(visual.transformer.resblocks)
    last = blocks[len(blocks) if visual.attn_pool is not None else len(blocks) - 1 :]
    states = visual.ln_pre(x)
    for block in blocks[: len(blocks) - len(last)]:
        states = block(states)
    for patch in (0, 5, 15):
        alone = states[:, 1 + patch : 2 + patch]  # (2, 1, width)
        for block in last:
            alone = block(alone)
        if visual.attn_pool is not None:
            pooled = visual.ln_post(visual.attn_pool(alone))[:, 0]
        else:
            pooled = visual.ln_post(alone)[:, 0]
        assert torch.allclose(embedded[:, patch], pooled @ visual.proj, atol=1e-5)


def test_other_towers_have_no_patch_embeddings() -> None:
    with pytest.raises(ModelError, match="only open_clip's own ViTs provide embeddings of patches"):
        towers(**RESNET).embed_patches(random_images())
