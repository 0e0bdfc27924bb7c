"""RandAugment (Cubuk et al. 2020) on a batch of uint8 images, by given draws.

Flow: ``views`` calls ``randaugment`` after the crop. Operations and strengths are torchvision's; images that drew the
same operation are distorted together, which is several times faster than one at a time.

Legend: B batch, S side.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample
from torchvision.transforms.functional import _get_inverse_affine_matrix
from torchvision.transforms.v2 import functional as F

from core.data.draws import Floats
from core.ranks.transfer import to_device

STRONGEST = 30  # magnitudes are parts of 30
GREY = 128.0  # fill value outside the image
Shear = tuple[float, float]  # degrees along x and y
Operation = Callable[[Tensor, float, float], Tensor]  # (images, strength 0 to 1, sign) -> images


def _affine(images: Tensor, angle: float = 0.0, x: float = 0.0, y: float = 0.0, shear: Shear = (0.0, 0.0)) -> Tensor:
    """``images`` (b, 3, S, S) uint8 transformed, bilinear, filled with grey. Equals torchvision's ``affine``, without
    its copies of constants to the GPU, for which the host waits.
    """
    height, width = images.shape[-2:]
    translate = [float(round(x * width)), float(round(y * height))]
    inverse = _get_inverse_affine_matrix([0.0, 0.0], angle, translate, 1.0, list(shear))
    theta = torch.tensor(inverse).view(2, 3).T.div(torch.tensor([0.5 * width, 0.5 * height]))  # (3, 2)
    across = torch.linspace((1.0 - width) * 0.5, (width - 1.0) * 0.5, width, device=images.device)
    down = torch.linspace((1.0 - height) * 0.5, (height - 1.0) * 0.5, height, device=images.device)
    places = torch.stack(
        [across.expand(height, -1), down[:, None].expand(-1, width), torch.ones_like(across).expand(height, -1)], -1
    )
    grid = (places.view(1, -1, 3) @ to_device(theta, images.device)[None]).view(1, height, width, 2)
    inside = torch.ones_like(images[:, :1], dtype=grid.dtype)
    warped = grid_sample(
        torch.cat([images.to(grid.dtype), inside], dim=1), grid.expand(len(images), -1, -1, -1), align_corners=False
    )
    warped, inside = warped[:, :-1], warped[:, -1:]
    return warped.sub_(GREY).mul_(inside).add_(GREY).round_().to(images.dtype)


def _sharpness(images: Tensor, factor: float) -> Tensor:
    """``images`` (b, 3, S, S) uint8 blended with their blurred interior, as torchvision's ``adjust_sharpness``."""
    if min(images.shape[-2:]) <= 2:
        return images
    sharp = images.float()
    inside = sharp[..., 1:-1, 1:-1]
    # A kernel of ones with a 5 in its middle, over 13. Sums of integers are exact, and no n / 13 is near a half.
    down = sharp[..., :-2, :] + sharp[..., 1:-1, :] + sharp[..., 2:, :]
    around = down[..., :-2] + down[..., 1:-1] + down[..., 2:]
    blurred = around.add_(inside, alpha=4.0).div_(13.0).round_()
    inside.add_(blurred.sub_(inside), alpha=1.0 - factor)
    return sharp.clamp_(0, 255).to(images.dtype)


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
    "sharpness": lambda images, m, sign: _sharpness(images, _factor(m, sign)),
    "posterize": lambda images, m, sign: F.posterize(images, 8 - round(4 * m)),
    "solarize": lambda images, m, sign: F.solarize(images, 255.0 * (1.0 - m)),
    "autocontrast": lambda images, m, sign: F.autocontrast(images),
    "equalize": lambda images, m, sign: F.equalize(images),
}


def randaugment(images: Tensor, draws: Floats, magnitude: int) -> Tensor:
    """Distorted ``images`` (B, 3, S, S) uint8.

    ``draws`` (B, rounds, 2) in [0, 1): the operation and its sign, for each image and round.
    """
    operations = list(OPERATIONS.values())
    for turn in range(draws.shape[1]):
        operation_numbers = (draws[:, turn, 0] * len(operations)).astype(int)
        positive = draws[:, turn, 1] < 0.5
        distorted = images.clone()
        for number, operation in enumerate(operations):
            for sign in (1.0, -1.0):
                selected = np.flatnonzero((operation_numbers == number) & (positive == (sign > 0)))
                if len(selected):
                    members = to_device(torch.from_numpy(selected), images.device)
                    distorted[members] = operation(images[members], magnitude / STRONGEST, sign)
        images = distorted
    return images
