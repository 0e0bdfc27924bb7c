"""Distortions of a view after its crop, with precomputed random draws: flip, colour, RandAugment, erasing.

Flow: the loader draws a ``Distortion`` with each view. On a CPU the loader's processes apply the distortion; for a GPU
it is part of the batch, and the device applies it. The same draws give the same images up to rounding.

Legend: B batch, S side of a view.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from core.data.draws import AUGMENT, COLOUR, ERASE, FLIP, Floats, Integers, uniforms
from core.data.views.colours import DRAWS_PER_IMAGE, distort_colours, is_distorted
from core.data.views.randaugment import randaugment
from core.data.views.recipe import ViewRecipe
from core.ranks.transfer import to_device

ERASED_AREA = (0.02, 0.33)  # range of the erased share of a view (Zhong et al. 2020)
ERASED_RATIO = (0.3, 3.3)
GREY = 128  # value of erased pixels


@dataclass(frozen=True)
class Distortion:
    """The draws for one view of each image of a batch; None for distortions that ``recipe`` does not use."""

    recipe: ViewRecipe
    flip: Floats | None = None  # (B,)
    colours: Floats | None = None  # (B, DRAWS_PER_IMAGE)
    augment: Floats | None = None  # (B, operations, 2)
    erase: Floats | None = None  # (B, 5): chance, area, ratio, top, left

    def apply(self, images: Tensor) -> Tensor:
        """``images`` (B, 3, S, S) uint8 distorted, on their device; may modify ``images``."""
        if self.flip is not None:
            mirrored = to_device(torch.from_numpy(self.flip < 0.5), images.device)
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        if self.colours is not None:
            images = distort_colours(images, self.recipe, self.colours)
        if self.augment is not None:
            images = randaugment(images, self.augment, self.recipe.randaugment_magnitude)
        if self.erase is not None:
            _erase(images, self.recipe.erase, self.erase)
        return images

    def rows(self, start: int, stop: int) -> Distortion:
        """The draws for the images ``start`` to ``stop - 1``."""
        return Distortion(self.recipe, **{name: draws[start:stop] for name, draws in self._draws().items()})

    def join(self, *others: Distortion) -> Distortion:
        """The draws for these images, then for the images of ``others``, of the same view."""
        parts = [distortion._draws() for distortion in (self, *others)]
        return Distortion(self.recipe, **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})

    def _draws(self) -> dict[str, Floats]:
        arrays = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "recipe"}
        return {name: draws for name, draws in arrays.items() if draws is not None}


def draw_distortion(recipe: ViewRecipe, seed: int, epoch: Integers, rows: Integers, view: int) -> Distortion | None:
    """The distortion of one view of ``rows`` (B,), a function of the keys alone; None if ``recipe`` has none."""
    key = (seed, epoch, rows, view)
    operations = recipe.randaugment_ops
    distortion = Distortion(
        recipe,
        flip=uniforms(1, *key, FLIP)[:, 0] if recipe.flip else None,
        colours=uniforms(DRAWS_PER_IMAGE, *key, COLOUR) if is_distorted(recipe) else None,
        augment=uniforms(2 * operations, *key, AUGMENT).reshape(-1, operations, 2) if operations else None,
        erase=uniforms(5, *key, ERASE) if recipe.erase > 0 else None,
    )
    return distortion if distortion._draws() else None


def _erase(images: Tensor, probability: float, draws: Floats) -> None:
    """Erase a rectangle in place (Zhong et al. 2020). ``draws`` (B, 5): chance, area, ratio, top, left."""
    size = images.shape[-1]
    chance, area, ratio, top, left = draws.T  # (B,) each
    pixels = size * size * (ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * area)
    shape = np.exp(np.log(ERASED_RATIO[0]) + np.log(ERASED_RATIO[1] / ERASED_RATIO[0]) * ratio)
    height = np.clip(np.round(np.sqrt(pixels * shape)), 1, size) * (chance < probability)  # 0: nothing
    width = np.clip(np.round(np.sqrt(pixels / shape)), 1, size)
    rows = _pixels_between(np.floor(top * (size - height + 1)), height, images)
    columns = _pixels_between(np.floor(left * (size - width + 1)), width, images)
    images.masked_fill_(rows[:, None, :, None] & columns[:, None, None, :], GREY)


def _pixels_between(start: Floats, length: Floats, images: Tensor) -> Tensor:
    """(B, S) bool: the pixels from ``start`` (B,) to ``start + length``."""
    first, after = to_device(torch.from_numpy(np.stack([start, start + length])).float(), images.device)[..., None]
    pixels = torch.arange(images.shape[-1], device=images.device)
    inside: Tensor = (pixels >= first) & (pixels < after)
    return inside
