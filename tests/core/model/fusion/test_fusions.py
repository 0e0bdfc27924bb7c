"""Each kind of fusion: against a plain loop, padding that does not matter, causality, nothing that is not wanted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from core.model.fusion import Fusion, MergedFusion, QueryFusion, SkipFusion, build_fusion
from core.model.fusion.blocks import Attention, FeedForward, SelfAttention
from core.model.towers.text import TextFeatures
from core.spec.config import FusionConfig

B, P, L = 3, 5, 6
LENGTHS = [4, 6, 2]  # words of each caption; the last one is the pooled one
KINDS = {
    "cross": FusionConfig(kind="cross-attention", layers=2, heads=2, width=8),
    "albef": FusionConfig(kind="cross-attention", layers=2, heads=2, width=8, text_attention=True),
    "uniter": FusionConfig(kind="merged", layers=2, heads=2, width=8),
    "vlmo": FusionConfig(kind="merged", layers=3, heads=2, width=8, feed_forward="per-modality", joint_layers=1),
    "mplug": FusionConfig(kind="skip", layers=4, heads=2, width=8, merge_every=2),
    "mplug-3": FusionConfig(kind="skip", layers=4, heads=2, width=8, merge_every=3),
    "blip2": FusionConfig(kind="queries", layers=3, heads=2, width=8, queries=4),
}


def built(name: str) -> Fusion:
    torch.manual_seed(2)
    fusion = build_fusion(KINDS[name], text_width=10, image_width=14)
    assert fusion is not None
    for parameter in fusion.parameters():  # norms and biases start where a mistake would not show
        nn.init.normal_(parameter, std=0.4)
    return fusion


def captions(seed: int = 0, padding: int = 0) -> TextFeatures:
    """Three captions; their padding holds anything."""
    words = torch.randn(B, L, 10, generator=torch.Generator().manual_seed(seed))
    words = torch.cat([words, torch.full((B, padding, 10), 7.0)], dim=1)
    last = torch.tensor(LENGTHS) - 1
    pooled = words[torch.arange(B), last]
    return TextFeatures(pooled, pooled, last, torch.arange(L + padding) > last[:, None], words)


def patches(seed: int = 1) -> Tensor:
    return torch.randn(B, P, 14, generator=torch.Generator().manual_seed(seed))


def attended(attention: Attention, states: Tensor, memory: Tensor, sees: list[list[int]]) -> Tensor:
    """One pair, one query, one head at a time: ``states`` (Q, F), ``memory`` (K, F); keys that each query sees."""
    width = states.shape[1] // attention.heads
    query = attention.query(states)
    key, value = attention.key_value(memory).chunk(2, dim=1)
    rows = []
    for q, keys in enumerate(sees):
        heads = []
        for h in range(attention.heads):
            part = slice(h * width, (h + 1) * width)
            scores = torch.stack([query[q, part] @ key[k, part] / width**0.5 for k in keys])
            shares = scores.exp() / scores.exp().sum()
            heads.append(sum(share * value[k, part] for share, k in zip(shares, keys, strict=True)))
        rows.append(torch.cat(heads))
    return attention.out(torch.stack(rows))


def itself(attention: SelfAttention, states: Tensor, sees: list[list[int]]) -> Tensor:
    normed = attention.norm(states)
    return states + attended(attention.attention, normed, normed, sees)


def sight(first: int, words: int, causal: bool) -> list[list[int]]:
    """Of ``first`` patches or queries, then words: whom each one sees."""
    ahead = list(range(first))
    everything = list(range(first + words))
    return [ahead if causal else everything] * first + [
        list(range(first + w + 1)) if causal else everything for w in range(words)
    ]


def by_hand(fusion: Fusion, source_image: Tensor, words: Tensor, causal: bool) -> tuple[Tensor, Tensor]:
    """The pair (F,) and each word (n, F) of one image (P, Wi) and its words without padding (n, Wt)."""
    image, text = fusion.norm_image(fusion.project_image(source_image)), fusion.project_text(words)
    n = len(text)
    if isinstance(fusion, QueryFusion):
        queries = fusion.queries
        for layer, block in enumerate(fusion.blocks):
            both = itself(block.attention, torch.cat([queries, text]), sight(len(queries), n, causal))
            queries, text = both[: len(queries)], both[len(queries) :]
            if layer % 2 == 0:
                seen = [list(range(P))] * len(queries)
                queries = queries + attended(block.cross.attention, block.cross.norm(queries), image, seen)
            queries, text = block.feed_forward(queries), block.feed_forward_words(text)
        return fusion.norm(queries).mean(dim=0), fusion.norm(text)
    if isinstance(fusion, MergedFusion):
        image, text = image + fusion.image_type, text + fusion.text_type
    for layer, block in enumerate(fusion.blocks):
        merged = isinstance(fusion, MergedFusion) or (
            isinstance(fusion, SkipFusion) and "mplug" in fusion.name and (layer + 1) % fusion.merged_every == 0
        )
        if merged:
            both = itself(block.attention, torch.cat([image, text]), sight(P, n, causal))
            of_image: FeedForward = block.feed_forward_image or block.feed_forward
            image, text = of_image(both[:P]), block.feed_forward(both[P:])
        else:
            if isinstance(fusion, SkipFusion):
                text = itself(block.attention, text, sight(0, n, causal))
            text = text + attended(block.cross.attention, block.cross.norm(text), image, [list(range(P))] * n)
            text = block.feed_forward(text)
    text = fusion.norm(text)
    return text[-1], text


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_fusion_matches_a_plain_loop(name: str, causal: bool) -> None:
    fusion, text, source_images = built(name), captions(), patches()
    fusion.name, fusion.merged_every = name, KINDS[name].merge_every  # type: ignore[assignment]
    pooled = fusion(source_images, text, causal=causal)
    every = fusion(source_images, text, every_word=True, causal=causal)
    assert pooled.words is None
    assert text.tokens is not None
    for b, n in enumerate(LENGTHS):
        pair, words = by_hand(fusion, source_images[b], text.tokens[b, :n], causal)
        for fused in (pooled, every):
            torch.testing.assert_close(fused.pooled[b], pair, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(every.words[b, :n], words, atol=1e-4, rtol=1e-4)


def test_only_the_pooled_word_goes_through_the_last_block() -> None:
    for name, block in (("uniter", "feed_forward"), ("mplug", "feed_forward"), ("mplug-3", "feed_forward")):
        fusion, rows = built(name), []
        last = fusion.blocks[-1]
        getattr(last, block).register_forward_pre_hook(lambda module, given, rows=rows: rows.append(given[0].shape[1]))
        fusion(patches(), captions())
        fusion(patches(), captions(), every_word=True)
        assert rows == [1, L]


def test_modality_experts_separate_words_and_patches() -> None:
    """VLMo: experts below, shared on top; shared everywhere in UNITER."""
    assert [block.feed_forward_image is None for block in built("vlmo").blocks] == [False, False, True]
    assert all(block.feed_forward_image is None for block in built("uniter").blocks)


def test_a_fusion_that_reads_words_declares_it() -> None:
    with pytest.raises(ValueError, match="needs every word's state"):
        built("uniter")(patches(), replace(captions(), tokens=None))
