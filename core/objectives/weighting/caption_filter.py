"""The caption filter: pairs that are dropped before training, by their captions' words and how their images look.

Flow: the training images, each looked at once, and their captions -> **caption filter** -> the rows that
``core.training.assembly`` keeps from the loader. No network is asked.
"""

from __future__ import annotations

from contextlib import closing

import torch
from torch import Tensor

from core.data.dataset import Log, PairDataset, Progress
from core.data.loader import evaluation_batches
from core.data.pairs import Pairs
from core.objectives.weighting.descriptors import WIDTHS, describe, unit_parts
from core.objectives.weighting.words import clean_probability
from core.spec.config import RunConfig
from core.spec.errors import UserError

_BATCH = 64
_SIDE = 96  # pixels of an image that are looked at


def left_out(config: RunConfig, dataset: Pairs, progress: Progress | None, log: Log | None) -> Tensor | None:
    """Which rows (N,) bool of the training data are likelier mismatched than clean; None without ``caption_filter``.

    The same in each start of a run and on each rank. UserError for shards, whose rows are never all at hand, where some
    rows are unlabelled, and where fewer than a batch are kept.
    """
    if not config.noise.caption_filter:
        return None
    if not isinstance(dataset, PairDataset):
        raise UserError("noise.caption_filter needs all pairs at once, and shards are read in parts; set it to false.")
    if config.data.unlabelled_ratio > 0:
        raise UserError(
            "noise.caption_filter cannot judge unlabelled rows; set it to false or data.unlabelled_ratio to 0."
        )
    doubted = row_chances(dataset, progress) < 0.5
    kept = len(dataset) - int(doubted.sum())
    if kept < config.optim.batch_size:
        raise UserError(
            f"noise.caption_filter leaves {kept} of {len(dataset)} pairs of {dataset.origin}, less than a batch of "
            f"{config.optim.batch_size}; set it to false."
        )
    if log is not None:
        log(f"the caption filter dropped {len(dataset) - kept} of {len(dataset)} pairs as likely mismatched.")
    return doubted


def row_chances(dataset: PairDataset, progress: Progress | None) -> Tensor:
    """The probability (N,) that the captions of each row are its image's, in their mean; 1 of an unreadable one."""
    chance = torch.ones(len(dataset))
    rows, looks = looked_at(dataset, progress)
    if not len(rows):
        return chance
    position = torch.full((len(dataset),), -1)
    position[rows] = torch.arange(len(rows))
    seen = position[dataset.caption_rows]  # (C,) of each caption's image
    captions = (seen >= 0).nonzero().squeeze(1).tolist()
    seen = seen[captions]
    clean = clean_probability(looks[seen], [dataset.captions[i] for i in captions], rows[seen], progress)
    total = torch.zeros(len(rows), dtype=torch.float64).index_add_(0, seen, clean)
    chance[rows] = (total / torch.bincount(seen, minlength=len(rows)).clamp(min=1)).float()
    return chance


def looked_at(dataset: PairDataset, progress: Progress | None) -> tuple[Tensor, Tensor]:
    """The rows (R,) whose images can be read, and the descriptors (R, F) of these."""
    looks, readable, done = [torch.zeros(0, sum(WIDTHS))], [torch.zeros(0, dtype=torch.long)], 0
    with closing(evaluation_batches(dataset, _SIDE, _BATCH)) as batches:
        for rows, images in batches:
            looks.append(describe(images))
            readable.append(rows)
            done += len(rows)
            if progress is not None:
                progress("looking at the images", done, len(dataset))
    return torch.cat(readable), unit_parts(torch.cat(looks))
