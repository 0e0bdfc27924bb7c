"""Beam search against a plain reference over open_clip's own forward."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from core.inference.generation.caption import SpecialTokens
from core.inference.generation.captions import generate
from core.spec.generation import GenerationSettings
from tests.core.inference.generation.references import END, PAD, START, beam_search, random_images, tiny_coca

IDS = SpecialTokens(START, END, PAD)
PLAIN = {"min_tokens": 0, "repetition": 1.0, "ngram": 0}


def compare(seed: int, count: int, prompt: Sequence[int] = (), **fields: object) -> list[int]:
    """Ours equals the reference, for each image; returns how many captions each got."""
    chosen = GenerationSettings.model_validate(
        {"search": "beam", "max_tokens": 9, "min_tokens": 0, "beams": 4, "captions": 4, **fields}
    )
    model, images = tiny_coca(seed), random_images(count, seed)
    made = generate(model, images, chosen, prompt=prompt, ids=IDS)
    for image, captions in enumerate(made):
        expected = beam_search(
            model,
            images[image],
            [START, *prompt],
            chosen.max_tokens,
            chosen.beams,
            chosen.length_penalty,
            chosen.beam_stop,
            min_tokens=chosen.min_tokens,
            repetition=chosen.repetition_penalty,
            ngram=chosen.no_repeat_ngram,
        )[: chosen.captions]
        assert [(c.tokens, c.ended) for c in captions] == [(tokens, ended) for tokens, _, _, ended in expected]
        for caption, (_, log_probability, score, _) in zip(captions, expected, strict=True):
            assert caption.log_probability == pytest.approx(log_probability, abs=2e-3)
            assert caption.score == pytest.approx(score, abs=2e-3)
    return [len(captions) for captions in made]


@pytest.mark.parametrize("seed", [0, 4])
def test_beam_search(seed: int) -> None:
    assert min(compare(seed, 4)) >= 3  # the same words may have ended and been cut


@pytest.mark.parametrize("stop", ["enough", "certain"])
@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 0.7])
def test_end_tokens_and_length_penalties(stop: str, length_penalty: float) -> None:
    compare(3, 2, beam_stop=stop, length_penalty=length_penalty)


@pytest.mark.parametrize(
    "fields",
    [
        {"min_tokens": 5},
        {"no_repeat_ngram": 1, "repetition_penalty": 1.2, "min_tokens": 3},
    ],
)
def test_processors_in_beam_search(fields: dict[str, object]) -> None:
    compare(3, 3, **fields)


def test_a_prompt_begins_every_beam() -> None:
    compare(4, 3, prompt=[5, 9], beams=4)


def test_more_beams_than_tokens() -> None:
    compare(2, 2, beams=64, captions=64, max_tokens=2)
