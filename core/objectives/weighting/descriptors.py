"""Image descriptors without a network: a tiny image, a colour histogram and oriented gradients.

Flow: input images of a network -> **descriptors** -> ``core.objectives.weighting.words``.

The features of a network that was trained on mismatched captions fit these captions; descriptors do not depend on
captions. A descriptor consists of a tiny image (Torralba et al. 2008, 80 million tiny images), the square root of a
colour histogram (Swain and Ballard 1991, Color indexing; Arandjelovic and Zisserman 2012), and histograms of oriented
gradients (Dalal and Triggs 2005).

Legend: B images of a batch, N all images, S side, F numbers of a descriptor.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

REDUCED_SIDE = 32  # side in pixels of the reduced image
TINY_SIDE = 8  # side in pixels of the tiny image
COLOUR_LEVELS = 5  # levels of each colour in the histogram
CELLS, DIRECTIONS = 8, 4  # cells per side; opposite gradients share a direction
WIDTHS = (3 * TINY_SIDE**2, COLOUR_LEVELS**3, DIRECTIONS * CELLS**2)


def describe(images: Tensor) -> Tensor:
    """The descriptors (B, F) float32 of ``images`` (B, 3, S, S) uint8: tiny image, colour histogram, gradients."""
    small = F.adaptive_avg_pool2d(images.float() / 255, REDUCED_SIDE)  # (B, 3, 32, 32)
    parts = (F.adaptive_avg_pool2d(small, TINY_SIDE).flatten(1), _colours(small), _gradients(small.mean(dim=1)))
    return torch.cat(parts, dim=1)


def unit_parts(descriptors: Tensor) -> Tensor:
    """``descriptors`` (N, F) in which each of the three parts is centred and scaled to a unit vector."""
    parts = (part - part.mean(dim=0) for part in descriptors.split(WIDTHS, dim=1))
    return torch.cat([F.normalize(part, dim=1) for part in parts], dim=1)


def _colours(small: Tensor) -> Tensor:
    """The square root of the share of pixels of each colour, (B, 125)."""
    level = (small * COLOUR_LEVELS).long().clamp(max=COLOUR_LEVELS - 1)
    colours = ((level[:, 0] * COLOUR_LEVELS + level[:, 1]) * COLOUR_LEVELS + level[:, 2]).flatten(1)  # (B, pixels)
    counts = small.new_zeros(len(small), COLOUR_LEVELS**3)
    return counts.scatter_add_(1, colours, torch.ones_like(colours, dtype=small.dtype)).div_(colours.shape[1]).sqrt()


def _gradients(grey: Tensor) -> Tensor:
    """The root mean gradient magnitude of each direction in each cell of ``grey`` images (B, 32, 32); (B, 256)."""
    vertical, horizontal = torch.zeros_like(grey), torch.zeros_like(grey)
    vertical[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    horizontal[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    angle = torch.atan2(vertical, horizontal).remainder(math.pi) / math.pi
    direction = (angle * DIRECTIONS).long() % DIRECTIONS
    strength = grey.new_zeros(len(grey), DIRECTIONS, REDUCED_SIDE, REDUCED_SIDE)
    strength.scatter_(1, direction[:, None], torch.hypot(vertical, horizontal)[:, None])
    return F.adaptive_avg_pool2d(strength, CELLS).flatten(1).sqrt()
