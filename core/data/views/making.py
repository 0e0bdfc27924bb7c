"""Views of pictures: what ``ViewConfig`` asks for, cut from decoded uint8 pictures.

Flow: the loader calls ``make_view`` for the clean view, each further student view and the teacher's; interpolation is
drawn here (``draw_mix``) and applied by the model after normalisation. ``centre_view`` is what evaluation sees.

Draws depend on (seed, epoch, row, view) alone, see ``draws``.

Legend: B batch, S side of a view, h w of a decoded picture.
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
from core.data.views.colours import DRAWS, distort_colours, is_distorted
from core.data.views.randaugment import randaugment
from core.spec.config import ViewConfig

RATIO = (3 / 4, 4 / 3)  # of a crop's width to its height
ATTEMPTS = 10  # at a crop that fits, before the middle is taken (torchvision's RandomResizedCrop)
ERASED_AREA = (0.02, 0.33)  # share of the view (Zhong et al. 2020)
ERASED_RATIO = (0.3, 3.3)
GREY = 128  # what is erased becomes
CROP, FLIP, AUGMENT, ERASE, MASK, COLOUR = range(6)  # what a draw is for

Boxes = npt.NDArray[np.int64]


def make_view(
    pictures: Sequence[Tensor], config: ViewConfig, size: int, seed: int, epoch: Integers, rows: Integers, view: int
) -> Tensor:
    """One view (B, 3, S, S) uint8 of ``pictures``, each (3, h, w) uint8, which are the ``rows`` (B,) of the data.

    ``view`` numbers the views of a picture, ``epoch`` (one for all, or (B,)) the times it is shown.
    """
    key = (seed, epoch, rows, view)
    shapes = np.array([picture.shape[1:] for picture in pictures], dtype=np.int64)
    boxes = draw_crops(shapes, (config.crop_min, config.crop_max), uniforms(2 * ATTEMPTS + 2, *key, CROP))
    images = torch.cat([_cut(picture, box, size) for picture, box in zip(pictures, boxes.tolist(), strict=True)])
    if config.flip:
        mirrored = torch.from_numpy(uniforms(1, *key, FLIP)[:, 0] < 0.5)
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    if is_distorted(config):
        images = distort_colours(images, config, uniforms(DRAWS, *key, COLOUR))
    if config.randaugment_ops:
        draws = uniforms(2 * config.randaugment_ops, *key, AUGMENT).reshape(len(pictures), -1, 2)
        images = randaugment(images, draws, config.randaugment_magnitude)
    if config.erase > 0:
        _erase(images, config.erase, uniforms(5, *key, ERASE))
    return images


def view_side(config: ViewConfig, image_size: int, multiple: int = 1) -> int:
    """Side of a view in pixels: its share of the model's input, rounded to ``multiple`` (a patch), at least one."""
    if config.size == 1.0:
        return image_size
    return min(image_size, multiple * max(1, round(config.size * image_size / multiple)))


def draw_crops(shapes: Boxes, area: tuple[float, float], draws: Floats) -> Boxes:
    """(B, 4) top, left, height, width of a crop within each of ``shapes`` (B, 2).

    ``area``: least and greatest share of the picture. ``draws`` (B, 2 ATTEMPTS + 2): area and ratio of each attempt,
    then the position. Where no attempt fits, the largest middle part with an allowed ratio is taken.
    """
    height, width = shapes[:, :1].astype(float), shapes[:, 1:].astype(float)  # (B, 1)
    share = area[0] + (area[1] - area[0]) * draws[:, :ATTEMPTS]
    low, high = np.log(RATIO[0]), np.log(RATIO[1])
    ratio = np.exp(low + (high - low) * draws[:, ATTEMPTS : 2 * ATTEMPTS])
    tried_width = np.rint(np.sqrt(height * width * share * ratio))  # (B, ATTEMPTS)
    tried_height = np.rint(np.sqrt(height * width * share / ratio))
    fits = (tried_width >= 1) & (tried_height >= 1) & (tried_width <= width) & (tried_height <= height)
    first = fits.argmax(1)[:, None]
    any_fits = fits.any(1)
    middle_width = np.minimum(width, np.rint(height * RATIO[1]))[:, 0]
    middle_height = np.minimum(height, np.rint(width / RATIO[0]))[:, 0]
    crop_width = np.where(any_fits, np.take_along_axis(tried_width, first, 1)[:, 0], middle_width)
    crop_height = np.where(any_fits, np.take_along_axis(tried_height, first, 1)[:, 0], middle_height)
    position = np.where(any_fits[:, None], draws[:, 2 * ATTEMPTS :], 0.5)
    top = np.floor(position[:, 0] * (height[:, 0] - crop_height + 1))
    left = np.floor(position[:, 1] * (width[:, 0] - crop_width + 1))
    return np.stack([top, left, crop_height, crop_width], 1).astype(np.int64)


def _cut(picture: Tensor, box: Sequence[int], size: int) -> Tensor:
    """(1, 3, S, S): the box (top, left, height, width) of ``picture`` resized, antialiased."""
    top, left, height, width = box
    part = picture[None, :, top : top + height, left : left + width]
    if height == width == size:
        return part.contiguous()
    return F.interpolate(part, (size, size), mode="bicubic", antialias=True)


def _erase(images: Tensor, probability: float, draws: Floats) -> None:
    """Erase a rectangle in place (Zhong et al. 2020). ``draws`` (B, 5): whether, area, ratio, top, left."""
    size = images.shape[-1]
    for image, (chance, area, ratio, top, left) in zip(images, draws.tolist(), strict=True):
        if chance >= probability:
            continue
        pixels = size * size * (ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * area)
        shape = np.exp(np.log(ERASED_RATIO[0]) + np.log(ERASED_RATIO[1] / ERASED_RATIO[0]) * ratio)
        height = min(size, max(1, round(float(np.sqrt(pixels * shape)))))
        width = min(size, max(1, round(float(np.sqrt(pixels / shape)))))
        y, x = int(top * (size - height + 1)), int(left * (size - width + 1))
        image[:, y : y + height, x : x + width] = GREY


def draw_mix(config: ViewConfig, generator: np.random.Generator, batch: int, size: int) -> Mix | None:
    """How a view is interpolated with itself; None when it is not. ``size``: its side in pixels.

    mixup: Zhang et al. 2018; cutmix: Yun et al. 2019, with the share that the clipped box leaves. Shares below one half
    are folded (MixMatch, Berthelot et al. 2019). "either" takes one of them with equal chance.
    """
    if config.mix == "none":
        return None
    blended = config.mix == "mixup" or (config.mix == "either" and generator.random() < 0.5)
    share = float(generator.beta(config.mix_alpha, config.mix_alpha))
    share = max(share, 1.0 - share)
    partner = torch.from_numpy(generator.permutation(batch))  # (B,)
    if blended:
        return Mix(partner, share)
    side = size * np.sqrt(1.0 - share)
    y, x = generator.uniform(0, size, 2)
    top, bottom = (int(np.clip(round(y + sign * side / 2), 0, size)) for sign in (-1, 1))
    left, right = (int(np.clip(round(x + sign * side / 2), 0, size)) for sign in (-1, 1))
    left_over = 1.0 - (bottom - top) * (right - left) / (size * size)
    return Mix(partner, left_over, (top, left, bottom, right))


def centre_view(picture: Tensor, size: int) -> Tensor:
    """(3, S, S) uint8 for evaluation: the middle square of ``picture`` (3, h, w), resized."""
    height, width = picture.shape[1:]
    side = min(height, width)
    return _cut(picture, ((height - side) // 2, (width - side) // 2, side, side), size)[0]
