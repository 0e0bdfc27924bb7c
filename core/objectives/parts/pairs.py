"""Image-text logits of this rank's rows against the rows of all ranks, and the positions of the true pairs.

Flow: contrastive and distillation objectives call ``both_logits``. Each rank computes its own rows in both directions,
so that the mean over ranks is the loss of the global batch (open_clip's ``local_loss`` with ``gather_with_grad``);
memory grows with b times B.

Legend: b rows of this rank, B rows of all ranks (equal to b in a single process), D embed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.ranks.collectives import first_row, world_size

BothDirections = tuple[Tensor, Tensor]  # image-to-text, text-to-image


def both_logits(
    image: Tensor, text: Tensor, gathered_image: Tensor, gathered_text: Tensor, scale: Tensor
) -> BothDirections:
    """Image-to-text and text-to-image logits, (b, B) each, of this rank's (b, D) against all (B, D) features.

    Logits are ``scale`` times the products. In a single process, the second is the transpose of the first.
    """
    to_text = scale.float() * image.float() @ gathered_text.float().T
    if world_size() == 1:
        return to_text, to_text.T
    return to_text, scale.float() * text.float() @ gathered_image.float().T


def true_columns(logits: Tensor) -> Tensor:
    """The columns (b,) int64 of the true pairs in ``logits`` (b, B or more)."""
    return torch.arange(len(logits), device=logits.device) + first_row(len(logits))


def values_of_true_pairs(values: Tensor) -> Tensor:
    """The entries (b,) of the true pairs in ``values`` (b, B or more)."""
    return values.diagonal(first_row(len(values)))


def one_hot_pairs(logits: Tensor) -> Tensor:
    """1 for true pairs and 0 otherwise, float32, in the shape of ``logits`` (b, B or more)."""
    pairs = torch.zeros(logits.shape, device=logits.device)
    pairs.diagonal(first_row(len(logits))).fill_(1.0)
    return pairs
