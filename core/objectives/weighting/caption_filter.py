"""The caption filter: drops likely mismatched pairs before training, from caption words and image descriptors.

Flow: training images, read once, and their captions -> **caption filter** -> the rows that ``core.training.assembly``
excludes from the loader. In fine-tuning, the filter also asks the pretrained network.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import torch
from torch import Tensor

from core.data.dataset import Log, PairDataset, Progress
from core.data.loader import evaluation_batches
from core.data.pairs import Pairs
from core.objectives.weighting.descriptors import WIDTHS, describe, unit_parts
from core.objectives.weighting.model_fit import ModelFit
from core.objectives.weighting.words import clean_probability
from core.spec.config import RunConfig
from core.spec.errors import UserError

_BATCH_SIZE = 64
_IMAGE_SIDE = 96  # side in pixels of the images that are described


def mismatched_rows(
    config: RunConfig,
    dataset: Pairs,
    progress: Progress | None,
    log: Log | None,
    encode: Callable[[], ModelFit] | None = None,
) -> Tensor | None:
    """Which rows of the training data are likely mismatched, (N,) bool; None if ``noise.caption_filter`` is false.

    ``encode`` returns how well all captions of readable images fit according to the pretrained model; None without one.
    The result is the same at every start of a run on the same hardware. Raises UserError for shards, for unlabelled
    rows, and if fewer pairs than a batch remain.
    """
    if not config.noise.caption_filter:
        return None
    if not isinstance(dataset, PairDataset):
        raise UserError(
            "noise.caption_filter needs all pairs, but shards are read in parts; set noise.caption_filter to false."
        )
    if config.data.unlabelled_ratio > 0:
        raise UserError(
            "noise.caption_filter does not support unlabelled rows; set noise.caption_filter to false, or "
            "data.unlabelled_ratio to 0."
        )
    mismatched = clean_row_probabilities(dataset, progress, encode() if encode else None) < 0.5
    kept_count = len(dataset) - int(mismatched.sum())
    if kept_count < config.optim.batch_size:
        raise UserError(
            f"noise.caption_filter leaves {kept_count} of {len(dataset)} pairs of {dataset.origin}, less than a batch "
            f"of {config.optim.batch_size}; set noise.caption_filter to false."
        )
    if log is not None:
        log(f"the caption filter dropped {len(dataset) - kept_count} of {len(dataset)} pairs as likely mismatched")
    return mismatched


def clean_row_probabilities(
    dataset: PairDataset, progress: Progress | None, model_fit: ModelFit | None = None
) -> Tensor:
    """The mean probability (N,) that the captions of a row match its image; 1 for unreadable images.

    ``model_fit``: how well all captions of readable images fit according to a model, in the order of the data set.
    """
    probability = torch.ones(len(dataset))
    rows, descriptors = describe_images(dataset, progress)
    if not len(rows):
        return probability
    position = torch.full((len(dataset),), -1)
    position[rows] = torch.arange(len(rows))
    image_position = position[dataset.caption_rows]  # (C,) position of the image of each caption
    caption_indices = (image_position >= 0).nonzero().squeeze(1).tolist()
    image_position = image_position[caption_indices]
    captions = [dataset.captions[index] for index in caption_indices]
    clean = clean_probability(descriptors[image_position], captions, rows[image_position], progress, model_fit)
    total = torch.zeros(len(rows), dtype=torch.float64).index_add_(0, image_position, clean)
    probability[rows] = (total / torch.bincount(image_position, minlength=len(rows)).clamp(min=1)).float()
    return probability


def describe_images(dataset: PairDataset, progress: Progress | None) -> tuple[Tensor, Tensor]:
    """The rows (R,) with readable images, and their descriptors (R, F)."""
    descriptors = [torch.zeros(0, sum(WIDTHS))]
    readable_rows = [torch.zeros(0, dtype=torch.long)]
    finished = 0
    with closing(evaluation_batches(dataset, _IMAGE_SIDE, _BATCH_SIZE)) as batches:
        for rows, images in batches:
            descriptors.append(describe(images))
            readable_rows.append(rows)
            finished += len(rows)
            if progress is not None:
                progress("describing the images", finished, len(dataset))
    return torch.cat(readable_rows), unit_parts(torch.cat(descriptors))
