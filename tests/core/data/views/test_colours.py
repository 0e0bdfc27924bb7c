"""Colour distortions against torchvision's own, image by image; and that each does what it is called."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from core.data.draws import uniforms
from core.data.views.colours import BLUR_SIDE, BLUR_SIGMA, DRAWS_PER_IMAGE, distort_colours, is_distorted
from core.data.views.recipe import ViewRecipe
from tests.core.data.samples import make_view

ALWAYS = ViewRecipe(jitter=1.0)
JITTER, GREY, BLUR, SOLARIZE = range(4)
STRENGTHS, SOFTNESS = slice(4, 8), 8


def pixels(count: int, side: int = 16, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_jitter_matches_torchvisions_four_adjustments_in_turn(seed: int) -> None:
    images, draws = pixels(6, seed=seed % 1000), uniforms(DRAWS_PER_IMAGE, seed, np.arange(6))
    found = distort_colours(images, ALWAYS, draws)
    for image, draw, mine in zip(images, draws, found, strict=True):
        bright, contrast, saturation, hue = draw[STRENGTHS]
        there = image.float() / 255.0
        there = F.adjust_brightness(there, 0.6 + 0.8 * bright)
        there = F.adjust_contrast(there, 0.6 + 0.8 * contrast)
        there = F.adjust_saturation(there, 0.8 + 0.4 * saturation)
        there = F.adjust_hue(there, 0.1 * (2 * hue - 1))
        assert (mine.float() - there * 255.0).abs().max() <= 1.0


def test_greyscale_blur_and_solarisation_match_torchvision() -> None:
    images, draws = pixels(3, 32), np.full((3, DRAWS_PER_IMAGE), 0.3)
    grey = distort_colours(images, ViewRecipe(greyscale=1.0), draws)
    assert (grey.float() - F.rgb_to_grayscale(images, 3).float()).abs().max() <= 1
    assert torch.equal(distort_colours(images, ViewRecipe(solarize=1.0), draws), F.solarize(images, 128.0))
    sigma = (BLUR_SIGMA[0] + (BLUR_SIGMA[1] - BLUR_SIGMA[0]) * 0.3) * 32 / BLUR_SIDE
    blurred = F.gaussian_blur(images.float(), [9, 9], [sigma])  # the further taps weigh nothing
    assert (distort_colours(images, ViewRecipe(blur=1.0), draws).float() - blurred).abs().max() <= 1.0


@pytest.mark.parametrize("field", ["jitter", "greyscale", "blur", "solarize"])
def test_each_operation_is_applied_with_its_probability(field: str) -> None:
    images, draws = pixels(1000, 64), uniforms(DRAWS_PER_IMAGE, 6, np.arange(1000))
    draws[:, SOFTNESS] = 0.99  # the weakest blur is too weak to be seen
    config = ViewRecipe(**{field: 0.25})
    assert is_distorted(config)
    assert not is_distorted(ViewRecipe())
    changed = (distort_colours(images, config, draws) != images).flatten(1).any(1)
    which = ["jitter", "greyscale", "blur", "solarize"].index(field)
    assert changed.tolist() == (draws[:, which] < 0.25).tolist()
    assert 0.2 < changed.float().mean() < 0.3


def test_augmentation_depends_on_image_and_view_and_not_on_the_batch() -> None:
    config = ViewRecipe(crop_min=1.0, jitter=1.0, greyscale=0.3, blur=0.5, solarize=0.3)
    several = list(pixels(5, 20))

    def view(rows: list[int], number: int = 0) -> Tensor:
        return make_view([several[row] for row in rows], config, 20, 0, 0, np.array(rows), number)

    together = view([0, 1, 2, 3, 4])
    for row in range(5):
        assert torch.equal(view([row])[0], together[row])
    assert not torch.equal(view([0, 1, 2, 3, 4], 1), together)
    assert torch.equal(several[0], pixels(5, 20)[0]), "the decoded images stay"
