"""Localisation: whether the patches of an image that fit a caption are those that show it.

Flow: similarities of patches and captions (`core.evaluation.localising`) -> **localisation** -> an `Outcome`.

Legend: C canvases, K captions of a canvas, P patches.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from core.metrics.outcome import Outcome, Queries

POINTING = "pointing_accuracy"
RELEVANCE_POINTING = "relevance_pointing_accuracy"
IOU = "mean_iou"


def pointing(scores: Tensor, owner: Tensor) -> Tensor:
    """The expected pointing accuracy (C, K) of maps ``scores`` (C, K, P): whether the highest patch shows the caption.

    ``owner`` (C, P) int64: the caption that each patch shows, -1 for patches that are left out. With ties, the share
    of the highest patches that show the caption (the pointing game, Zhang et al. 2016).
    """
    K = scores.shape[1]
    masked = scores.double().masked_fill((owner < 0)[:, None], -torch.inf)
    highest = (masked == masked.amax(dim=2, keepdim=True)) & (owner >= 0)[:, None]
    of_caption = owner[:, None] == torch.arange(K)[:, None]
    return (highest & of_caption).sum(dim=2) / highest.sum(dim=2).clamp(min=1)


def intersection_over_union(scores: Tensor, owner: Tensor) -> Tensor:
    """The IoU (C, K) of the patches that fit a caption best among the canvas's captions, and those that show it.

    The arguments are the same as in `pointing`. A patch that fits several captions equally belongs to the first.
    """
    K = scores.shape[1]
    assigned = scores.argmax(dim=1).masked_fill(owner < 0, -1)  # (C, P)
    numbers = torch.arange(K)[:, None]
    predicted, actual = assigned[:, None] == numbers, owner[:, None] == numbers  # (C, K, P)
    union = (predicted | actual).sum(dim=2)
    return (predicted & actual).sum(dim=2).double() / union.clamp(min=1)


def localisation_outcome(scores: Tensor, relevances: Tensor, owner: Tensor) -> Outcome:
    """The metrics of cosines ``scores`` and of ``relevances`` (C, K, P) of patches; ``owner`` (C, P) as in `pointing`.

    Captions of a canvas are resampled together.
    """
    values = {
        POINTING: pointing(scores, owner),
        IOU: intersection_over_union(scores, owner),
        RELEVANCE_POINTING: pointing(relevances, owner),
    }
    C, K = values[POINTING].shape
    canvas = np.repeat(np.arange(C), K)
    return Outcome(
        task="localisation",
        samples=C * K,
        metrics={name: float(value.double().mean()) for name, value in values.items()},
        per_query={name: Queries(value.double().flatten().numpy(), canvas) for name, value in values.items()},
    )
