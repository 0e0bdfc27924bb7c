"""The figure for exactness: coca_ViT-B-32, three initialisations, 200 random images each. Run with ``-m slow``."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from core.inference.generation.captions import generate
from core.spec.generation import GenerationSettings
from tests.benchmarks.caption import BEAM, GREEDY, IDS, random_coca, random_images, share_of_same

NEAR_TIE = 1e-4  # logits are of the order of 1; two computations of the same sum differ by about 1e-6


def choices_of_module(model: nn.Module, images: Tensor, texts: Tensor) -> Tensor:
    """Logits of the module's own forward on whole captions: (B, T - 1, V)."""
    with torch.no_grad():
        logits: Tensor = model(images, texts)["logits"]
    return logits


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_greedy_tokens_match_the_module(seed: int) -> None:
    """Each token is the module's likeliest after the tokens before it: by induction, what uncached decoding gives."""
    model, images = random_coca(seed), random_images(200, seed)
    for batch in images.split(8):
        captions = [made[0] for made in generate(model, batch, GREEDY)]
        longest = max(len(caption.tokens) for caption in captions)
        rows = [[IDS.start, *c.tokens, IDS.end, *[IDS.end] * (longest - len(c.tokens))] for c in captions]
        logits = choices_of_module(model, batch, torch.tensor(rows))
        logits[:, :4, [IDS.end, IDS.pad]] = -torch.inf  # min_tokens
        for caption, row in zip(captions, logits, strict=True):
            said = torch.tensor([*caption.tokens, *([IDS.end] if caption.ended else [])])
            best = row[: len(said)].amax(dim=-1)
            chosen = row[: len(said)].gather(1, said[:, None])[:, 0]
            assert bool((chosen >= best - NEAR_TIE).all())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("settings", [GREEDY, BEAM], ids=["greedy", "beam"])
def test_captions_equal_uncached_decoding(seed: int, settings: GenerationSettings) -> None:
    assert share_of_same(random_coca(seed), random_images(3, seed + 10), settings) == 1.0
