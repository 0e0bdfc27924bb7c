"""Images by captions: the logits of this rank's rows with those of all ranks, and where the true pairs stand.

Flow: contrastive and distilling objectives compare a batch's images and captions through here. A rank computes its
own rows of both directions, of which the mean over ranks is the loss of the global batch (open_clip's ``local_loss``
with ``gather_with_grad``); memory grows with b times B.

Legend: b rows of this rank, B rows of all (the same in one process), D embed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.ranks.collectives import first_row, size

Both = tuple[Tensor, Tensor]  # of image-to-text and of text-to-image


def both_logits(image: Tensor, text: Tensor, every_image: Tensor, every_text: Tensor, scale: Tensor) -> Both:
    """``scale`` times the products of images and captions, (b, D) and (B, D) each: image-to-text and text-to-image.

    (b, B) each; in one process the second is the first transposed.
    """
    to_text = scale.float() * image.float() @ every_text.float().T
    if size() == 1:
        return to_text, to_text.T
    return to_text, scale.float() * text.float() @ every_image.float().T


def true_pairs(logits: Tensor) -> Tensor:
    """The column of each row's true pair in ``logits`` (b, B or more): (b,) int64."""
    return torch.arange(len(logits), device=logits.device) + first_row(len(logits))


def of_true_pairs(values: Tensor) -> Tensor:
    """What ``values`` (b, B or more) have for each row's true pair: (b,)."""
    return values.diagonal(first_row(len(values)))


def pair_rows(like: Tensor) -> Tensor:
    """1 where a true pair stands, else 0: (b, B or more) float32, as ``like`` is shaped."""
    pairs = torch.zeros(like.shape, device=like.device)
    pairs.diagonal(first_row(len(like))).fill_(1.0)
    return pairs
