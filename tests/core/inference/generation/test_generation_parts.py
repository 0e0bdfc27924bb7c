"""Settings, refusals, processors, products of few rows and caches, each against something plain."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from core.inference.generation.caption import SpecialTokens
from core.inference.generation.captions import generate
from core.inference.generation.coca import CocaDecoder
from core.inference.generation.processors import Processors
from core.model.towers.cache import CachePosition, KeyValueCache
from core.model.towers.decoder import MultimodalDecoder
from core.model.towers.transformer import AttentionMask
from core.spec.generation import GenerationError, GenerationSettings
from tests.core.inference.generation.references import END, PAD, START, VOCABULARY, processed, random_images, tiny_coca

IDS = SpecialTokens(START, END, PAD)


@pytest.mark.parametrize(
    ("fields", "remedy"),
    [
        ({"min_tokens": 9, "max_tokens": 8}, "lower min_tokens"),
        ({"search": "greedy", "captions": 2}, "set search to beam or sample"),
        ({"beams": 3, "captions": 4}, "raise beams to 4"),
        ({"temperature": 0.0}, "greater than 0"),
        ({"top_p": 1.5}, "less than or equal to 1"),
        ({"beam": 3}, "Extra inputs"),
    ],
)
def test_incompatible_settings(fields: dict[str, object], remedy: str) -> None:
    with pytest.raises(ValidationError, match=remedy):
        GenerationSettings.model_validate(fields)


@pytest.mark.parametrize(
    ("fields", "prompt", "ids", "remedy"),
    [
        ({"max_tokens": 40}, [], IDS, "set it to 14 or less"),
        ({"max_tokens": 2, "min_tokens": 0}, [1, 2], IDS, "shorten the prompt, or raise max_tokens"),
        ({"max_tokens": 9}, [VOCABULARY], IDS, "outside the vocabulary of 60"),
        ({"max_tokens": 9}, [], SpecialTokens(), "start token 49406 is outside the model's vocabulary of 60"),
        ({"max_tokens": 9}, [], SpecialTokens(5, 5, 0), "is also the end or padding"),
    ],
)
def test_refusals(fields: dict[str, object], prompt: list[int], ids: SpecialTokens, remedy: str) -> None:
    chosen = GenerationSettings.model_validate(fields)
    with pytest.raises(GenerationError, match=remedy):
        generate(tiny_coca(0), random_images(1), chosen, prompt=prompt, ids=ids)


@pytest.mark.parametrize("search", ["greedy", "beam", "sample"])
def test_a_diverged_model_is_named(search: str) -> None:
    model = tiny_coca(0)
    with torch.no_grad():
        model.text_decoder.text_projection.fill_(torch.nan)
    chosen = GenerationSettings.model_validate({"search": search, "max_tokens": 5})
    with pytest.raises(GenerationError, match="choose an earlier checkpoint"):
        generate(model, random_images(2), chosen, ids=IDS)


class _TextTower(nn.Module):
    """What a Hugging Face tower looks like from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = nn.Linear(2, 2)


def test_towers_that_cannot_be_cached() -> None:
    model = tiny_coca(0)
    with pytest.raises(GenerationError, match="no caption decoder; choose a CoCa"):
        CocaDecoder(model.visual)
    model.text = _TextTower()
    with pytest.raises(GenerationError, match="is not causal, so keys and values cannot be cached"):
        CocaDecoder(model)
    both_ways = tiny_coca(0)
    both_ways.text.attn_mask = None
    with pytest.raises(GenerationError, match="has no causal mask"):
        CocaDecoder(both_ways)


def test_image_tower_without_tokens() -> None:
    model = tiny_coca(0)
    model.visual.output_tokens = False
    with pytest.raises(GenerationError, match="set output_tokens in its vision_cfg"):
        generate(model, random_images(1), GenerationSettings(max_tokens=5), ids=IDS)


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    prefixes=st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=9), min_size=1, max_size=4),
    min_tokens=st.integers(0, 6),
    repetition=st.sampled_from([1.0, 0.5, 1.7]),
    ngram=st.integers(0, 4),
)
def test_processors_against_plain_loops(
    prefixes: list[list[int]], min_tokens: int, repetition: float, ngram: int
) -> None:
    scores = torch.randn(len(prefixes), VOCABULARY, generator=torch.Generator().manual_seed(0))
    before = scores.clone()
    got = Processors((END, PAD), min_tokens, repetition, ngram)(scores, prefixes)
    assert torch.equal(scores, before)
    for row, prefix, plain in zip(got.tolist(), prefixes, before.tolist(), strict=True):
        assert row == pytest.approx(processed(plain, prefix, min_tokens, repetition, ngram))


def test_a_caption_ends_when_every_token_is_suppressed() -> None:
    scores = Processors((4, 3), min_tokens=9, no_repeat_ngram=1)(torch.zeros(1, 5), [[0, 1, 2]])
    assert scores.tolist() == [[-math.inf] * 4 + [0.0]]


def test_layer_scale_in_half_precision() -> None:
    """Its scale of each block has the decoder's precision, so that the states keep it."""
    model = tiny_coca(1, ls_init_value=0.1)
    chosen = GenerationSettings(search="greedy", max_tokens=8, min_tokens=0)
    with torch.autocast("cpu", torch.bfloat16):
        made = generate(model, random_images(3), chosen, ids=IDS)
    assert [len(captions) for captions in made] == [1, 1, 1]


@pytest.mark.parametrize("text", [{}, {"ls_init_value": 0.1}])
def test_one_decoder_serves_training_and_cached_decoding(text: dict[str, float]) -> None:
    """The same states from all words at once, with gradients, and from one word after another."""
    decoder = MultimodalDecoder(tiny_coca(2, **text).text_decoder)
    words, image = torch.randn(3, 6, 32), torch.randn(3, 5, 32)
    whole = decoder.states(words, decoder.keys_values_of_layers(image))
    assert whole.requires_grad
    cache = KeyValueCache(2, 3, 2, 6, 16, torch.float32, torch.device("cpu"))
    pairs = list(decoder.keys_values_of_layers(image))
    for step in range(6):
        with torch.inference_mode():
            at = CachePosition(step + 1)
            state = decoder.states(words[:, step : step + 1], pairs, AttentionMask(), cache, at)
        torch.testing.assert_close(state, whole[:, step : step + 1].detach(), rtol=1e-4, atol=1e-4)
