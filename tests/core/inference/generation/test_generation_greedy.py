"""Cached decoding against open_clip's own forward on the whole prefix, token for token."""

from __future__ import annotations

import pytest
import torch

from core.inference.generation.caption import SpecialTokens
from core.inference.generation.captions import caption_steps, generate
from core.inference.generation.coca import CocaDecoder
from core.spec.generation import GenerationSettings
from tests.core.inference.generation.references import (
    END,
    PAD,
    START,
    greedy,
    random_images,
    tiny_coca,
)

IDS = SpecialTokens(START, END, PAD)
PLAIN = {"min_tokens": 0, "repetition": 1.0, "ngram": 0}
ARCHITECTURES = {
    "as published": {},
    "four heads": {"heads": 4},
    "no class token": {"cls": False},
    "all image tokens": {"pool": False},
    "layer scale": {"ls_init_value": 0.5},
    "norms of queries, keys, output, hidden": {
        "qk_norm": True, "scale_heads": True, "scale_attn_inner": True, "scale_attn": True, "scale_fc": True,
    },
}  # fmt: skip


def settings(**fields: object) -> GenerationSettings:
    return GenerationSettings.model_validate({"search": "greedy", "max_tokens": 12, "min_tokens": 0, **fields})


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_greedy_equals_uncached(name: str) -> None:
    model = tiny_coca(3, **ARCHITECTURES[name])
    images = random_images(7, 3)
    made = generate(model, images, settings(), ids=IDS)
    for image, captions in zip(images, made, strict=True):
        tokens, log_probability, ended = greedy(model, image, [START], 12, **PLAIN)
        assert [(c.tokens, c.ended) for c in captions] == [(tokens, ended)]
        assert captions[0].log_probability == pytest.approx(log_probability, abs=1e-3)


def test_captions_have_different_lengths_and_some_end() -> None:
    """Otherwise the test above would not see rows leave."""
    made = generate(tiny_coca(3), random_images(7, 3), settings(), ids=IDS)
    assert len({(len(c[0].tokens), c[0].ended) for c in made}) >= 3
    assert {c[0].ended for c in made} == {True, False}


@pytest.mark.parametrize("correct_mask", [False, True])
@pytest.mark.parametrize(
    "prompt",
    [[11, 12, 13], [3, PAD, 4], [6, PAD]],  # the padding's id is a word's too
)
def test_prompts_of_any_length(prompt: list[int], correct_mask: bool) -> None:
    model = tiny_coca(4)
    model.text.correct_cls_mask = correct_mask
    images = random_images(4, 3)
    made = generate(model, images, settings(), prompt=prompt, ids=IDS)
    for image, captions in zip(images, made, strict=True):
        tokens, log_probability, ended = greedy(model, image, [START, *prompt], 12, **PLAIN)
        assert (captions[0].tokens, captions[0].ended) == (tokens, ended)
        assert captions[0].log_probability == pytest.approx(log_probability, abs=1e-3)


def test_more_images_than_one_encoding_batch() -> None:
    model, images = tiny_coca(3), random_images(37, 6)
    together = generate(model, images, settings(), ids=IDS)
    apart = [captions for part in images.split(5) for captions in generate(model, part, settings(), ids=IDS)]
    assert [[c.tokens for c in captions] for captions in together] == [
        [c.tokens for c in captions] for captions in apart
    ]


def test_every_step_reports_and_images_become_final_once() -> None:
    model, images = tiny_coca(3), random_images(7, 3)
    steps = list(caption_steps(model, images, settings(), ids=IDS))
    assert [step.total for step in steps] == [12] * len(steps)
    assert [step.length for step in steps] == sorted(step.length for step in steps)
    assert (steps[0].length, steps[-1].length <= 12) == (1, True)
    assert list(caption_steps(model, images[:0], settings(), ids=IDS)) == []
    final = [image for step in steps for image in step.captions]
    assert sorted(final) == list(range(7))
    assert len({i for i, step in enumerate(steps) if step.captions}) > 1  # not all at the end


def test_breaking_off_restores_gradient_mode() -> None:
    steps = caption_steps(tiny_coca(0), random_images(2), settings(), ids=IDS)
    next(steps)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    steps.close()  # type: ignore[attr-defined]
    assert torch.is_grad_enabled()


def test_a_model_in_training_mode_is_used_in_eval_mode_and_restored() -> None:
    model, images = tiny_coca(0), random_images(2)
    expected = generate(model, images, settings(), ids=IDS)
    model.train()
    model.visual.ln_pre.eval()  # as a locked part is
    assert generate(model, images, settings(), ids=IDS) == expected
    assert model.visual.training
    assert model.visual.transformer.resblocks[0].training
    assert not model.visual.ln_pre.training


def test_weights_are_used_without_a_copy() -> None:
    """A decoder made before a training step captions with the weights after it."""
    model, images = tiny_coca(0), random_images(3)
    decoder = CocaDecoder(model)
    before = generate(decoder, images, settings(), ids=IDS)
    with torch.no_grad():
        for parameter in model.text_decoder.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(9)) * 0.3)
    after = generate(decoder, images, settings(), ids=IDS)
    assert after != before
    assert after == generate(model, images, settings(), ids=IDS)


def test_bfloat16_under_autocast() -> None:
    model, images = tiny_coca(0), random_images(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert CocaDecoder(model, torch.bfloat16).dtype is torch.bfloat16
        made = generate(model, images, settings(), ids=IDS)
    exact = [greedy(model, image, [START], 12, **PLAIN) for image in images]
    # Half the mantissa: values agree roughly, and most of the first tokens exactly.
    agree = [captions[0].tokens[:2] == tokens[:2] for captions, (tokens, _, _) in zip(made, exact, strict=True)]
    assert sum(agree) >= 3


def test_the_cache_has_its_computed_size() -> None:
    model, images = tiny_coca(0), random_images(3)
    state, _ = CocaDecoder(model).start(images, [START], rows_per_image=4, length=12)
    width, layers, float32 = 32, 2, 4
    seen = model._encode_image(images)[1].shape[1]
    own = 3 * 4 * 12 * width * 2 * (layers + layers) * float32  # text tower and decoder
    shared = 3 * seen * width * 2 * layers * float32  # once an image, whatever the beams
    assert state.nbytes == own + shared
