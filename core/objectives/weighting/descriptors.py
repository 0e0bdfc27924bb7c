"""What an image looks like to no network: where it has which colours, and which way its edges run.

Flow: images as a network gets them -> **descriptors** -> ``core.objectives.weighting.words``.

A network that trained on wrong captions has features that fit them; these know of no caption. Three of the field's
oldest: a tiny image (Torralba et al. 2008, 80 million tiny images), a histogram of colours (Swain and Ballard 1991,
Color indexing; its root, as Arandjelovic and Zisserman 2012 compare histograms), and histograms of oriented gradients
(Dalal and Triggs 2005).

Legend: B images, N all of them, S their side, F numbers that describe one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 32  # pixels that are looked at
TINY = 8  # pixels of the tiny image
LEVELS = 5  # of each colour
CELLS, DIRECTIONS = 8, 4  # a side, of gradients; a gradient and its opposite are one
WIDTHS = (3 * TINY**2, LEVELS**3, DIRECTIONS * CELLS**2)


def describe(images: Tensor) -> Tensor:
    """(B, 3, S, S) uint8 of any side -> (B, F) float32: the tiny image, the histogram, the gradients."""
    small = F.adaptive_avg_pool2d(images.float() / 255, SIDE)  # (B, 3, 32, 32)
    parts = (F.adaptive_avg_pool2d(small, TINY).flatten(1), _colours(small), _gradients(small.mean(dim=1)))
    return torch.cat(parts, dim=1)


def unit_parts(described: Tensor) -> Tensor:
    """Descriptions (N, F), each of the three a unit vector of its own: how it deviates from their mean. (N, F)"""
    parts = (part - part.mean(dim=0) for part in described.split(WIDTHS, dim=1))
    return torch.cat([F.normalize(part, dim=1) for part in parts], dim=1)


def _colours(small: Tensor) -> Tensor:
    """The root of the share of pixels that have each colour: (B, 125)."""
    level = (small * LEVELS).long().clamp(max=LEVELS - 1)
    colour = ((level[:, 0] * LEVELS + level[:, 1]) * LEVELS + level[:, 2]).flatten(1)  # (B, pixels)
    count = small.new_zeros(len(small), LEVELS**3)
    return count.scatter_add_(1, colour, torch.ones_like(colour, dtype=small.dtype)).div_(colour.shape[1]).sqrt()


def _gradients(grey: Tensor) -> Tensor:
    """The root of the mean strength of the edges (B, 32, 32) of each direction in each cell: (B, 256)."""
    down, across = torch.zeros_like(grey), torch.zeros_like(grey)
    down[:, 1:-1], across[:, :, 1:-1] = grey[:, 2:] - grey[:, :-2], grey[:, :, 2:] - grey[:, :, :-2]
    turn = torch.atan2(down, across).remainder(math.pi) / math.pi
    direction = (turn * DIRECTIONS).long() % DIRECTIONS
    strength = grey.new_zeros(len(grey), DIRECTIONS, SIDE, SIDE)
    strength.scatter_(1, direction[:, None], torch.hypot(down, across)[:, None])
    return F.adaptive_avg_pool2d(strength, CELLS).flatten(1).sqrt()
