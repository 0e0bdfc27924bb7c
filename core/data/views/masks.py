"""Patches of a view that the student does not see: hidden behind a token, or left out.

Flow: the loader draws a mask for each masked view, as it draws crops: by (seed, epoch, row, view) alone. The image
tower puts a learnt token where a patch is hidden; one that is left out it does not read at all. The teacher sees the
whole view.

Legend: B batch, h w patches along a side, P = h w patches, k kept ones.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.data.draws import Floats, Integers, uniforms
from core.data.views.purposes import KEEP, MASK
from core.spec.config import ViewConfig

BLOCKS = 32  # tried, before single patches fill up the rest
SMALLEST = 4  # patches in a block (BEiT: 16 of 196; smaller grids take what fits)
RATIO = (0.3, 1.0 / 0.3)  # of a block's height to its width (BEiT)

Grid = npt.NDArray[np.bool_]


def draw_masks(config: ViewConfig, side: int, seed: int, epoch: Integers, rows: Integers, view: int) -> Tensor | None:
    """(B, P) bool, True where a patch is hidden, of views with ``side`` patches a side; None when none is masked.

    With ``config.mask`` below 1 some views stay whole. A masked one hides exactly ``share * P`` patches, rounded, with
    the share drawn evenly between ``mask_min`` and ``mask_max``; at least one is hidden and one is seen.
    """
    if config.mask == 0:
        return None
    count = side * side
    draws = uniforms(2 + 4 * BLOCKS + count, seed, epoch, rows, view, MASK)  # (B, ...)
    share = config.mask_min + (config.mask_max - config.mask_min) * draws[:, 1]
    hidden = np.clip(np.rint(share * count), 1, count - 1).astype(int)
    masks = np.zeros((len(draws), count), bool)
    for mask, row, wanted in zip(masks, draws, hidden.tolist(), strict=True):
        if row[0] >= config.mask:
            continue
        if config.mask_kind == "blocks":
            _place_blocks(mask.reshape(side, side), wanted, row[2 : 2 + 4 * BLOCKS].reshape(BLOCKS, 4))
        order = np.argsort(row[2 + 4 * BLOCKS :])
        free = order[~mask[order]]
        mask[free[: wanted - int(mask.sum())]] = True
    return torch.from_numpy(masks)


def kept_count(config: ViewConfig, patches: int) -> int:
    """How many of a view's ``patches`` are kept: the share ``config.keep``, rounded, at least one."""
    return patches if config.keep == 1.0 else max(1, round(config.keep * patches))


def draw_kept(config: ViewConfig, side: int, seed: int, epoch: Integers, rows: Integers, view: int) -> Tensor | None:
    """(B, k) int64 positions of the patches that are kept, in order, of views with ``side`` patches a side.

    Evenly drawn without repetition. None where all are kept, or the teacher's attention says which.
    """
    if config.keep == 1.0 or config.keep_by == "attention":
        return None
    draws = uniforms(side * side, seed, epoch, rows, view, KEEP)  # (B, P)
    order = np.argsort(draws, axis=1)[:, : kept_count(config, side * side)]
    return torch.from_numpy(np.sort(order, axis=1))


def _place_blocks(grid: Grid, wanted: int, draws: Floats) -> None:
    """Hide rectangles in ``grid`` (h, w) in place, never more than ``wanted`` patches (BEiT, Bao et al. 2022, 2.3).

    ``draws`` (BLOCKS, 4): area, ratio, top and left of each.
    """
    side = len(grid)
    for area, ratio, top, left in draws.tolist():
        remaining = wanted - int(grid.sum())
        smallest = min(SMALLEST, wanted)
        if remaining < smallest:
            return
        size = smallest + (remaining - smallest) * area
        shape = np.exp(np.log(RATIO[0]) + np.log(RATIO[1] / RATIO[0]) * ratio)
        height, width = (max(1, min(side, round(float(x)))) for x in (np.sqrt(size * shape), np.sqrt(size / shape)))
        y, x = int(top * (side - height + 1)), int(left * (side - width + 1))
        block = grid[y : y + height, x : x + width]
        if int((~block).sum()) <= remaining:
            block[:] = True
