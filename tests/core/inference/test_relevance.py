"""Relevance against a plain loop that keeps every map and the whole matrix."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from core.inference.relevance import relevance
from core.model.errors import ModelError
from core.model.network import Network
from core.model.towers.towers import build_towers, resolve_architecture

TEXT = "a small red heart"


def network_of(architecture: str, **vision: Any) -> Network:
    torch.manual_seed(0)
    config = resolve_architecture(architecture)
    config["vision_cfg"] = {**config["vision_cfg"], **vision}
    return Network(build_towers(config))


def image_for(network: Network) -> Tensor:
    side = network.image_size
    return torch.randint(0, 256, (3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def heads_of(attention: Any, query: Tensor, read: Tensor, causal: bool, maps: list[Tensor]) -> Tensor:
    """Multi-head attention of one sequence, a head at a time, whose maps (Q, L) are kept with their gradients."""
    width = attention.embed_dim
    weights = attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight
    if attention.in_proj_weight is not None:
        weights = attention.in_proj_weight.split(width)
    biases = attention.in_proj_bias.split(width)
    projected = [F.linear(x, w, b) for x, w, b in zip((query, read, read), weights, biases, strict=True)]
    size = width // attention.num_heads
    mixed = []
    for head in range(attention.num_heads):
        q, k, v = (part[:, head * size : (head + 1) * size] for part in projected)
        scores = q @ k.T / size**0.5
        if causal:
            scores = scores + torch.full_like(scores, float("-inf")).triu(1)
        made = scores.softmax(dim=1)
        made.retain_grad()
        maps.append(made)
        mixed.append(made @ v)
    out: Tensor = attention.out_proj(torch.cat(mixed, dim=1))
    return out


def walked(blocks: Any, x: Tensor, causal: bool) -> tuple[Tensor, list[Tensor]]:
    maps: list[Tensor] = []
    for block in blocks:
        read = block.ln_1(x)
        x = x + heads_of(block.attn, read, read, causal, maps)
        x = x + block.mlp(block.ln_2(x))
    return x, maps


def rolled(blocks: Any, maps: list[Tensor]) -> Tensor:
    """R after all blocks, (L, L)."""
    heads = blocks[0].attn.num_heads
    whole = torch.eye(maps[0].shape[1])
    for first in range(0, heads * len(blocks), heads):
        parts = [(one.grad * one.detach()).clamp(min=0) for one in maps[first : first + heads] if one.grad is not None]
        whole = whole + torch.stack(parts).mean(dim=0) @ whole
    return whole


@pytest.mark.parametrize(
    ("architecture", "vision"),
    [
        ("sd-tiny", {}),
        ("sd-tiny", {"pool_type": "avg"}),
        ("sd-coca-tiny", {}),
        ("sd-coca-tiny", {"attn_pooler_queries": 17}),
    ],
    ids=["class token", "mean", "attention pool", "a query a token"],
)
def test_relevances_match_a_plain_loop(architecture: str, vision: dict[str, Any]) -> None:
    network = network_of(architecture, **vision).eval()
    source_image, clip = image_for(network), network.towers.clip
    network.requires_grad_(False)  # of a frozen network too
    found = relevance(network, source_image, TEXT)
    network.requires_grad_(True)
    assert all(parameter.grad is None for parameter in network.parameters())

    visual, text = clip.visual, getattr(clip, "text", clip)
    x, maps = walked(
        visual.transformer.resblocks, visual._embeds(network.towers.normalise(source_image[None]))[0], False
    )
    pool, pooling = visual.attn_pool, []
    if pool is not None:
        x = heads_of(pool.attn, pool.ln_q(pool.query), pool.ln_k(x), False, pooling)
    x = visual.ln_post(x)
    pooled = x[1:].mean(dim=0) if visual.pool_type == "avg" else x[0]
    image = pooled @ visual.proj

    tokens = network.towers.tokenize([TEXT])[0]
    tokens = tokens[tokens != network.towers.pad_id]
    words = text.token_embedding(tokens) + text.positional_embedding[: len(tokens)]
    if pool is None:
        words, read = walked(text.transformer.resblocks, words, True)
        caption = text.ln_final(words)[-1] @ text.text_projection
    else:  # CoCa's class token has a test of its own: that of its tower
        caption, read = network.encode_texts(tokens[None])[0], []
    score = F.cosine_similarity(image, caption, dim=0)
    score.backward()  # type: ignore[no-untyped-call]

    assert found.cosine == pytest.approx(float(score.detach()), abs=1e-5)
    matrix = rolled(visual.transformer.resblocks, maps)
    if pool is not None:
        parts = [(one.grad * one.detach()).clamp(min=0) for one in pooling if one.grad is not None]
        mixed = matrix - torch.eye(len(matrix))  # equations 8 to 10
        read_of = torch.stack([row / row.sum() for row in mixed]) + torch.eye(len(matrix))
        patches = (torch.stack(parts).mean(dim=0) @ read_of).sum(dim=0)[1:]
    else:
        patches = (matrix[1:].mean(dim=0) if visual.pool_type == "avg" else matrix[0])[1:]
    assert torch.allclose(found.patches.flatten(), patches / patches.sum(), atol=1e-5)
    assert [word.text for word in found.words] == TEXT.split()
    assert sum(word.relevance for word in found.words) == pytest.approx(1, abs=1e-5)
    if read:
        carried = rolled(text.transformer.resblocks, read)[-1][1:-1]
        assert [word.relevance for word in found.words] == pytest.approx((carried / carried.sum()).tolist(), abs=1e-5)


def test_the_network_is_unchanged_afterwards() -> None:
    network = network_of("sd-tiny").train()
    source_image = image_for(network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first, second = relevance(network, source_image, TEXT), relevance(network, source_image, TEXT)
    assert torch.equal(first.patches, second.patches)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in network.modules())


def test_tokens_of_one_word_are_merged() -> None:
    network = network_of("sd-tiny")
    assert len(network.towers.tokenize(["antidisestablishmentarianism"])[0].nonzero()) > 3
    words = relevance(network, image_for(network), "antidisestablishmentarianism rocks").words
    assert [word.text for word in words] == ["antidisestablishmentarianism", "rocks"]
    assert relevance(network, image_for(network), "").words == ()


def test_a_resnet_is_refused_with_a_message() -> None:
    network = network_of("sd-tiny-resnet")
    with pytest.raises(ModelError, match="explanations need one of open_clip's own ViTs"):
        relevance(network, image_for(network), TEXT)
