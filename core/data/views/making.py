"""Views of images, cut from decoded uint8 images according to a ``ViewRecipe``.

Flow: the loader makes the clean view and the additional views of student and teacher; ``centre_view`` is the view for
evaluation.

Random draws are functions of (seed, epoch, row, view) alone; see ``core.data.draws``.

Legend: B batch, S side of a view, h w of a decoded image, A attempts at a crop.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from core.data.draws import CROP, Floats, Integers, uniforms
from core.data.views.recipe import ViewRecipe

CROP_RATIO = (3 / 4, 4 / 3)  # range of a crop's width / height
CROP_ATTEMPTS = 10  # attempts at a crop that fits, before the central one is used (torchvision's RandomResizedCrop)

Boxes = npt.NDArray[np.int64]


def cut_view(
    images: Sequence[Tensor], recipe: ViewRecipe, size: int, seed: int, epoch: Integers, rows: Integers, view: int
) -> Tensor:
    """Random crops (B, 3, S, S) uint8 of ``images``, each (3, h, w) uint8, which are the ``rows`` (B,) of the data.

    ``view``: number of the view. ``epoch``: a single number, or one per row (B,). The result is channels-last, like
    decoded images: a transposition would take a third of the time of a crop, and GPUs do not need it.
    """
    shapes = np.array([image.shape[1:] for image in images], dtype=np.int64)
    draws = uniforms(2 * CROP_ATTEMPTS + 2, seed, epoch, rows, view, CROP)
    boxes = draw_crops(shapes, (recipe.crop_min, recipe.crop_max), draws)
    crops = torch.empty((len(images), 3, size, size), dtype=torch.uint8, memory_format=torch.channels_last)
    for crop, image, box in zip(crops, images, boxes.tolist(), strict=True):
        crop.copy_(_cut(image, box, size))
    return crops


def view_side(recipe: ViewRecipe, image_size: int, multiple: int = 1) -> int:
    """The side of a view in pixels: a share of ``image_size``, rounded to a positive multiple of ``multiple``."""
    if recipe.size == 1.0:
        return image_size
    return min(image_size, multiple * max(1, round(recipe.size * image_size / multiple)))


def draw_crops(shapes: Boxes, area: tuple[float, float], draws: Floats) -> Boxes:
    """Random crops (B, 4), as top, left, height and width, of images with the ``shapes`` (B, 2).

    ``area``: range of the crop's share of the image. ``draws`` (B, 2 A + 2): area and ratio of each attempt, then the
    position. If no attempt fits, the crop is the largest central crop with an allowed ratio.
    """
    height, width = shapes[:, :1].astype(float), shapes[:, 1:].astype(float)  # (B, 1)
    share = area[0] + (area[1] - area[0]) * draws[:, :CROP_ATTEMPTS]
    low, high = np.log(CROP_RATIO[0]), np.log(CROP_RATIO[1])
    ratio = np.exp(low + (high - low) * draws[:, CROP_ATTEMPTS : 2 * CROP_ATTEMPTS])
    tried_width = np.rint(np.sqrt(height * width * share * ratio))  # (B, A)
    tried_height = np.rint(np.sqrt(height * width * share / ratio))
    is_inside = (tried_width >= 1) & (tried_height >= 1) & (tried_width <= width) & (tried_height <= height)
    first = is_inside.argmax(1)[:, None]
    any_fits = is_inside.any(1)
    middle_width = np.minimum(width, np.rint(height * CROP_RATIO[1]))[:, 0]
    middle_height = np.minimum(height, np.rint(width / CROP_RATIO[0]))[:, 0]
    crop_width = np.where(any_fits, np.take_along_axis(tried_width, first, 1)[:, 0], middle_width)
    crop_height = np.where(any_fits, np.take_along_axis(tried_height, first, 1)[:, 0], middle_height)
    position = np.where(any_fits[:, None], draws[:, 2 * CROP_ATTEMPTS :], 0.5)
    top = np.floor(position[:, 0] * (height[:, 0] - crop_height + 1))
    left = np.floor(position[:, 1] * (width[:, 0] - crop_width + 1))
    return np.stack([top, left, crop_height, crop_width], 1).astype(np.int64)


def _cut(image: Tensor, box: Sequence[int], size: int) -> Tensor:
    """The box (top, left, height, width) of ``image``, resized to (3, S, S) with antialiasing."""
    top, left, height, width = box
    part = image[None, :, top : top + height, left : left + width]
    if not height == width == size:  # torch resizes contiguous channels-last images directly, but copies slices first
        part = resize_images(part.contiguous(memory_format=torch.channels_last), size)
    return part[0]


def resize_images(images: Tensor, size: int) -> Tensor:
    """uint8 ``images`` (B, 3, h, w) resized to (B, 3, S, S), antialiased. On a GPU via float: torch has no kernel."""
    if images.device.type == "cpu":
        return F.interpolate(images, (size, size), mode="bicubic", antialias=True)
    smooth = F.interpolate(images.float(), (size, size), mode="bicubic", antialias=True)
    return smooth.round_().clamp_(0, 255).to(torch.uint8)


def centre_view(image: Tensor, size: int) -> Tensor:
    """The view for evaluation, (3, S, S) uint8: the central square of ``image`` (3, h, w), resized."""
    height, width = image.shape[1:]
    side = min(height, width)
    return _cut(image, ((height - side) // 2, (width - side) // 2, side, side), size).contiguous()
