"""Image-text logits of this rank's rows against those of all ranks, and the positions of the true pairs.

Flow: contrastive and distillation objectives compare images and captions here. Each rank computes its own rows in both
directions, so that the mean over ranks is the loss of the global batch (open_clip's ``local_loss`` with
``gather_with_grad``); memory grows with b times B.

Legend: b rows of this rank, B rows of all (the same in one process), D embed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.ranks.collectives import first_row, size

Both = tuple[Tensor, Tensor]  # of image-to-text and of text-to-image


def both_logits(image: Tensor, text: Tensor, every_image: Tensor, every_text: Tensor, scale: Tensor) -> Both:
    """``scale`` times the products of images and captions, (b, D) and (B, D): image-to-text and text-to-image.

    (b, B) each; in one process the second is the transpose of the first.
    """
    to_text = scale.float() * image.float() @ every_text.float().T
    if size() == 1:
        return to_text, to_text.T
    return to_text, scale.float() * text.float() @ every_image.float().T


def true_pairs(logits: Tensor) -> Tensor:
    """The column of each row's true pair in ``logits`` (b, B or more): (b,) int64."""
    return torch.arange(len(logits), device=logits.device) + first_row(len(logits))


def of_true_pairs(values: Tensor) -> Tensor:
    """The values of each row's true pair in ``values`` (b, B or more): (b,)."""
    return values.diagonal(first_row(len(values)))


def pair_rows(like: Tensor) -> Tensor:
    """1 for true pairs, else 0: (b, B or more) float32, in the shape of ``like``."""
    pairs = torch.zeros(like.shape, device=like.device)
    pairs.diagonal(first_row(len(like))).fill_(1.0)
    return pairs
