"""Colour jitter, greyscale, blur and solarisation of a batch, with precomputed random draws.

The distortions of SimCLR (Chen et al. 2020, appendix A), in the order of DINO (Caron et al. 2021): jitter, then
greyscale, blur and solarisation, each with a separate probability. Within the jitter the order is fixed (brightness,
contrast, saturation, hue). Each distortion is computed for the whole batch, with a strength for each image: on a GPU,
launching kernels takes longer than computing them.

Flow: ``core.data.views.distortion`` calls ``distort_colours`` after the crop.

Legend: B batch, S side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad
from torchvision.transforms.v2 import functional as F

from core.data.draws import Floats
from core.data.views.recipe import ViewRecipe
from core.ranks.transfer import to_device

Rows = npt.NDArray[Any]

DRAWS_PER_IMAGE = 9  # random numbers per image: four probabilities, four for the jitter, one for the blur
BLUR_SIGMA = (0.1, 2.0)  # range of the blur's sigma, in pixels of an image with side BLUR_SIDE
BLUR_SIDE = 224
BRIGHTNESS, CONTRAST, HUE = 0.4, 0.4, 0.1  # strengths of the jitter (DINO)
SOLARIZE_THRESHOLD = 128.0  # brighter values are inverted
GREYS = (0.2989, 0.587, 0.114)  # torchvision's weights of red, green and blue


def is_distorted(recipe: ViewRecipe) -> bool:
    """Whether views of ``recipe`` have colour distortions."""
    return max(recipe.jitter, recipe.greyscale, recipe.blur, recipe.solarize) > 0


def distort_colours(images: Tensor, recipe: ViewRecipe, draws: Floats) -> Tensor:
    """Distorted ``images`` (B, 3, S, S) uint8; ``draws`` (B, DRAWS_PER_IMAGE) in [0, 1)."""
    jitter, grey, blur, solarize, *strengths, softness = draws.T  # (B,) each
    out = images.float()
    _apply(
        out,
        jitter < recipe.jitter,
        lambda rows: _jitter(out[_index_tensor(rows, out)], recipe, np.stack(strengths, 1)[rows]),
    )
    _apply(out, grey < recipe.greyscale, lambda rows: _grey(out[_index_tensor(rows, out)]).expand(-1, 3, -1, -1))
    _apply(out, blur < recipe.blur, lambda rows: _blur(out[_index_tensor(rows, out)], softness[rows]))
    _apply(
        out,
        solarize < recipe.solarize,
        lambda rows: F.solarize(out[_index_tensor(rows, out)] / 255.0, SOLARIZE_THRESHOLD / 255.0) * 255.0,
    )
    return out.round_().clamp_(0, 255).to(torch.uint8)


def _apply(images: Tensor, is_selected: Rows, distort: Callable[[Rows], Tensor]) -> None:
    rows = np.flatnonzero(is_selected)
    if len(rows):
        images[_index_tensor(rows, images)] = distort(rows)


def _jitter(images: Tensor, recipe: ViewRecipe, draws: Floats) -> Tensor:
    """``draws`` (b, 4): brightness, contrast, saturation, hue."""

    def factors(column: int, strength: float) -> Tensor:
        low, high = max(0.0, 1.0 - strength), 1.0 + strength
        values = torch.from_numpy(low + (high - low) * draws[:, column]).float().view(-1, 1, 1, 1)
        return to_device(values, images.device)

    bright = (images * factors(0, BRIGHTNESS)).clamp(0, 255)
    middle = _grey(bright).mean(dim=(1, 2, 3), keepdim=True)
    out = middle.lerp(bright, factors(1, CONTRAST)).clamp(0, 255)
    out = _grey(out).lerp(out, factors(2, recipe.saturation)).clamp(0, 255)
    return _shift_hue(out, factors(3, HUE) - 1.0)


def _shift_hue(images: Tensor, shift: Tensor) -> Tensor:
    """``images`` (b, 3, S, S) with the hue of the HSV model shifted by ``shift`` (b, 1, 1, 1) turns."""
    red, green, blue = images.split(1, dim=1)
    value = images.amax(dim=1, keepdim=True)
    chroma = value - images.amin(dim=1, keepdim=True)
    scale = 1.0 / chroma.clamp_min(1e-6)  # grey pixels have no hue
    sixths = torch.where(
        value == red,
        (green - blue) * scale,
        torch.where(value == green, (blue - red) * scale + 2.0, (red - green) * scale + 4.0),
    )
    sixths = sixths + 6.0 * shift
    channels = []
    for offset in (5.0, 3.0, 1.0):
        distance = (sixths + offset).remainder_(6.0)
        channels.append(value - chroma * torch.minimum(distance, 4.0 - distance).clamp_(0.0, 1.0))
    return torch.cat(channels, dim=1)


def _grey(images: Tensor) -> Tensor:
    """Greyscale images, (b, 1, S, S)."""
    red, green, blue = images.split(1, dim=1)
    grey: Tensor = GREYS[0] * red + GREYS[1] * green + GREYS[2] * blue
    return grey


def _blur(images: Tensor, draws: Floats) -> Tensor:
    """Gaussian blur, with sigma scaled to the image's side. ``draws`` (b,)."""
    count, side = images.shape[0], images.shape[-1]
    sigmas = (BLUR_SIGMA[0] + (BLUR_SIGMA[1] - BLUR_SIGMA[0]) * draws) * side / BLUR_SIDE
    radius = max(1, math.ceil(3 * BLUR_SIGMA[1] * side / BLUR_SIDE))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigmas[:, None]) ** 2)  # (b, 2 radius + 1)
    weights = torch.from_numpy(taps / taps.sum(axis=1, keepdims=True)).float().repeat_interleave(3, dim=0)
    across = to_device(weights, images.device)[:, None, None, :]  # a filter for each channel of each image
    padded = pad(images, [radius] * 4, mode="reflect").view(1, 3 * count, side + 2 * radius, side + 2 * radius)
    blurred = conv2d(conv2d(padded, across, groups=3 * count), across.transpose(2, 3), groups=3 * count)
    return blurred.view_as(images)


def _index_tensor(rows: Rows, images: Tensor) -> Tensor:
    """``rows`` as an index tensor on the device of ``images``."""
    return to_device(torch.from_numpy(rows), images.device)
