"""Patches of a view that are hidden from the student: masked by a token, or dropped.

Flow: the loader draws the masks of a view, like its crops, from (seed, epoch, row, view) alone. The image tower
replaces masked patches by a learnt token, and does not process dropped patches. The teacher sees all patches.

Legend: B batch, h w patches along a side, P = h w patches, k visible patches.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.data.draws import KEEP_PATCHES, MASK, Floats, Integers, uniforms
from core.data.views.recipe import ViewRecipe

BLOCK_ATTEMPTS = 32  # attempts to place a block, before single patches complete the mask
MIN_BLOCK_PATCHES = 4  # BEiT: 16 of 196 patches; fewer here, for smaller grids
BLOCK_RATIO = (0.3, 1.0 / 0.3)  # range of a block's height / width (BEiT)

Grid = npt.NDArray[np.bool_]


def draw_masks(recipe: ViewRecipe, side: int, seed: int, epoch: Integers, rows: Integers, view: int) -> Tensor | None:
    """Mask (B, P) bool of views with ``side`` patches per side, True for masked patches; None if none is masked.

    A view is masked with probability ``recipe.mask``. A masked view has ``mask_share * P`` masked patches, rounded, but
    at least one masked and one visible patch.
    """
    if recipe.mask == 0:
        return None
    count = side * side
    draws = uniforms(1 + 4 * BLOCK_ATTEMPTS + count, seed, epoch, rows, view, MASK)  # (B, ...)
    hidden = min(max(1, round(recipe.mask_share * count)), count - 1)
    masks = np.zeros((len(draws), count), bool)
    for mask, row in zip(masks, draws, strict=True):
        if row[0] >= recipe.mask:
            continue
        if recipe.mask_kind == "blocks":
            _place_blocks(mask.reshape(side, side), hidden, row[1 : 1 + 4 * BLOCK_ATTEMPTS].reshape(BLOCK_ATTEMPTS, 4))
        order = np.argsort(row[1 + 4 * BLOCK_ATTEMPTS :])
        free = order[~mask[order]]
        mask[free[: hidden - int(mask.sum())]] = True
    return torch.from_numpy(masks)


def draw_visible(recipe: ViewRecipe, side: int, seed: int, epoch: Integers, rows: Integers, view: int) -> Tensor | None:
    """Ascending positions (B, k) int64 of the visible patches of views with ``side`` patches per side.

    Drawn uniformly without replacement. None if all patches are visible.
    """
    if recipe.keep == 1.0:
        return None
    draws = uniforms(side * side, seed, epoch, rows, view, KEEP_PATCHES)  # (B, P)
    order = np.argsort(draws, axis=1)[:, : max(1, round(recipe.keep * side * side))]
    return torch.from_numpy(np.sort(order, axis=1))


def _place_blocks(grid: Grid, hidden_count: int, draws: Floats) -> None:
    """Mask rectangles of ``grid`` (h, w) in place, at most ``hidden_count`` patches (BEiT, Bao et al. 2022, 2.3).

    ``draws`` (BLOCK_ATTEMPTS, 4): area, ratio, top and left of each rectangle.
    """
    side = len(grid)
    for area, ratio, top, left in draws.tolist():
        remaining = hidden_count - int(grid.sum())
        smallest = min(MIN_BLOCK_PATCHES, hidden_count)
        if remaining < smallest:
            return
        size = smallest + (remaining - smallest) * area
        shape = np.exp(np.log(BLOCK_RATIO[0]) + np.log(BLOCK_RATIO[1] / BLOCK_RATIO[0]) * ratio)
        height, width = (max(1, min(side, round(float(x)))) for x in (np.sqrt(size * shape), np.sqrt(size / shape)))
        y, x = int(top * (side - height + 1)), int(left * (side - width + 1))
        block = grid[y : y + height, x : x + width]
        if int((~block).sum()) <= remaining:
            block[:] = True
