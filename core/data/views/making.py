"""Views of images, cut from decoded uint8 images according to a ``ViewRecipe``.

Flow: the loader makes the clean view, each additional student view and the teacher's; interpolation is drawn here
(``draw_mix``) and applied by the model after normalisation. ``centre_view`` is the view for evaluation.

Draws depend on (seed, epoch, row, view) alone, see ``core.data.draws``.

Legend: B batch, S side of a view, h w of a decoded image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from core.data.batch import Mix
from core.data.draws import Floats, Integers, uniforms
from core.data.views.distortion import draw_distortion
from core.data.views.purposes import CROP
from core.data.views.recipe import ViewRecipe

RATIO = (3 / 4, 4 / 3)  # of a crop's width to its height
ATTEMPTS = 10  # at a crop that fits, before the middle is taken (torchvision's RandomResizedCrop)

Boxes = npt.NDArray[np.int64]


def make_view(
    images: Sequence[Tensor], recipe: ViewRecipe, size: int, seed: int, epoch: Integers, rows: Integers, view: int
) -> Tensor:
    """One view (B, 3, S, S) uint8 of ``images``, each (3, h, w) uint8, which are the ``rows`` (B,) of the data.

    ``view``: number of the view; ``epoch``: one for all, or (B,).
    """
    crops = cut_view(images, recipe, size, seed, epoch, rows, view).contiguous()
    distortion = draw_distortion(recipe, seed, epoch, rows, view)
    return crops if distortion is None else distortion.apply(crops)


def cut_view(
    images: Sequence[Tensor], recipe: ViewRecipe, size: int, seed: int, epoch: Integers, rows: Integers, view: int
) -> Tensor:
    """The crops of ``make_view``, without distortion.

    In channels-last layout, as decoded images: a transposition would take a third of the time of a crop, and a GPU does
    not need it.
    """
    shapes = np.array([image.shape[1:] for image in images], dtype=np.int64)
    draws = uniforms(2 * ATTEMPTS + 2, seed, epoch, rows, view, CROP)
    boxes = draw_crops(shapes, (recipe.crop_min, recipe.crop_max), draws)
    crops = torch.empty((len(images), 3, size, size), dtype=torch.uint8, memory_format=torch.channels_last)
    for crop, image, box in zip(crops, images, boxes.tolist(), strict=True):
        crop.copy_(_cut(image, box, size))
    return crops


def view_side(recipe: ViewRecipe, image_size: int, multiple: int = 1) -> int:
    """Side of a view in pixels: its share of the model's input, rounded to ``multiple`` (a patch), at least one."""
    if recipe.size == 1.0:
        return image_size
    return min(image_size, multiple * max(1, round(recipe.size * image_size / multiple)))


def draw_crops(shapes: Boxes, area: tuple[float, float], draws: Floats) -> Boxes:
    """(B, 4) top, left, height, width of a crop within each of ``shapes`` (B, 2).

    ``area``: smallest and largest share of the image. ``draws`` (B, 2 ATTEMPTS + 2): area and ratio of each attempt,
    then the position. If no attempt fits, the crop is the largest central one with an allowed ratio.
    """
    height, width = shapes[:, :1].astype(float), shapes[:, 1:].astype(float)  # (B, 1)
    share = area[0] + (area[1] - area[0]) * draws[:, :ATTEMPTS]
    low, high = np.log(RATIO[0]), np.log(RATIO[1])
    ratio = np.exp(low + (high - low) * draws[:, ATTEMPTS : 2 * ATTEMPTS])
    tried_width = np.rint(np.sqrt(height * width * share * ratio))  # (B, ATTEMPTS)
    tried_height = np.rint(np.sqrt(height * width * share / ratio))
    is_inside = (tried_width >= 1) & (tried_height >= 1) & (tried_width <= width) & (tried_height <= height)
    first = is_inside.argmax(1)[:, None]
    any_fits = is_inside.any(1)
    middle_width = np.minimum(width, np.rint(height * RATIO[1]))[:, 0]
    middle_height = np.minimum(height, np.rint(width / RATIO[0]))[:, 0]
    crop_width = np.where(any_fits, np.take_along_axis(tried_width, first, 1)[:, 0], middle_width)
    crop_height = np.where(any_fits, np.take_along_axis(tried_height, first, 1)[:, 0], middle_height)
    position = np.where(any_fits[:, None], draws[:, 2 * ATTEMPTS :], 0.5)
    top = np.floor(position[:, 0] * (height[:, 0] - crop_height + 1))
    left = np.floor(position[:, 1] * (width[:, 0] - crop_width + 1))
    return np.stack([top, left, crop_height, crop_width], 1).astype(np.int64)


def _cut(image: Tensor, box: Sequence[int], size: int) -> Tensor:
    """(3, S, S): the box (top, left, height, width) of ``image`` resized, antialiased."""
    top, left, height, width = box
    part = image[None, :, top : top + height, left : left + width]
    if not height == width == size:  # torch resizes contiguous channels-last images directly, but copies slices first
        part = resize_images(part.contiguous(memory_format=torch.channels_last), size)
    return part[0]


def resize_images(images: Tensor, size: int) -> Tensor:
    """uint8 ``images`` (B, 3, h, w) at (B, 3, S, S), antialiased; only a CPU resizes integers."""
    if images.device.type == "cpu":
        return F.interpolate(images, (size, size), mode="bicubic", antialias=True)
    smooth = F.interpolate(images.float(), (size, size), mode="bicubic", antialias=True)
    return smooth.round_().clamp_(0, 255).to(torch.uint8)


def draw_mix(recipe: ViewRecipe, generator: np.random.Generator, batch: int, size: int) -> Mix | None:
    """How a view is interpolated with itself; None when it is not. ``size``: its side in pixels.

    mixup: Zhang et al. 2018; cutmix: Yun et al. 2019, with the share recomputed from the clipped box. Shares below one
    half are folded (MixMatch, Berthelot et al. 2019). "either": one of both, with equal probability.
    """
    if recipe.mix == "none":
        return None
    blended = recipe.mix == "mixup" or (recipe.mix == "either" and generator.random() < 0.5)
    share = float(generator.beta(recipe.mix_alpha, recipe.mix_alpha))
    share = max(share, 1.0 - share)
    partner = torch.from_numpy(generator.permutation(batch))  # (B,)
    if blended:
        return Mix(partner, share)
    side = size * np.sqrt(1.0 - share)
    y, x = generator.uniform(0, size, 2)
    top, bottom = (int(np.clip(round(y + sign * side / 2), 0, size)) for sign in (-1, 1))
    left, right = (int(np.clip(round(x + sign * side / 2), 0, size)) for sign in (-1, 1))
    share = 1.0 - (bottom - top) * (right - left) / (size * size)
    return Mix(partner, share, (top, left, bottom, right))


def centre_view(image: Tensor, size: int) -> Tensor:
    """(3, S, S) uint8 for evaluation: the central square of ``image`` (3, h, w), resized."""
    height, width = image.shape[1:]
    side = min(height, width)
    return _cut(image, ((height - side) // 2, (width - side) // 2, side, side), size).contiguous()
