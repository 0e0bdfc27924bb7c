"""Sampling: what may be drawn, how often, and the same again from a seed."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from core.inference.generation import independent
from core.inference.generation.caption import SpecialTokens
from core.inference.generation.captions import generate
from core.inference.generation.independent import sample_tokens, uniform
from core.spec.generation import GenerationSettings
from tests.core.inference.generation.references import (
    END,
    PAD,
    START,
    log_probabilities,
    processed,
    random_images,
    tiny_coca,
)

IDS = SpecialTokens(START, END, PAD)


def allowed(scores: list[float], top_k: int, top_p: float) -> dict[int, float]:
    """Tokens that may be drawn and their probabilities, by a plain loop."""
    order = sorted(range(len(scores)), key=lambda token: -scores[token])
    order = order[:top_k] if top_k else order
    weights = [math.exp(scores[token]) for token in order]
    kept, reached = {}, 0.0
    for token, weight in zip(order, weights, strict=True):
        if reached >= top_p:
            break
        kept[token] = weight / sum(weights)
        reached += kept[token]
    return {token: weight / sum(kept.values()) for token, weight in kept.items()}


@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (5, 1.0), (0, 0.7), (8, 0.6), (0, 1e-6), (99, 1.0)])
def test_samples_follow_the_distribution(top_k: int, top_p: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(independent, "_FIRST_TOKENS", 4)  # so that both ways to a nucleus are taken
    scores = torch.randn(40, generator=torch.Generator().manual_seed(1)) * 2
    expected = allowed(scores.tolist(), top_k, top_p)
    count = 20_000
    noise = (torch.arange(count, dtype=torch.float64) + 0.5) / count  # evenly spread: no sampling error
    drawn = Counter(sample_tokens(scores.expand(count, -1), noise, top_k, top_p).tolist())
    assert set(drawn) <= set(expected)
    for token, probability in expected.items():
        assert drawn[token] / count == pytest.approx(probability, abs=2e-4)


def test_extreme_noise_draws_possible_tokens() -> None:
    scores = torch.tensor([[-math.inf, 1.0, -math.inf, 0.0, -math.inf]]).expand(2, -1)
    drawn = sample_tokens(scores, torch.tensor([0.0, 1.0 - 1e-16], dtype=torch.float64))
    assert drawn.tolist() == [1, 3]


@pytest.mark.parametrize(
    "fields",
    [{}, {"top_k": 6, "temperature": 1.6}, {"top_p": 0.8, "temperature": 0.7}, {"no_repeat_ngram": 1, "min_tokens": 4}],
)
def test_sampled_captions_match_a_plain_loop(fields: dict[str, object]) -> None:
    chosen = GenerationSettings.model_validate(
        {"search": "sample", "captions": 3, "max_tokens": 8, "min_tokens": 0, "seed": 11, **fields}
    )
    model, images = tiny_coca(3), random_images(3, 4)
    noise = uniform(11, 3, 16)
    made = generate(model, images, chosen, ids=IDS)
    for image, captions in zip(images, made, strict=True):
        plain = []
        for candidate in range(3):
            prefix, total, ended = [START], 0.0, False
            while len(prefix) <= 8 and not ended:
                values = log_probabilities(model, image, prefix)
                scores = processed(values, prefix, chosen.min_tokens, 1.0, chosen.no_repeat_ngram)
                weights = allowed([score / chosen.temperature for score in scores], chosen.top_k, chosen.top_p)
                # With all tokens the numbers are laid out by token, else by probability.
                order = list(weights) if chosen.top_k or chosen.top_p < 1 else sorted(weights)
                left = float(noise[candidate, len(prefix) - 1])
                for token in order:
                    left -= weights[token]
                    if left < 0:
                        break
                total += values[token]
                ended = token in (END, PAD)
                if not ended:
                    prefix.append(token)
            plain.append((tuple(prefix[1:]), total, ended))
        assert sorted((c.tokens, c.ended) for c in captions) == sorted((tokens, ended) for tokens, _, ended in plain)
        assert sorted(c.log_probability for c in captions) == pytest.approx(sorted(t for _, t, _ in plain), abs=2e-3)
        assert [c.score for c in captions] == sorted((c.score for c in captions), reverse=True)


def test_the_same_seed_gives_the_same_captions() -> None:
    model, images = tiny_coca(3), random_images(6, 8)
    chosen = GenerationSettings(search="sample", captions=4, max_tokens=10, min_tokens=0, seed=5)
    together = generate(model, images, chosen, ids=IDS)
    assert generate(model, images, chosen, ids=IDS) == together
    other = generate(model, images, chosen.model_copy(update={"seed": 6}), ids=IDS)
    assert [[c.tokens for c in captions] for captions in other] != [
        [c.tokens for c in captions] for captions in together
    ]


def test_more_candidates_keep_the_first_ones() -> None:
    model, images = tiny_coca(3), random_images(2, 8)
    fewer = GenerationSettings(search="sample", captions=2, max_tokens=10, min_tokens=0, seed=5)
    more = fewer.model_copy(update={"captions": 5})
    for few, many in zip(generate(model, images, fewer, ids=IDS), generate(model, images, more, ids=IDS), strict=True):
        assert {caption.tokens for caption in few} <= {caption.tokens for caption in many}
        assert len(many) == 5


def test_the_callers_random_state_is_unchanged() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    model, images = tiny_coca(3), random_images(1)
    torch.manual_seed(3)
    generate(model, images, GenerationSettings(search="sample", max_tokens=5, min_tokens=0), ids=IDS)
    assert torch.equal(torch.rand(1), expected)
