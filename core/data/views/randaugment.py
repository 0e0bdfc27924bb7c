"""RandAugment (Cubuk et al. 2020) on a batch of uint8 images, with precomputed random draws.

Flow: ``core.data.views.distortion`` calls ``randaugment`` after the crop. Operations and strengths are torchvision's.
Images that drew the same operation are distorted together, and all sheared, moved and rotated images in one call, which
is several times faster than one image at a time.

Legend: B batch, S side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import grid_sample
from torchvision.transforms.functional import _get_inverse_affine_matrix
from torchvision.transforms.v2 import functional as F

from core.data.draws import Floats
from core.ranks.transfer import to_device

T = TypeVar("T")

MAX_MAGNITUDE = 30
GREY = 128.0  # fill value outside the image


def _affine(images: Tensor, moves: Sequence[tuple[float, float, float, float, float]]) -> Tensor:
    """``images`` (b, 3, S, S) uint8, image i transformed by ``moves[i]``, bilinear, filled with grey. Equals
    torchvision's ``affine``, which also copies constants to the GPU, so that the host waits.
    """
    height, width = images.shape[-2:]
    distinct = sorted(set(moves))
    inverses = [
        _get_inverse_affine_matrix([0.0, 0.0], angle, [float(round(x * width)), float(round(y * height))], 1.0, shear)
        for angle, x, y, *shear in distinct
    ]
    theta = torch.tensor(inverses).view(-1, 2, 3).transpose(1, 2).div(torch.tensor([0.5 * width, 0.5 * height]))
    numbers = torch.tensor([distinct.index(move) for move in moves])
    across = torch.linspace((1.0 - width) * 0.5, (width - 1.0) * 0.5, width, device=images.device)
    down = torch.linspace((1.0 - height) * 0.5, (height - 1.0) * 0.5, height, device=images.device)
    places = torch.stack(
        [across.expand(height, -1), down[:, None].expand(-1, width), torch.ones_like(across).expand(height, -1)], -1
    )
    grids = (places.view(1, -1, 3) @ to_device(theta, images.device)).view(-1, height, width, 2)
    grid = grids[to_device(numbers, images.device)]
    inside = torch.ones_like(images[:, :1], dtype=grid.dtype)
    warped = grid_sample(torch.cat([images.to(grid.dtype), inside], dim=1), grid, align_corners=False)
    warped, inside = warped[:, :-1], warped[:, -1:]
    return warped.sub_(GREY).mul_(inside).add_(GREY).round_().to(images.dtype)


def _sharpness(images: Tensor, factor: float) -> Tensor:
    """``images`` (b, 3, S, S) uint8 blended with their blurred interior, as torchvision's ``adjust_sharpness``."""
    if min(images.shape[-2:]) <= 2:
        return images
    sharp = images.float()
    inside = sharp[..., 1:-1, 1:-1]
    # The kernel has a 5 in the middle and 1 elsewhere, divided by 13. Sums of integers are exact, and no n / 13 is near
    # a half.
    down = sharp[..., :-2, :] + sharp[..., 1:-1, :] + sharp[..., 2:, :]
    around = down[..., :-2] + down[..., 1:-1] + down[..., 2:]
    blurred = around.add_(inside, alpha=4.0).div_(13.0).round_()
    inside.add_(blurred.sub_(inside), alpha=1.0 - factor)
    return sharp.clamp_(0, 255).to(images.dtype)


def _shear(strength: float) -> float:
    return float(np.degrees(np.arctan(0.3 * strength)))


# Functions of a strength from -1 to 1: the angle in degrees, the shifts as shares of the side, the shears in degrees.
_MOVES: dict[str, Callable[[float], tuple[float, float, float, float, float]]] = {
    "shear_x": lambda strength: (0.0, 0.0, 0.0, _shear(strength), 0.0),
    "shear_y": lambda strength: (0.0, 0.0, 0.0, 0.0, _shear(strength)),
    "translate_x": lambda strength: (0.0, 150.0 / 331.0 * strength, 0.0, 0.0, 0.0),
    "translate_y": lambda strength: (0.0, 0.0, 150.0 / 331.0 * strength, 0.0, 0.0),
    "rotate": lambda strength: (30.0 * strength, 0.0, 0.0, 0.0, 0.0),
}
_ADJUSTMENTS: dict[str, Callable[[Tensor, float], Tensor]] = {  # the factor is 0.1 to 1.9
    "brightness": F.adjust_brightness,
    "color": F.adjust_saturation,
    "contrast": F.adjust_contrast,
    "sharpness": _sharpness,
}
_UNSIGNED: dict[str, Callable[[Tensor, float], Tensor]] = {  # the strength is 0 to 1
    "posterize": lambda images, strength: F.posterize(images, 8 - round(4 * strength)),
    "solarize": lambda images, strength: F.solarize(images, 255.0 * (1.0 - strength)),
    "autocontrast": lambda images, strength: F.autocontrast(images),
    "equalize": lambda images, strength: F.equalize(images),
}
OPERATIONS = ("identity", *_MOVES, *_ADJUSTMENTS, *_UNSIGNED)


def randaugment(images: Tensor, draws: Floats, magnitude: int) -> Tensor:
    """Distorted ``images`` (B, 3, S, S) uint8.

    ``draws`` (B, rounds, 2) in [0, 1): the operation and its sign, for each image and round.
    """
    strength = magnitude / MAX_MAGNITUDE
    for operation_draws, sign_draws in zip(draws[..., 0].T, draws[..., 1].T, strict=True):
        names = np.array(OPERATIONS)[(operation_draws * len(OPERATIONS)).astype(int)]
        signs = np.where(sign_draws < 0.5, 1.0, -1.0)
        moved, result = np.isin(names, list(_MOVES)), images.clone()
        moves = [_MOVES[name](strength * sign) for name, sign in zip(names[moved], signs[moved], strict=True)]
        _distort(result, images, moved, _affine, moves)
        for name, adjust in _ADJUSTMENTS.items():
            for sign in (1.0, -1.0):
                _distort(result, images, (names == name) & (signs == sign), adjust, 1.0 + 0.9 * strength * sign)
        for name, operation in _UNSIGNED.items():
            _distort(result, images, names == name, operation, strength)
        images = result
    return images


def _distort(
    result: Tensor, images: Tensor, selected: npt.NDArray[np.bool_], operation: Callable[[Tensor, T], Tensor], value: T
) -> None:
    """Write ``operation(image, value)`` into ``result`` for each of the ``selected`` images."""
    if selected.any():
        rows = to_device(torch.from_numpy(np.flatnonzero(selected)), images.device)
        result[rows] = operation(images[rows], value)
