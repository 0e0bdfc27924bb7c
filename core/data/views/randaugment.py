"""RandAugment (Cubuk et al. 2020) on a batch of uint8 pictures, with draws that are given and not taken.

Flow: ``views`` calls ``randaugment`` after the crop. Operations and strengths are torchvision's; pictures that drew the
same operation are distorted together, which is several times faster than one at a time.

Legend: B batch, S side.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from core.data.draws import Floats

STRONGEST = 30  # magnitudes are parts of 30
GREY = [128.0, 128.0, 128.0]  # what comes in from outside the picture
Shear = tuple[float, float]  # degrees along x and y
Operation = Callable[[Tensor, float, float], Tensor]  # (pictures, strength 0 to 1, sign) -> pictures


def _affine(images: Tensor, angle: float = 0.0, x: float = 0.0, y: float = 0.0, shear: Shear = (0.0, 0.0)) -> Tensor:
    moved: Tensor = F.affine(
        images,
        angle=angle,
        translate=[round(x * images.shape[-1]), round(y * images.shape[-2])],
        scale=1.0,
        shear=list(shear),
        interpolation=InterpolationMode.BILINEAR,
        fill=GREY,
    )
    return moved


def _shear(strength: float, sign: float) -> float:
    return float(np.degrees(np.arctan(0.3 * strength * sign)))


def _factor(strength: float, sign: float) -> float:
    return 1.0 + 0.9 * strength * sign


OPERATIONS: dict[str, Operation] = {
    "identity": lambda images, m, sign: images,
    "shear_x": lambda images, m, sign: _affine(images, shear=(_shear(m, sign), 0.0)),
    "shear_y": lambda images, m, sign: _affine(images, shear=(0.0, _shear(m, sign))),
    "translate_x": lambda images, m, sign: _affine(images, x=150.0 / 331.0 * m * sign),
    "translate_y": lambda images, m, sign: _affine(images, y=150.0 / 331.0 * m * sign),
    "rotate": lambda images, m, sign: _affine(images, angle=30.0 * m * sign),
    "brightness": lambda images, m, sign: F.adjust_brightness(images, _factor(m, sign)),
    "color": lambda images, m, sign: F.adjust_saturation(images, _factor(m, sign)),
    "contrast": lambda images, m, sign: F.adjust_contrast(images, _factor(m, sign)),
    "sharpness": lambda images, m, sign: F.adjust_sharpness(images, _factor(m, sign)),
    "posterize": lambda images, m, sign: F.posterize(images, 8 - round(4 * m)),
    "solarize": lambda images, m, sign: F.solarize(images, 255.0 * (1.0 - m)),
    "autocontrast": lambda images, m, sign: F.autocontrast(images),
    "equalize": lambda images, m, sign: F.equalize(images),
}


def randaugment(images: Tensor, draws: Floats, magnitude: int) -> Tensor:
    """Distorted ``images`` (B, 3, S, S) uint8.

    ``draws`` (B, operations, 2) in [0, 1): which operation, and its sign, for each picture and round.
    """
    operations = list(OPERATIONS.values())
    for turn in range(draws.shape[1]):
        which = (draws[:, turn, 0] * len(operations)).astype(int)
        positive = draws[:, turn, 1] < 0.5
        distorted = images.clone()
        for number, operation in enumerate(operations):
            for sign in (1.0, -1.0):
                members = torch.from_numpy(np.flatnonzero((which == number) & (positive == (sign > 0))))
                if len(members):
                    distorted[members] = operation(images[members], magnitude / STRONGEST, sign)
        images = distorted
    return images
